"""Serves agents to clients of AG-UI 1.0. Entry point: `AgUiRoutes.run`.

An input with a question starts a run; one with `resume` decides and answers, and tells how the run
goes on; one with neither tells the thread as it is. Runs are told as they happen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import azure.functions as func

from aos.domain.codec import encode
from aos.domain.json_writer import write_json
from aos.domain.runs.attachments import list_attachments
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId, RunEvent
from aos.entrypoints.http.ag_ui.history import list_all, read_thread, write_history
from aos.entrypoints.http.ag_ui.telling import AgUiEvent, RunTelling, Telling
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.event_streams import COMMENT, answer_whole_stream, write_data
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_agent_id, read_media_type
from aos.errors import Refused, TransientError
from aos.services.admission import NO_VISION, Admission, RunRequest

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.ag_ui.client_tools import Results
    from aos.entrypoints.http.ag_ui.inputs import AgUiInput
    from aos.entrypoints.http.ag_ui.interrupts import Answered

DOOR = "ag-ui"
ASK_SECONDS = 0.25
"""A run that asks people, and tells nothing for so long, waits for them: its AG-UI run ends."""
_ANSWERED_BEFORE = (
    *("already_decided", "already_answered"),
    *("tool_call_not_found", "question_not_found"),
)


class AgUiRoutes:
    """The route of AG-UI."""

    def __init__(self, responder: HttpResponder, *, callers: CallerRuns, streams: bool) -> None:
        self._responder = responder
        self._callers = callers
        self._streams = streams

    async def run(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/ag-ui/{agent_id}"""
        return await self._responder.answer("ag_ui_run", req, self._run)

    async def _run(self, call: Call) -> Answer:
        from aos.entrypoints.http.ag_ui.client_tools import read_results
        from aos.entrypoints.http.ag_ui.inputs import read_input
        from aos.entrypoints.requests import take_object

        agent_id = read_agent_id(call)
        read_media_type(call, text_too=False)
        raw = await take_object(call.request.get_body(), max_bytes=self._callers.bounds.body_bytes)
        read = read_input(raw)
        results = read_results(read)
        warnings = await self._give_results(call, agent_id, read, results)
        if read.resume:
            pieces = await self._resume(call, agent_id, read, raw["messages"])
        elif results.end_input:
            pieces = await self._go_on(call, agent_id, read, raw["messages"], results, warnings)
        elif read.ends_with_question or await self._is_repeat(call, read):
            pieces = await self._start(call, agent_id, read, raw["messages"])
        else:
            pieces = await self._rejoin(call, agent_id, read)
        return await answer_whole_stream(pieces, streams=self._streams)

    async def _start(
        self, call: Call, agent_id: str, read: AgUiInput, messages: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[bytes, None]:
        """Start the run, or find the one that this input has started before."""
        from aos.entrypoints.http.ag_ui.inputs import read_question

        question, left_out = read_question(read)
        asked = read.question_index or 0
        options, metadata = read.options, read.metadata
        if options is not None:
            self._callers.check_text(options.instructions)
            self._callers.check_text(write_json([encode(tool) for tool in options.tools]))
        try:
            content = self._callers.read_content(question, metadata)
        except Refused as error:
            from aos.entrypoints.message_parts import name_field

            raise name_field(error, question, where=f"messages[{asked}].content") from error
        request = RunRequest(
            agent_id=agent_id,
            message=content.text,
            conversation_id=read.threadId,
            metadata=metadata,
            parts=content.parts,
            stream=True,
            options=options,
        )
        warnings = [f"{part} was left out: AOS cannot use it" for part in left_out]
        admission = await self._admit(call, request, read.key, warnings)
        telling = RunTelling(
            Telling(
                thread_id=read.threadId,
                client_run_id=read.runId,
                parent_run_id=read.parentRunId,
                run_id=admission.run.run_id,
                messages=messages[: asked + 1],
                known=read.known_messages,
            )
        )
        first = telling.start(warnings, again=not admission.created)
        return self._tell(call, admission.request, telling, first)

    async def _admit(
        self, call: Call, request: RunRequest, key: str, warnings: list[str]
    ) -> Admission:
        """Start the run; without its images where the agent's model cannot see, which adds a
        warning."""

        async def start(asked: RunRequest) -> Admission:
            return await self._callers.start(
                asked,
                caller=call.known_caller,
                key=key,
                door=DOOR,
                traceparent=call.traceparent,
            )

        unseen = tuple(part for part in request.parts if not list_attachments([part]))
        try:
            return await start(request)
        except Refused as error:
            blind = error.info.details.get("reason") == NO_VISION
            if unseen == request.parts or not (blind or error.code == "idempotency_conflict"):
                raise
        warnings.append("images and PDF files were left out: the agent's model cannot see them")
        return await start(replace(request, parts=unseen))

    async def _is_repeat(self, call: Call, read: AgUiInput) -> bool:
        """Whether the input repeats one that was cut, with what was told of its answer."""
        if read.question_index is None:
            return False
        found = await self._callers.find_started(read.key, caller=call.known_caller, door=DOOR)
        return found is not None

    async def _rejoin(
        self, call: Call, agent_id: str, read: AgUiInput
    ) -> AsyncGenerator[bytes, None]:
        """State the thread's messages, and tell the run that goes on in it, with what it asks."""
        caller = call.known_caller
        thread = await read_thread(self._callers, read.threadId, agent_id=agent_id, caller=caller)
        if thread is None and read.known_messages:
            raise Refused(
                "invalid_request",
                "the last of messages is not the user's, so there is nothing to answer; add a"
                " message of the user, or send resume, or the runId of the run that was cut",
                field="messages",
            )
        going = None if thread is None else thread.going
        messages = [] if thread is None else thread.messages
        telling = RunTelling(
            Telling(
                thread_id=read.threadId,
                client_run_id=read.runId,
                parent_run_id=read.parentRunId,
                run_id=None if going is None else going.run_id,
                messages=messages or (),
                known=len(messages or ()),
            )
        )
        first = telling.start(again=messages is not None)
        if going is None:
            return _write_all([*first, telling.rest()])
        return self._tell(call, going, telling, first)

    async def _give_results(
        self, call: Call, agent_id: str, read: AgUiInput, results: Results
    ) -> list[str]:
        """Give the run that waits the results of the application's tools; return warnings.

        A new question says that calls without a result get none.
        """
        if not results.given and not results.unanswered:
            return []
        caller = call.known_caller
        try:
            head = await self._callers.find_conversation(read.threadId, caller=caller)
        except Refused:
            return []  # told where the input is served
        active = None if head.agent_id != agent_id else head.active
        asked = [] if active is None else [c for c in active.calls if c.is_of_client]
        warnings: list[str] = []
        for waiting in asked:
            given = results.given.get(waiting.tool_call_id)
            is_left = waiting.tool_call_id in results.unanswered and read.ends_with_question
            if active is None or waiting.question is None or (given is None and not is_left):
                continue
            values = None if given is None else given.make_values(warnings)
            with contextlib.suppress(Refused):
                await self._callers.answer(
                    active.request.run_id,
                    waiting.question_id,
                    "cancel" if values is None else "accept",
                    values,
                    caller=caller,
                )
        return warnings

    async def _go_on(
        self,
        call: Call,
        agent_id: str,
        read: AgUiInput,
        messages: Sequence[Mapping[str, Any]],
        results: Results,
        warnings: list[str],
    ) -> AsyncGenerator[bytes, None]:
        """Tell how a run goes on with the results of the application's tools."""
        if results.run_id is None:
            return await self._rejoin(call, agent_id, read)
        request = await self._find_run(call, agent_id, read, results.run_id)
        told, call_ids = await self._find_asked(request, results), results.given.keys()
        telling = RunTelling(
            Telling(
                thread_id=read.threadId,
                client_run_id=read.runId,
                parent_run_id=read.parentRunId,
                run_id=request.run_id,
                messages=messages,
                known=read.known_messages,
                told=told,
                answered=frozenset(("question", call_id) for call_id in call_ids),
            )
        )
        return self._tell(call, request, telling, telling.start(warnings))

    async def _find_asked(self, request: AdmittedRequest, results: Results) -> EventId:
        """Return the id of the last event that asked for one of the results."""
        told = EventId()
        async for events in self._callers.list_all_events(request):
            asked = [e for e in events if e.data.get("question_id") in results.given]
            told = max((e.event_id for e in asked), default=told)
        return told

    async def _find_run(
        self, call: Call, agent_id: str, read: AgUiInput, run_id: str
    ) -> AdmittedRequest:
        """Return the request of a run of this thread. Raises Refused `run_not_found`."""
        request = await self._callers.find_request(run_id, caller=call.known_caller)
        if (request.conversation_id, request.agent_id) != (read.threadId, agent_id):
            raise Refused(
                "run_not_found", f"run {run_id!r} is not one of this agent in this thread"
            )
        return request

    async def _resume(
        self, call: Call, agent_id: str, read: AgUiInput, messages: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[bytes, None]:
        """Decide and answer, and tell how the run goes on."""
        from aos.entrypoints.http.ag_ui.interrupts import read_answers

        answers = read_answers(read.resume or [])
        run_id = answers[0].run_id
        request = await self._find_run(call, agent_id, read, run_id)
        _check_nothing_new(read, request)
        warnings = [
            text for answer in answers if (text := await self._give(call, answer)) is not None
        ]
        telling = RunTelling(
            Telling(
                thread_id=read.threadId,
                client_run_id=read.runId,
                parent_run_id=read.parentRunId,
                run_id=run_id,
                messages=messages,
                known=read.known_messages,
                told=max(answer.told for answer in answers),
                answered=frozenset(answer.key for answer in answers),
            )
        )
        return self._tell(call, request, telling, telling.start(warnings))

    async def _give(self, call: Call, answer: Answered) -> str | None:
        """Store one answer; return a warning where it was not needed any more."""
        caller, run_id = call.known_caller, answer.run_id
        try:
            if answer.kind == "approval":
                verdict, reason = answer.verdict
                await self._callers.decide(run_id, answer.ask_id, verdict, reason, caller=caller)
            else:
                action, values = answer.reply
                await self._callers.answer(run_id, answer.ask_id, action, values, caller=caller)
        except Refused as error:
            if error.code not in _ANSWERED_BEFORE:
                raise
            return str(error)
        return None

    async def _tell(
        self, call: Call, request: AdmittedRequest, telling: RunTelling, first: list[AgUiEvent]
    ) -> AsyncGenerator[bytes, None]:
        """Write the events of the AG-UI run."""
        for made in first:
            yield write_data(made)
        try:
            async with aclosing(self._follow(request, telling)) as events:
                async for event in events:
                    for piece in await self._write(call, request, telling, event):
                        yield piece
                    if event is not None and event.is_end:
                        return
        except Exception as error:
            known = self._responder.explain(call.route, error)
            says = f"{known}; the run goes on: send the same input again"
            for made in telling.break_off(says, known.code):
                yield write_data(made)
            return
        for made in telling.rest_now() if telling.is_at_rest else ():
            yield write_data(made)

    async def _write(
        self, call: Call, request: AdmittedRequest, telling: RunTelling, event: RunEvent | None
    ) -> list[bytes]:
        if event is None:
            return [COMMENT, *await self._tell_wait(request, telling)]
        told = telling.read(event)
        if event.is_end:
            told += await self._end(call, request, telling, event)
        return [write_data(made) for made in told]

    async def _tell_wait(self, request: AdmittedRequest, telling: RunTelling) -> list[bytes]:
        """Write what a quiet run waits for; nothing while storage is away."""
        with contextlib.suppress(TransientError):
            run = await self._callers.read(request)
            return [write_data(made) for made in telling.wait(run.waiting)]
        return []

    async def _follow(
        self, request: AdmittedRequest, telling: RunTelling
    ) -> AsyncGenerator[RunEvent | None, None]:
        """Yield the run's events until its end, or until it waits for people."""
        async with aclosing(self._callers.follow(request, after=EventId())) as events:
            while True:
                coming = asyncio.ensure_future(_take(events))
                try:
                    patience = ASK_SECONDS if telling.is_at_rest else None
                    done, _ = await asyncio.wait({coming}, timeout=patience)
                finally:
                    if not coming.done():
                        coming.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await coming
                if not done:
                    return
                found = coming.result()
                if isinstance(found, _Over) or (found is None and telling.is_at_rest):
                    return
                yield found

    async def _end(
        self, call: Call, request: AdmittedRequest, telling: RunTelling, event: RunEvent
    ) -> list[AgUiEvent]:
        """Return the end of the AG-UI run; what has to be read for it is read."""
        output = None
        if event.type == "run.completed" and telling.last_text.lstrip().startswith("{"):
            run = await self._callers.read(request)
            output = next((part.get("data") for part in run.output_parts or ()), None)
        ended = telling.end(event, output)
        if not telling.lacks_messages:
            return ended
        head = await self._callers.find_conversation(
            request.conversation_id, caller=call.known_caller
        )
        messages = await list_all(self._callers, head)
        if messages is None:
            return ended
        stated = {"type": "MESSAGES_SNAPSHOT", "messages": write_history(messages)}
        return [*ended[:-1], stated, ended[-1]]


async def _write_all(told: Iterable[AgUiEvent]) -> AsyncGenerator[bytes, None]:
    for made in told:
        yield write_data(made)


def _check_nothing_new(read: AgUiInput, request: AdmittedRequest) -> None:
    """Refuse a message of the user beside answers: it would be lost."""
    from aos.entrypoints.http.ag_ui.inputs import read_question

    if not read.ends_with_question:
        return
    question, _ = read_question(read)
    texts = question if isinstance(question, str) else None
    if texts != request.message:
        raise Refused(
            "invalid_request",
            "messages ends with a new message of the user beside resume; send resume first, and"
            " the message with the next run",
            field="messages",
        )


class _Over:
    """Comes after the last event."""


async def _take(events: AsyncGenerator[RunEvent | None, None]) -> RunEvent | _Over | None:
    return await anext(events, _Over())
