"""Serves the Responses API: create, retrieve, cancel, input items. Entry point: `Responses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from aos.domain.caller import Caller
from aos.domain.cards.identity import is_card_id
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import EventId
from aos.domain.runs.run_options import RunOptions
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.event_streams import answer_whole_stream
from aos.entrypoints.http.openai.errors import refuse
from aos.entrypoints.http.openai.inputs import Said, Verdicts, list_runs, read_input
from aos.entrypoints.http.openai.items import list_input_items, make_list
from aos.entrypoints.http.openai.names import ResponseId, name_conversation, read_conversation_id
from aos.entrypoints.http.openai.parameters import (
    RESPONSES,
    Parameters,
    check_include,
    missing,
    read_format,
)
from aos.entrypoints.http.openai.reading import ResponseReader
from aos.entrypoints.http.openai.references import ItemReferences
from aos.entrypoints.http.openai.response_object import Asked
from aos.entrypoints.http.openai.response_stream import write_stream
from aos.entrypoints.http.openai.starting import RunStarter
from aos.entrypoints.http.responder import Answer, Call, Explain
from aos.errors import Refused
from aos.services.admission import RunRequest

PREVIOUS = "previous_response_id"
Before: TypeAlias = tuple[AdmittedRequest, Run]
"""The run after which another one goes on."""
CANCEL_SECONDS = 10.0
"""How long a cancellation waits for the end of its run."""


class Responses:
    """The operations of Responses."""

    def __init__(
        self,
        callers: CallerRuns,
        *,
        reader: ResponseReader,
        starter: RunStarter,
        explain: Explain,
        streams: bool,
    ) -> None:
        self._callers = callers
        self._reader = reader
        self._references = ItemReferences(callers, reader=reader)
        self._starter = starter
        self._explain = explain
        self._streams = streams

    async def create(self, call: Call, body: Mapping[str, Any], agent_id: str | None) -> Answer:
        """POST /responses. `agent_id` is the agent in the path, where it names one."""
        RESPONSES.check(body)
        given = Parameters(body)
        check_include(given.value("include"))
        value = await self._references.resolve(given.value("input"), caller=call.known_caller)
        named = given.value("conversation") is not None
        said = read_input(value, read_content=self._callers.read_content, may_be_empty=named)
        asked = Asked(background=given.flag("background"), previous=given.text(PREVIOUS))
        stream = given.flag("stream")
        if said.decisions:
            response_id = await self._decide(said.decisions, call.known_caller)
            request = await self._callers.find_request(response_id.run_id, caller=call.known_caller)
            return await self._answer(request, response_id.part, asked, stream=stream)
        before = await self._find_previous(call.known_caller, given)
        wanted = _read_request(given, said, agent_id, before)

        async def check() -> None:
            if before is not None:
                await self._require_last(call.known_caller, *before)

        admission = await self._starter.start(call, wanted, check=check, takes_items=named)
        return await self._answer(admission.request, 0, asked, stream=stream, run=admission.run)

    async def retrieve(self, call: Call, response_id: str) -> Answer:
        """GET /responses/{response_id}, as it is now or as a stream."""
        request, part = await self._find(call, response_id)
        query = call.request.params
        if _read_flag(query, "stream"):
            after = _read_after(query.get("starting_after"))
            return await self._stream(request, part, Asked(), after=after)
        return Answer(body=await self._reader.read(request, part))

    async def cancel(self, call: Call, response_id: str) -> Answer:
        """POST /responses/{response_id}/cancel"""
        request, part = await self._find(call, response_id)
        await self._callers.cancel(request.run_id, caller=call.known_caller)
        body = await self._reader.wait(request, part, seconds=CANCEL_SECONDS)
        return Answer(body=body)

    async def delete(self, call: Call, response_id: str) -> Answer:
        """DELETE /responses/{response_id}"""
        request, part = await self._find(call, response_id)
        run = await self._callers.read(request)
        is_first = request.conversation_id == request.run_id and part == 0
        if not is_first or await self._list_later(call.known_caller, request, run):
            raise refuse(
                "response_id",
                "is not the only response of its conversation: AOS deletes whole conversations."
                f" Delete {name_conversation(request.conversation_id)}",
                code="unsupported_operation",
            )
        await self._callers.delete_conversation(request.conversation_id, caller=call.known_caller)
        return Answer(body={"id": response_id, "object": "response", "deleted": True})

    async def list_input(self, call: Call, response_id: str) -> Answer:
        """GET /responses/{response_id}/input_items"""
        request, _ = await self._find(call, response_id)
        return Answer(body=make_list(list_input_items(request), call.request.params))

    async def _find(self, call: Call, response_id: str) -> tuple[AdmittedRequest, int]:
        """The request of a response, and the part of its run. Raises Refused `run_not_found`."""
        wanted = ResponseId.read(response_id)
        request = await self._callers.find_request(wanted.run_id, caller=call.known_caller)
        _require_kept(request, response_id)
        if wanted.part:
            await self._reader.require_part(request, wanted.part)
        return request, wanted.part

    async def _answer(
        self,
        request: AdmittedRequest,
        part: int,
        asked: Asked,
        *,
        stream: bool,
        run: Run | None = None,
    ) -> Answer:
        if stream:
            return await self._stream(request, part, asked, after=-1)
        seconds = 0.0 if asked.background else LONGEST_WAIT_SECONDS
        body = await self._reader.wait(request, part, seconds=seconds, asked=asked, run=run)
        return Answer(body=body)

    async def _stream(
        self, request: AdmittedRequest, part: int, asked: Asked, *, after: int
    ) -> Answer:
        following = self._callers.follow(request, after=EventId())
        pieces = write_stream(
            following, request, part=part, asked=asked, after=after, explain=self._explain
        )
        return await answer_whole_stream(pieces, streams=self._streams)

    async def _find_previous(self, caller: Caller, given: Parameters) -> Before | None:
        """The run to go on after. Raises Refused `run_not_found`."""
        previous = given.text(PREVIOUS)
        if previous is None:
            return None
        if given.value("conversation") is not None:
            raise refuse(PREVIOUS, "cannot be given together with conversation")
        run_id = ResponseId.read(previous, field=PREVIOUS).run_id
        found = await self._callers.find(run_id, caller=caller)
        _require_kept(found[0], previous, field=PREVIOUS)
        return found

    async def _require_last(self, caller: Caller, request: AdmittedRequest, run: Run) -> None:
        """Refuse to go on after a response that others followed: a conversation has one line."""
        if run.status == "waiting_approval":
            raise refuse(PREVIOUS, "waits for approvals; send mcp_approval_response items first")
        if not run.status.has_ended:
            return
        later = await self._list_later(caller, request, run)
        if later:
            raise refuse(
                PREVIOUS,
                "is not the last response of its conversation: conversations do not branch. Go on"
                f" with {ResponseId(later[-1])}, or send the messages as the input",
                code="unsupported_value",
            )

    async def _list_later(self, caller: Caller, request: AdmittedRequest, run: Run) -> list[str]:
        """The runs that followed a run in its conversation, as far as its head and end tell."""
        head = await self._callers.find_conversation(request.conversation_id, caller=caller)
        going = [*([head.active.request] if head.active else []), *head.queued]
        last = max(0, head.next_sequence - 1)
        page = await self._callers.read_messages(head, start=last, limit=1)
        later = [item.run_id for item in going if item.run_id != run.run_id]
        later += [
            message.run_id
            for message in page.items
            if message.run_id != run.run_id and message.created_at > run.created_at
        ]
        return later

    async def _decide(self, decisions: tuple[Verdicts, ...], caller: Caller) -> ResponseId:
        """Take the decisions; return the response that tells what followed."""
        run_id, *others = list_runs(decisions)
        if others:
            raise refuse("input", "has decisions about several responses; send them one by one")
        request = await self._callers.find_request(run_id, caller=caller)
        unfolded = await self._reader.unfold(request, 0)
        given = {item.tool_call_id for item in decisions}
        left = [name for name in unfolded.pending if name not in given]
        if left:
            raise refuse("input", f"lacks a decision about {', '.join(left)}: decide about all")
        part = max((unfolded.asked_in(name) for name in given), default=unfolded.parts - 1)
        for item in decisions:
            try:
                await self._callers.decide(
                    item.run_id, item.tool_call_id, item.verdict, item.reason, caller=caller
                )
            except Refused as error:
                is_repeat = error.info.details.get("decision") == item.verdict
                if error.code != "already_decided" or not is_repeat:
                    raise
        return ResponseId(run_id, part + 1)


def _require_kept(request: AdmittedRequest, name: str, **details: str) -> None:
    if request.is_scrubbed:
        raise Refused(
            "run_not_found", f"response {name!r} was deleted with its conversation", **details
        )


def _read_request(
    given: Parameters, said: Said, agent_id: str | None, before: Before | None
) -> RunRequest:
    conversation_id = _read_conversation(given)
    agent_id = _read_agent(given, agent_id)
    if before is not None:
        conversation_id = before[0].conversation_id
        agent_id = agent_id or before[0].agent_id
    if agent_id is None:
        raise missing("model")
    instructions = given.text("instructions") or ""
    text = given.mapping("text") or {}
    if text.get("verbosity") not in (None, "medium"):
        raise refuse("text.verbosity", "is set by the agent's card; leave it out")
    options = RunOptions(
        instructions="\n\n".join(filter(None, (instructions, said.instructions))),
        output_schema=read_format(text.get("format"), field="text.format"),
        max_output_tokens=given.whole("max_output_tokens", least=1),
        history=said.history,
    )
    return RunRequest(
        agent_id=agent_id,
        message="" if said.question is None else said.question.text,
        parts=() if said.question is None else said.question.parts,
        conversation_id=conversation_id,
        metadata=given.metadata(),
        stream=given.flag("stream"),
        options=None if options == RunOptions() else options,
    )


def _read_conversation(given: Parameters) -> str | None:
    """The conversation to go on with, or to begin."""
    value = given.value("conversation")
    if value is None:
        return None
    named = value.get("id") if isinstance(value, dict) else value
    if not isinstance(named, str):
        raise refuse("conversation", "must be the id of a conversation", code="invalid_type")
    return read_conversation_id(named, field="conversation")


def _read_agent(given: Parameters, in_path: str | None) -> str | None:
    """The agent that a request names: in its path, as the model, or as Foundry's reference."""
    reference = given.mapping("agent_reference") or given.mapping("agent") or {}
    name = reference.get("name")
    if name is not None and not isinstance(name, str):
        raise refuse("agent_reference.name", "must be a string", code="invalid_type")
    agent_id = in_path or name or given.text("model")
    return None if agent_id is None else check_agent(agent_id)


def check_agent(agent_id: str) -> str:
    """Return the name of an agent. Raises Refused `agent_not_found`."""
    if not is_card_id(agent_id):
        raise Refused(
            "agent_not_found",
            f"there is no agent {agent_id[:80]!r}; the models of this API are the agents",
            field="model",
        )
    return agent_id


def _read_flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise refuse(name, f"is {text[:20]!r}, but must be true or false", code="invalid_type")
    return text == "true"


def _read_after(text: str | None) -> int:
    if text is None:
        return -1
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise refuse("starting_after", f"is {text[:20]!r}, but must be a sequence number")
    return int(text)
