"""Derives the log of a run's events from the changes of its conversation. Entry point:
`record_events`.

Events are derived from the state before and after a step, and saved in the step's transaction: what
is told is what was saved, without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aos.domain.codec import encode
from aos.domain.envelope import Outgoing, RunEnded
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import Run
from aos.domain.runs.run_events import (
    ENDS,
    MAX_SHOWN_TEXT,
    QUEUED_ID,
    EventRow,
    RunEvent,
    RunEventType,
)
from aos.domain.runs.waiting import Turn
from aos.domain.runs.watching import is_watched
from aos.domain.tools.tool import MessageCall
from aos.domain.wire_time import to_wire_time

MOST_COPIED = 4_000
"""Characters of a message that its event repeats."""


def record_events(before: Conversation, step: Step, *, now: datetime) -> Step:
    """The step with the events that it means, and with the active run's last event id."""
    log = _StepLog(before, step, now)
    rows = tuple(EventRow(run_id=run_id, events=events) for run_id, events in log.read() if events)
    if not rows:
        return step
    active = step.conversation.active
    counted = {row.run_id: row.last_id.saved for row in rows}
    if active is None or active.request.run_id not in counted:
        return replace(step, events=(*step.events, *rows))
    active = replace(active, last_event_id=counted[active.request.run_id])
    head = replace(step.conversation, active=active)
    return replace(step, conversation=head, events=(*step.events, *rows))


class _StepLog:
    """Compares the states before and after one step."""

    def __init__(self, before: Conversation, step: Step, now: datetime) -> None:
        self._was = before.active
        self._retry_was = before.retry_at
        self._after = step.conversation
        self._step = step
        self._now = now
        told = {_ended_run(outgoing) for outgoing in step.conversation.outbox}
        told -= {_ended_run(outgoing) for outgoing in before.outbox}
        # A run row is also written when it is scrubbed; an end comes with its RunEnded.
        self._ended = {run.run_id: run for run in step.runs if run.run_id in told}

    def read(self) -> Iterator[tuple[str, tuple[RunEvent, ...]]]:
        """The events of each run that the step concerns."""
        was, active = self._was, self._after.active
        stays = was is not None and active is not None and _run_id(was) == _run_id(active)
        if was is not None:
            yield _run_id(was), self._follow(was, active if stays else None)
        if active is not None and not stays:
            started = _Numbered(last=QUEUED_ID)
            started.add("run.started", active.started_at, data={"card_digest": active.card_digest})
            yield _run_id(active), started.events
        for run in self._ended.values():
            if was is None or run.run_id != _run_id(was):
                ended = _Numbered(last=QUEUED_ID)
                _add_end(ended, run)
                yield run.run_id, ended.events

    def _follow(self, was: ActiveRun, active: ActiveRun | None) -> tuple[RunEvent, ...]:
        """The events of the run that was active before; `active` None: it has ended."""
        log = _Numbered(last=was.last_event_id)
        run = active.run if active is not None else self._ended.get(_run_id(was))
        if run is None:
            return ()
        answer = self._find_answer(was)
        if answer is not None:
            is_read = is_watched(was.request, now=self._now)
            _add_answer(log, answer, run, turn=was.turns + 1, is_read=is_read)
        self._add_calls(log, was, active, answer, run)
        if active is None:
            _add_end(log, run)
        else:
            self._add_waits(log, was, active, run)
        return log.events

    def _find_answer(self, was: ActiveRun) -> Message | None:
        return next(
            (
                message
                for message in self._step.messages
                if message.role == "assistant" and message.run_id == _run_id(was)
            ),
            None,
        )

    def _add_calls(
        self,
        log: _Numbered,
        was: ActiveRun,
        active: ActiveRun | None,
        answer: Message | None,
        run: Run,
    ) -> None:
        """Tell how the turn's calls changed: asked, decided, called, answered."""
        turn = was.turns if answer is None else was.turns + 1
        before = {call.tool_call_id: call for call in was.calls}
        after = {} if active is None else {call.tool_call_id: call for call in active.calls}
        results = {m.tool_call_id: m for m in self._step.messages if m.role == "tool"}
        new = () if answer is None else answer.tool_calls
        calls: dict[str, OpenCall | MessageCall] = {call.tool_call_id: call for call in new}
        for place, (call_id, call) in enumerate({**before, **calls, **after}.items()):
            change = _CallChange(
                call=call,
                before=before.get(call_id),
                after=after.get(call_id),
                result=results.get(call_id),
                ended=active is None,
            )
            for kind, time, data in change.tell(self._now, _find_tool(run, turn, place)):
                log.add(kind, time, turn=turn, data=data)

    def _add_waits(self, log: _Numbered, was: ActiveRun, active: ActiveRun, run: Run) -> None:
        waiting = run.waiting
        if waiting is None:
            return
        until = self._after.retry_at
        if until is not None and until != self._retry_was:
            data = {"reason": waiting.reason, "attempt": self._after.retries}
            log.add(
                "run.retrying",
                self._now,
                turn=active.turns + 1,
                data={**data, "until": to_wire_time(until)},
            )
            return
        kind = waiting.kind
        before = was.run.waiting
        if kind in ("queue", "model", "retry") or (before is not None and before.kind == kind):
            return
        log.add("run.waiting", waiting.since, turn=active.turns, data=encode(waiting))


