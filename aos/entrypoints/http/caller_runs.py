"""Does for a caller what every door offers: start a run, read it, follow its events, cancel it,
decide and answer. Entry point: `CallerRuns`.

A door is the part of main that speaks one protocol. It translates, and calls this; a failure is an
`AosError`, which the door writes in its protocol's form.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aos.domain.caller import Caller
from aos.domain.runs.asks import AskRequest, list_asks
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, Run, run_id_for
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.tools.questions import AnswerAction, QuestionAnswer
from aos.domain.tools.tool import Decision, Verdict
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.draining import Drain, HandedBack
from aos.entrypoints.ids import take_question_id, take_tool_call_id
from aos.errors import Refused, TransientError
from aos.ports.paging import Page
from aos.ports.system import Clock
from aos.services.admission import Admission, Admissions, RunRequest
from aos.services.approvals import Approvals
from aos.services.deletions import ConversationDeletions
from aos.services.questions import ToolQuestions
from aos.services.run_events import RunEvents
from aos.services.runs import RunReader

HTTP = "http"
"""The native door, the first part of the scope of its idempotency keys."""
MOST_FAILURES = 30
FAILURE_SECONDS = 1.0
"""Between two tries to read a run's events while storage is away."""
_GIVEN = ("approval.decided", "input.answered")
MOST_RETRIED = 20
"""Runs that are looked through for the one that a repeated request began."""
LOST_WITHIN = timedelta(seconds=90)
"""An answer that a client did not get is asked for again so soon after it."""
RETRY_WITHIN = timedelta(minutes=15)
"""A client repeats a request without a key for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBounds:
    """The limits of a request for a run: its size in bytes and its wait in seconds."""

    message_bytes: int
    part_bytes: int
    body_bytes: int
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message says: its text, and its images and files as they are stored."""

    text: str
    parts: tuple[dict[str, Any], ...]


