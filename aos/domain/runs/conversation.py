"""Holds a conversation's state and ends its runs. Entry point: `Conversation`.

A conversation has one active run and a queue of waiting runs. The rules that start and continue
runs are in `aos.domain.runs.advance`. A method that changes the state returns the new state, or a
`Step` where rows belong to the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from aos.domain.codec import KEPT, OMITTED, encode
from aos.domain.envelope import (
    CallTool,
    ContinueRun,
    Outgoing,
    RemoveDeltas,
    RunEnded,
    to_main,
    to_realm,
)
from aos.domain.json_writer import write_json
from aos.domain.runs.active_run import ActiveRun as ActiveRun
from aos.domain.runs.active_run import OpenCall
from aos.domain.runs.call_commands import cancel_calls
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.runs.run_events import EventRow
from aos.domain.tools.tool import EndpointFields, MessageCall, ToolOutcome
from aos.errors import ErrorInfo

MAX_WITHHELD = 100
"""Runs whose messages are not shown again; older ones have left every window."""
MAX_KEPT_OUTBOX = 8 * 1024
"""The most bytes of commands, as JSON, that stay in the head after they were sent."""
DELTAS_KEPT = timedelta(minutes=5)
"""Provisional events are kept so long after the run's end, for readers that come again."""
Role: TypeAlias = Literal["user", "assistant", "tool"]
NOT_DECIDED = ToolOutcome(
    outcome="not_called", content="the run ended before anybody had decided about this call"
)
NO_RESULT = ToolOutcome(
    outcome="outcome_unknown", content="the run ended before a result of this call came"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One item of a conversation's history; sequences count from 0 without a gap.

    The tool messages that follow an assistant's message answer its `tool_calls`, in their order.
    Each names the `tool_call_id` that it answers; `parts` holds content other than text, of a
    tool's message and of a user's. `fields`
    is what the model's endpoint sent beside an assistant's message; it is shown to nobody else.
    """

    sequence: int
    role: Role
    content: str
    run_id: str
    created_at: datetime
    tool_calls: tuple[MessageCall, ...] = field(default=(), metadata=OMITTED)
    tool_call_id: Annotated[
        str | None, ("description", "the call that a tool's message answers")
    ] = field(default=None, metadata=OMITTED)
    parts: Annotated[
        tuple[dict[str, Any], ...], ("description", "content other than text, as MCP's")
    ] = field(default=(), metadata=OMITTED)
    fields: EndpointFields | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """What the rules need of an agent's card: may the agent run, and within which limits."""

    state: Literal["active", "disabled", "removed"]
    digest: str = ""
    run_timeout_seconds: float = 0.0
    max_tokens: int | None = None
    max_tokens_per_day: int | None = None


ALL_RUNS = "~"
"""As `Cleaning.after`: the rows of all runs are done. It sorts behind every run id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What realm still has to remove after a deletion.

    `messages` rows of messages are left. The rows of runs up to `after`, in the order of their ids,
    are done, except those of `late`, which a late command added. `retry_at` is set
    while a run's reply is not out: its rows are needed until then. `is_last` marks the end of the
    head's own time: the rows of the runs go, then the head. `again` marks a cleaning after the
    first one, for rows that were written late: another conversation may have begun since.
    """

    messages: int = 0
    after: str = ""
    late: tuple[str, ...] = ()
    retry_at: datetime | None = None
    retries: int = 0
    is_last: bool = False
    again: bool = field(default=False, metadata=OMITTED)

    @classmethod
    def before_decode(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Read null as earlier versions wrote it: all are done, not none."""
        if "after" in raw and raw["after"] is None:
            return {**raw, "after": ALL_RUNS}
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The head row: the owner, the active run, the waiting runs, and the commands to send.

    `next_sequence` counts the history. `write_id` names the save that wrote this state: a writer
    that got no answer reads the head and compares it. `withheld_runs` are the last runs whose
    messages an endpoint's content filter refused: models are not shown them again.

    `deleted_at` is the time of the last deletion, until 30 days later. `began_at` is the admission
    of the first run after it, None while no conversation stands. `cleaning` is what the deletion
    still has to do.
    """

    conversation_id: str
    agent_id: str
    owner: str
    created_at: datetime
    next_sequence: int = 0
    active: ActiveRun | None = None
    queued: tuple[AdmittedRequest, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    retry_at: datetime | None = None
    retry_since: datetime | None = None
    retries: int = 0
    write_id: str = ""
    withheld_runs: tuple[str, ...] = field(default=(), metadata=OMITTED)
    deleted_at: datetime | None = field(default=None, metadata=OMITTED)
    began_at: datetime | None = field(default=None, metadata=OMITTED)
    cleaning: Cleaning | None = field(default=None, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

    @classmethod
    def create(cls, request: AdmittedRequest, *, now: datetime) -> Conversation:
        """A new conversation, owned by its first request's owner."""
        return cls(
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
            owner=request.owner,
            created_at=now,
        )

    @property
    def is_busy(self) -> bool:
        """True while a run has not ended, the outbox holds a command (which may have been sent),
        or a deletion is not complete."""
        return bool(self.active or self.queued or self.outbox or self.cleaning)

    @property
    def is_deleted(self) -> bool:
        """True when nothing is left of it but what late commands are judged by."""
        return self.deleted_at is not None and self.began_at is None

    @property
    def has_continuation(self) -> bool:
        """True when the outbox holds a ContinueRun for now, which will do the rest."""
        return any(
            isinstance(outgoing.command, ContinueRun) and outgoing.scheduled_at is None
            for outgoing in self.outbox
        )

    @property
    def may_keep_outbox(self) -> bool:
        """True when the outbox may stay in the head after it was sent, until the next save: the
        short end of one run, which main takes once, however often it comes, with the scheduled
        removal of its provisional events, or the calls of tools and the scheduled look at their
        deadline, while the run waits for their results."""
        commands = [outgoing.command for outgoing in self.outbox]
        if not (self._only_ends_a_run or self._only_calls_tools):
            return False
        return sum(len(write_json(encode(command))) for command in commands) <= MAX_KEPT_OUTBOX

    @property
    def _only_ends_a_run(self) -> bool:
        """Whether the outbox tells the end of one run, and does nothing else now."""
        commands = [outgoing.command for outgoing in self.outbox]
        others = [command for command in commands if not isinstance(command, RemoveDeltas)]
        return len(commands) <= 2 and len(others) == 1 and isinstance(others[0], RunEnded)

    @property
    def _only_calls_tools(self) -> bool:
        """Whether the outbox calls tools, and does nothing else now."""
        calls = [isinstance(outgoing.command, CallTool) for outgoing in self.outbox]
        return any(calls) and all(
            is_call or (isinstance(outgoing.command, ContinueRun) and outgoing.scheduled_at)
            for is_call, outgoing in zip(calls, self.outbox, strict=True)
        )

    def tells_end_of(self, run_id: str) -> bool:
        """True when the outbox holds the end of this run."""
        return any(
            isinstance(outgoing.command, RunEnded) and outgoing.command.run_id == run_id
            for outgoing in self.outbox
        )

    def has_run(self, run_id: str) -> bool:
        """True when the run is active or queued here; an ended run is found by its run row."""
        active = self.active is not None and self.active.request.run_id == run_id
        return active or any(request.run_id == run_id for request in self.queued)

    def require_active(self) -> ActiveRun:
        """The active run; raises ValueError when there is none."""
        if self.active is None:
            raise ValueError(f"conversation {self.conversation_id!r} has no active run")
        return self.active

    def add_to_outbox(self, *outgoing: Outgoing) -> Conversation:
        """Add commands to the outbox; they are sent after the next save."""
        return replace(self, outbox=(*self.outbox, *outgoing))

    def clear_outbox(self) -> Conversation:
        """Empty the outbox, because its commands were sent."""
        return replace(self, outbox=())

    def schedule_continue(self, run_id: str, *, due: datetime | None = None) -> Conversation:
        """Add a ContinueRun to the outbox, to be delivered at `due` or at once."""
        command = ContinueRun(run_id=run_id, conversation_id=self.conversation_id, due=due)
        return self.add_to_outbox(to_realm(command, scheduled_at=due))

    def continue_later(self) -> Step:
        """Add a ContinueRun to the outbox, because the handler has no time left."""
        return Step(conversation=self.schedule_continue(self.require_active().request.run_id))

    def end_active(
        self,
        status: RunStatus,
        *,
        now: datetime,
        error: ErrorInfo | None = None,
        output: str = "",
        output_parts: tuple[dict[str, Any], ...] | None = None,
    ) -> Step:
        """End the active run, tell main, and add a ContinueRun when another run is queued.

        Models refuse a history in which calls have no results, so the open calls get theirs here.
        The runs that it delegated are cancelled, and so are its open calls.
        """
        active = self.require_active()
        run = active.run.end(status, at=now, error=error, output=output)
        run = replace(run, output_parts=output_parts)
        messages = self.make_tool_messages(active.calls, now=now)
        free = replace(
            self,
            active=None,
            retry_at=None,
            retry_since=None,
            retries=0,
            next_sequence=self.next_sequence + len(messages),
            withheld_runs=self._withhold(active, error),
        ).add_to_outbox(*cancel_calls(active), *_remove_deltas(active, now=now))
        return replace(free._end_run(active.request, run), messages=messages)

    def end_waiting(
        self,
        request: AdmittedRequest,
        status: RunStatus,
        *,
        now: datetime,
        error: ErrorInfo | None = None,
    ) -> Step:
        """End a run that never became active (queued, or not yet queued), and tell main."""
        rest = tuple(item for item in self.queued if item.run_id != request.run_id)
        run = Run.from_request(request).end(status, at=now, error=error)
        return replace(self, queued=rest)._end_run(request, run)

    def expire(self, request: AdmittedRequest, *, now: datetime) -> Step:
        """End a queued run that waited longer than START_LIMIT to start."""
        error = ErrorInfo(
            code="start_timeout",
            message=f"run {request.run_id!r} waited more than 24 h to start; send it again",
        )
        return self.end_waiting(request, RunStatus.TIMED_OUT, error=error, now=now)

    def time_out(self, *, now: datetime) -> Step:
        """End the active run because its clock or its wall time is spent."""
        seconds = self.require_active().run_timeout_seconds
        error = ErrorInfo(
            code="run_timeout",
            message=(
                f"the run took longer than its {seconds:g} s; raise"
                " limits.run_timeout_seconds in the agent card or ask for less"
            ),
        )
        return self.end_active(RunStatus.TIMED_OUT, error=error, now=now)

    def give_up(self, *, now: datetime) -> Step:
        """End the run whose command failed at every delivery.

        That is the active run, or the first queued run: the handler that makes it active fails
        each time before it saves.
        """
        error = ErrorInfo(
            code="internal_error",
            message=(
                "AOS failed on this run at every delivery and ended it; see the logs of its run_id"
            ),
        )
        if self.active is not None:
            return self.end_active(RunStatus.FAILED, error=error, now=now)
        for request in self.queued[:1]:
            return self.end_waiting(request, RunStatus.FAILED, error=error, now=now)
        return Step(conversation=self)

    def make_tool_messages(
        self, calls: tuple[OpenCall, ...], *, now: datetime
    ) -> tuple[Message, ...]:
        """The tool messages of the active run's calls, in the order of the calls."""
        run_id = self.require_active().request.run_id
        return tuple(
            Message(
                sequence=self.next_sequence + place,
                role="tool",
                content=(call.result or _missing_result(call)).model_text,
                run_id=run_id,
                created_at=now,
                tool_call_id=call.tool_call_id,
                parts=() if call.result is None else call.result.parts,
            )
            for place, call in enumerate(calls)
        )

    def _withhold(self, active: ActiveRun, error: ErrorInfo | None) -> tuple[str, ...]:
        """The withheld runs, with the active one when the content filter ends it."""
        if error is None or error.code != "content_filtered":
            return self.withheld_runs
        return (*self.withheld_runs, active.request.run_id)[-MAX_WITHHELD:]

    def _end_run(self, request: AdmittedRequest, run: Run) -> Step:
        """Tell main of the ended run, and wake the next queued run."""
        state = self.add_to_outbox(to_main(RunEnded.of(request, run)))
        if state.active is None and state.queued and not state.has_continuation:
            state = state.schedule_continue(state.queued[0].run_id)
        return Step(conversation=state, runs=(run,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one transaction writes: the head, and the rows of messages, runs and events with it.

    A deletion also removes rows: messages by their sequence, runs by their id. `provisional` are
    rows of events that are removed some minutes after the run's end.
    """

    conversation: Conversation
    messages: tuple[Message, ...] = ()
    runs: tuple[Run, ...] = ()
    removed_messages: tuple[int, ...] = ()
    removed_runs: tuple[str, ...] = ()
    events: tuple[EventRow, ...] = ()
    provisional: tuple[EventRow, ...] = ()

    def then(self, later: Step) -> Step:
        """Join two steps into one: the later head, all messages, the later row of each run, and one
        row with all events of each run."""
        runs = {run.run_id: run for run in (*self.runs, *later.runs)}
        events: dict[str, EventRow] = {}
        for row in (*self.events, *later.events):
            earlier = events.get(row.run_id)
            told = () if earlier is None else earlier.events
            events[row.run_id] = replace(row, events=(*told, *row.events))
        return Step(
            conversation=later.conversation,
            messages=(*self.messages, *later.messages),
            runs=tuple(runs.values()),
            removed_messages=(*self.removed_messages, *later.removed_messages),
            removed_runs=(*self.removed_runs, *later.removed_runs),
            events=tuple(events.values()),
            provisional=(*self.provisional, *later.provisional),
        )


def _remove_deltas(active: ActiveRun, *, now: datetime) -> tuple[Outgoing, ...]:
    """The command that removes the provisional events of a run that was watched."""
    request = active.request
    if request.watched_until is None:
        return ()
    command = RemoveDeltas(run_id=request.run_id, conversation_id=request.conversation_id)
    return (to_realm(command, scheduled_at=now + DELTAS_KEPT),)


def _missing_result(call: OpenCall) -> ToolOutcome:
    return NOT_DECIDED if call.is_undecided else NO_RESULT