@dataclass(frozen=True, slots=True, kw_only=True)
class _CallChange:
    """One tool call in a step: its states before and after, and its message if it came."""

    call: OpenCall | MessageCall
    before: OpenCall | None
    after: OpenCall | None
    result: Message | None
    ended: bool

    def tell(
        self, now: datetime, shown: tuple[str, int | None] | None
    ) -> Iterator[tuple[RunEventType, datetime, dict[str, Any]]]:
        """The events of the change. `shown` is the outcome and the milliseconds, where known."""
        was, is_ = self._state(self.before), self._state(self.after)
        answered = self.result is not None or is_ == "answered"
        asked_before, asked_now = self._question(self.before), self._question(self.after)
        if was == "answered" or (was is not None and was == is_ and asked_before == asked_now):
            return
        if asked_before is not None and asked_before != asked_now and not self.ended:
            yield self._tell_answer(now, refused=answered and is_ != "called")
        if asked_now is not None and asked_before != asked_now:
            yield self._tell_question(now)
        continues = self.before is not None and self.before.pause is not None
        if (is_ == "called" and not continues) or (was is None and answered):
            called = None if self.after is None else self.after.called_at
            yield "tool.called", called or now, self._describe()
        if answered:
            yield "tool.completed", now, self._describe_result(shown)

    def _question(self, call: OpenCall | None) -> str | None:
        """What a person is asked about the call: the id of a tool's question, "" for a decision."""
        if call is None or not call.is_undecided:
            return None
        return "" if call.pause is None else call.question_id

    def _tell_question(self, now: datetime) -> tuple[RunEventType, datetime, dict[str, Any]]:
        assert self.after is not None
        asked_at, expires_at = self.after.asked_at or now, to_wire_time(self.after.expires_at)
        question = self.after.question
        if question is None:
            return "approval.requested", asked_at, self._describe(expires_at=expires_at)
        more: dict[str, Any] = {
            "question_id": self.after.question_id,
            "message": question.message[:MAX_SHOWN_TEXT],
            "expires_at": expires_at,
        }
        if question.requested_schema is not None:
            more["requested_schema"] = dict(question.requested_schema)
        if question.url is not None:
            more["url"] = question.url
        if self.after.is_of_client:
            more["client_tool"] = True
        return "input.requested", asked_at, self._name(**more)

    def _tell_answer(
        self, now: datetime, *, refused: bool
    ) -> tuple[RunEventType, datetime, dict[str, Any]]:
        assert self.before is not None
        if self.before.pause is None:
            return "approval.decided", now, self._name(decision="deny" if refused else "approve")
        return "input.answered", now, self._name(question_id=self.before.question_id)

    def _state(self, call: OpenCall | None) -> str | None:
        return None if call is None else call.state

    def _name(self, **more: Any) -> dict[str, Any]:
        return {"tool_call_id": self.call.tool_call_id, "name": _name(self.call), **more}

    def _describe(self, **more: Any) -> dict[str, Any]:
        written = self.call.written if isinstance(self.call, OpenCall) else self.call.arguments
        return self._name(arguments=written[:MAX_SHOWN_TEXT], **more)

    def _describe_result(self, shown: tuple[str, int | None] | None) -> dict[str, Any]:
        outcome, milliseconds = shown or (None, None)
        content = "" if self.result is None else self.result.content
        if self.after is not None and self.after.result is not None:
            outcome, content = self.after.result.outcome, self.after.result.content
            milliseconds = self.after.milliseconds
        more: dict[str, Any] = {"content": content[:MAX_SHOWN_TEXT]}
        if outcome is not None:
            more["outcome"] = outcome
        if milliseconds is not None:
            more["milliseconds"] = milliseconds
        return self._name(**more)


class _Numbered:
    """Numbers events."""

    def __init__(self, *, last: int) -> None:
        self._last = max(last, QUEUED_ID)
        self._events: list[RunEvent] = []

    @property
    def events(self) -> tuple[RunEvent, ...]:
        """The events so far."""
        return tuple(self._events)

    def add(
        self,
        kind: RunEventType,
        time: datetime,
        *,
        turn: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Add one event."""
        self._last += 1
        self._events.append(
            RunEvent(id=str(self._last), type=kind, time=time, turn=turn, data=data or {})
        )


def _add_answer(log: _Numbered, answer: Message, run: Run, *, turn: int, is_read: bool) -> None:
    """Tell the turn and its message. A short text that somebody waits for stands in the event too,
    which saves reading the message; any other is read from there."""
    shown = _find_turn(run, turn)
    log.add("turn.started", answer.created_at if shown is None else shown.started_at, turn=turn)
    data: dict[str, Any] = {"sequence": answer.sequence, "model": run.model}
    if shown is not None:
        data["milliseconds"] = shown.milliseconds
        data["usage"] = {
            "input_tokens": shown.input_tokens,
            "output_tokens": shown.output_tokens,
        }
    if is_read and not answer.tool_calls and len(answer.content) <= MOST_COPIED:
        data["content"] = answer.content
    log.add("message.completed", answer.created_at, turn=turn, data=data)


def _add_end(log: _Numbered, run: Run) -> None:
    data: dict[str, Any] = {"usage": encode(run.usage)}
    if run.error is not None:
        data["error"] = encode(run.error)
    if run.finish_reason is not None:
        data["finish_reason"] = run.finish_reason
    log.add(ENDS[run.status], run.ended_at or run.created_at, data=data)


def _ended_run(outgoing: Outgoing) -> str | None:
    command = outgoing.command
    return command.run.run_id if isinstance(command, RunEnded) else None


def _find_turn(run: Run, turn: int) -> Turn | None:
    return next((shown for shown in reversed(run.turns) if shown.turn == turn), None)


def _find_tool(run: Run, turn: int, place: int) -> tuple[str, int | None] | None:
    shown = _find_turn(run, turn)
    if shown is None or place >= len(shown.tools):
        return None
    return shown.tools[place].state, shown.tools[place].milliseconds


def _run_id(active: ActiveRun) -> str:
    return active.request.run_id


def _name(call: OpenCall | MessageCall) -> str:
    return call.full_name if isinstance(call, OpenCall) else call.name