class CallerRuns:
    """The runs and conversations of callers. Every method acts within the caller's rights."""

    def __init__(
        self,
        *,
        admissions: Admissions,
        runs: RunReader,
        events: RunEvents,
        approvals: Approvals,
        questions: ToolQuestions,
        deletions: ConversationDeletions,
        bounds: RunBounds,
        clock: Clock,
        drain: Drain,
    ) -> None:
        self._admissions = admissions
        self._runs = runs
        self._events = events
        self._approvals = approvals
        self._questions = questions
        self._deletions = deletions
        self.bounds = bounds
        self._clock = clock
        self._drain = drain
        self.is_ending = False
        """Whether this process was told to stop."""

    def read_content(self, message: Any, metadata: Mapping[str, Any] | None = None) -> Content:
        """Check a message of a request: a text, or a list of parts in the form of the native route.

        Raises Refused `invalid_request` or `too_large`; the field in its details is a path such as
        `message[2].data`.
        """
        from aos.entrypoints.requests import MessageBody, validate

        return self.take_content(validate(MessageBody, {"message": message}).message, metadata)

    def take_content(self, message: Any, metadata: Mapping[str, Any] | None = None) -> Content:
        """Do the same as `read_content` for a message whose parts are models already."""
        from aos.entrypoints.message_parts import join_text, read_parts
        from aos.entrypoints.requests import check_sizes

        text = join_text(message)
        check_sizes(text, dict(metadata or {}), max_bytes=self.bounds.message_bytes)
        return Content(text=text, parts=read_parts(message, max_bytes=self.bounds.part_bytes))

    def check_text(self, text: str) -> None:
        """Limit a text that the run stores beside its message. Raises Refused `too_large`."""
        from aos.entrypoints.requests import check_sizes

        check_sizes(text, {}, max_bytes=self.bounds.message_bytes)

    async def start(
        self,
        request: RunRequest,
        *,
        caller: Caller,
        key: str | None,
        door: str = HTTP,
        traceparent: str | None = None,
    ) -> Admission:
        """Admit a run, or find the one that an earlier request with this idempotency key started.

        Keys of one door and owner are of their own. Raises what `Admissions.admit` does.
        """
        return await self._admissions.admit(
            request,
            door="http",
            scope=_scope(door, caller),
            key=key,
            caller=caller,
            traceparent=traceparent,
        )

    async def wait(self, admission: Admission, *, seconds: float) -> Run:
        """Return the run when it has ended, or as it is after `seconds`.

        If this process is told to stop, the wait ends at once.
        """
        run = admission.run
        if run.status.has_ended or seconds <= 0:
            return run
        with contextlib.suppress(HandedBack):
            async with self._drain.bound(grace_seconds=0.0):
                seconds = min(seconds, LONGEST_WAIT_SECONDS)
                return await self._runs.wait(admission.request, seconds=seconds) or run
        return run

    async def wait_until(
        self,
        request: AdmittedRequest,
        run: Run,
        *,
        seconds: float,
        until: Callable[[Run], bool],
    ) -> Run:
        """Return the run when it has come so far, or as it is after `seconds`.

        If this process is told to stop, the wait ends at once (`is_ending`).
        """
        if until(run) or seconds <= 0:
            return run
        try:
            async with self._drain.bound(grace_seconds=0.0):
                seconds = min(seconds, LONGEST_WAIT_SECONDS)
                return await self._runs.wait(request, seconds=seconds, until=until) or run
        except HandedBack:
            self.is_ending = True
            return run

    async def list_runs(
        self,
        *,
        caller: Caller,
        agent_id: str,
        is_wanted: Callable[[Run], bool],
        after: str | None,
        limit: int,
    ) -> Page[Run]:
        """Return runs of an agent, newest first. A page may be shorter than `limit`."""
        return await self._runs.list_runs(
            owner=caller.visible_owner,
            agent_id=agent_id,
            is_wanted=is_wanted,
            after=after,
            limit=limit,
        )

    async def list_asks(self, request: AdmittedRequest) -> list[AskRequest]:
        """Return what people are asked in a run and have not answered."""
        head = await self._runs.find_head(request.conversation_id)
        return list_asks(head, request.run_id)

    async def has_answered(self, request: AdmittedRequest, answer_id: str, *, most: int) -> bool:
        """Whether a decision or an answer with this id was applied in the run, among the last
        `most`."""
        given: deque[RunEvent] = deque(maxlen=most)
        async for events in self.list_all_events(request):
            given.extend(event for event in events if event.type in _GIVEN)
        for event in reversed(given):
            asks: Any = self._approvals
            ask_id = event.data.get("tool_call_id")
            if event.type == "input.answered":
                asks, ask_id = self._questions, event.data["question_id"]
            found = await asks.find_answer(request.run_id, ask_id)
            if found is not None and found.said_id == answer_id:
                return True
        return False

    async def find(self, run_id: str, *, caller: Caller) -> tuple[AdmittedRequest, Run]:
        """Return a run and its request. Raises Refused `run_not_found`."""
        return await self._runs.find(run_id, owner=caller.visible_owner)

    async def find_request(self, run_id: str, *, caller: Caller) -> AdmittedRequest:
        """Return the request of a run. Raises Refused `run_not_found`."""
        return await self._runs.find_request(run_id, owner=caller.visible_owner)

    def name_run(self, key: str, *, caller: Caller, door: str) -> str:
        """Return the id of the run that this idempotency key starts."""
        return run_id_for(scope=_scope(door, caller), key=key)

    async def find_started(self, key: str, *, caller: Caller, door: str) -> AdmittedRequest | None:
        """Return the request that this idempotency key has started; None if there is none."""
        run_id = self.name_run(key, caller=caller, door=door)
        with contextlib.suppress(Refused):
            return await self.find_request(run_id, caller=caller)
        return None

    async def read(self, request: AdmittedRequest) -> Run:
        """Return the run of a request as it is now."""
        return await self._runs.read(request)

    async def list_events(
        self, request: AdmittedRequest, *, after: EventId, limit: int
    ) -> Page[RunEvent]:
        """Return the events after `after` that are there; `next` is None after the end."""
        return await self._events.page(request, after=after, limit=limit)

    async def list_all_events(
        self, request: AdmittedRequest, *, after: EventId | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """Yield the events after `after` that are there now, page by page."""
        async for events in self._events.pages(request, after=after or EventId()):
            yield events

    def begin_events(self, request: AdmittedRequest) -> Page[RunEvent]:
        """Return the first events of a run that this request has just started."""
        return self._events.begin(request)

    async def follow(
        self, request: AdmittedRequest, *, after: EventId, first: Page[RunEvent] | None = None
    ) -> AsyncGenerator[RunEvent | None, None]:
        """Yield the events after `after` until the run's end; None when nothing came for a while.

        `first` is the page after `after`, if it was read just now. Storage that is away is asked
        again for half a minute; then TransientError is raised.

        Close the generator (`contextlib.aclosing`). `message_text.MessageText` reads the text of
        the run's messages from these events.
        """
        together = self.follow_together(request, after=after, first=first)
        async with contextlib.aclosing(together) as news:
            async for events in news:
                if not events:
                    yield None
                for event in events:
                    yield event

    async def follow_together(
        self, request: AdmittedRequest, *, after: EventId, first: Page[RunEvent] | None = None
    ) -> AsyncGenerator[list[RunEvent], None]:
        """Do the same as `follow`, but yield events together that come together; no event when
        nothing came for a while."""
        failures = 0
        while True:
            following = self._events.follow(request, after=after, first=first)
            try:
                async with contextlib.aclosing(following) as news:
                    async for events in news:
                        failures = 0
                        after = events[-1].event_id if events else after
                        yield events
                return
            except TransientError:
                failures, first = failures + 1, None
                if failures > MOST_FAILURES:
                    raise
                await self._clock.sleep(FAILURE_SECONDS)

    async def cancel(self, run_id: str, *, caller: Caller) -> Run:
        """Ask for a run's cancellation and return the run as it is now. An ended run stays."""
        return await self._admissions.cancel(run_id, caller)

    async def decide(
        self,
        run_id: str,
        tool_call_id: str,
        verdict: Verdict,
        reason: str = "",
        *,
        caller: Caller,
        decision_id: str | None = None,
    ) -> Decision:
        """Decide about a tool call, once. Raises Refused as `Approvals.decide` does."""
        return await self._approvals.decide(
            run_id,
            take_tool_call_id(tool_call_id),
            verdict,
            reason,
            caller=caller,
            decision_id=decision_id,
        )

    async def answer(
        self,
        run_id: str,
        question_id: str,
        action: AnswerAction,
        values: Mapping[str, Any] | None,
        *,
        caller: Caller,
        answer_id: str | None = None,
    ) -> QuestionAnswer:
        """Answer a tool's question, once. Raises Refused as `ToolQuestions.answer` does."""
        return await self._questions.answer(
            run_id,
            take_question_id(question_id),
            action,
            values,
            caller=caller,
            answer_id=answer_id,
        )

    async def find_conversation(self, conversation_id: str, *, caller: Caller) -> Conversation:
        """Return a conversation. Raises Refused `conversation_not_found` or
        `conversation_deleted`."""
        return await self._runs.find_conversation(conversation_id, owner=caller.visible_owner)

    async def list_messages(
        self, conversation_id: str, *, caller: Caller, start: int = 0, limit: int = 100
    ) -> Page[Message]:
        """Return messages from the sequence `start` on; `next` is the sequence of the next page."""
        return await self._runs.list_messages(
            conversation_id, owner=caller.visible_owner, start=start, limit=limit
        )

    async def read_messages(
        self, head: Conversation, *, start: int = 0, limit: int = 100
    ) -> Page[Message]:
        """Do the same as `list_messages` for a conversation that was found before."""
        return await self._runs.read_messages(head, start=start, limit=limit)

    async def delete_conversation(self, conversation_id: str, *, caller: Caller) -> Conversation:
        """Have a conversation deleted; return it as it was."""
        return await self._deletions.delete(conversation_id, caller)

    async def find_retried(self, request: RunRequest, *, caller: Caller) -> Admission | None:
        """Return the run of an equal request that the caller sent a moment ago, the youngest one.

        For clients that say that they repeat a request, and send no idempotency key with it. They
        do so at once, so a run that ended earlier is of another request.
        """
        digest, now = request.digest, self._clock.now()
        page = await self._runs.list_runs(
            owner=caller.owner,
            agent_id=request.agent_id,
            since=now - RETRY_WITHIN,
            limit=MOST_RETRIED,
        )
        for run in page.items:
            if run.ended_at is not None and now - run.ended_at > LOST_WITHIN:
                continue
            with contextlib.suppress(Refused):
                admitted = await self.find_request(run.run_id, caller=caller)
                if admitted.digest == digest:
                    return Admission(request=admitted, run=run, created=False)
        return None


def _scope(door: str, caller: Caller) -> str:
    return f"{door}:{caller.owner}"
