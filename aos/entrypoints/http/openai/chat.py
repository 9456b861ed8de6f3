"""Serves Chat Completions: the messages of a request are the whole conversation. Entry point:
`Chat.create`.

Each request is a run in a conversation of its own, with the earlier messages as its history.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from aos.domain.codec import decode
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.runs.run_options import RunOptions
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.event_streams import (
    COMMENT,
    Following,
    answer_whole_stream,
    write_data,
)
from aos.entrypoints.http.message_text import MessageText
from aos.entrypoints.http.openai.errors import describe_error, refuse
from aos.entrypoints.http.openai.inputs import read_messages
from aos.entrypoints.http.openai.names import ResponseId, name_chat
from aos.entrypoints.http.openai.parameters import CHAT, Parameters, missing, read_format
from aos.entrypoints.http.openai.reading import may_be_over
from aos.entrypoints.http.openai.response_object import IncompleteReason, find_incomplete
from aos.entrypoints.http.openai.responses import check_agent
from aos.entrypoints.http.openai.starting import RunStarter
from aos.entrypoints.http.responder import Answer, Call, Explain
from aos.errors import ErrorInfo
from aos.services.admission import RunRequest

DONE = b"data: [DONE]\n\n"
FAILED_STATUS = 500
GOES_ON_STATUS = 503
_FINISHES = {None: "stop", "max_output_tokens": "length", "content_filter": "content_filter"}
"""The reasons of an incomplete response, as a chat completion calls them."""


class Chat:
    """The operation of Chat Completions."""

    def __init__(
        self, callers: CallerRuns, *, starter: RunStarter, explain: Explain, streams: bool
    ) -> None:
        self._callers = callers
        self._starter = starter
        self._explain = explain
        self._streams = streams

    async def create(self, call: Call, body: Mapping[str, Any], agent_id: str | None) -> Answer:
        """POST /chat/completions"""
        CHAT.check(body)
        given = Parameters(body)
        stream, shows_usage = given.flag("stream"), _read_shows_usage(given)
        admission = await self._starter.start(call, self._read_request(given, agent_id))
        request = admission.request
        if stream:
            following = self._callers.follow(request, after=EventId())
            pieces = _write_stream(
                following, request, shows_usage=shows_usage, explain=self._explain
            )
            return await answer_whole_stream(pieces, streams=self._streams)
        run = await self._callers.wait_until(
            request, admission.run, seconds=LONGEST_WAIT_SECONDS, until=may_be_over
        )
        return _answer(request, run)

    def _read_request(self, given: Parameters, agent_id: str | None) -> RunRequest:
        agent_id = agent_id or given.text("model")
        if agent_id is None:
            raise missing("model")
        said = read_messages(given.value("messages"), read_content=self._callers.read_content)
        assert said.question is not None
        limits = [given.whole(name, least=1) for name in ("max_completion_tokens", "max_tokens")]
        options = RunOptions(
            instructions=said.instructions,
            output_schema=read_format(given.value("response_format"), field="response_format"),
            max_output_tokens=min((limit for limit in limits if limit is not None), default=None),
            history=said.history,
        )
        return RunRequest(
            agent_id=check_agent(agent_id),
            message=said.question.text,
            parts=said.question.parts,
            metadata=given.metadata(),
            stream=given.flag("stream"),
            options=None if options == RunOptions() else options,
        )


def _read_shows_usage(given: Parameters) -> bool:
    shows = (given.mapping("stream_options") or {}).get("include_usage")
    if shows is not None and not isinstance(shows, bool):
        raise refuse("stream_options.include_usage", "must be true or false", code="invalid_type")
    return bool(shows)


def _answer(request: AdmittedRequest, run: Run) -> Answer:
    if not may_be_over(run):
        return _ask_again(request)
    fault = _find_fault(request, run)
    if fault is not None:
        return _refuse(fault)
    choice = {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": run.output,
            "refusal": None,
            "annotations": [],
        },
        "logprobs": None,
        "finish_reason": _FINISHES[find_incomplete(run.finish_reason, run.error)],
    }
    usage = describe_usage(
        run.usage.input_tokens,
        run.usage.output_tokens,
        run.usage.cached_tokens,
        run.usage.reasoning_tokens,
    )
    head = _describe(request, "chat.completion")
    return Answer(body={**head, "choices": [choice], "usage": usage})


def _find_fault(request: AdmittedRequest, run: Run) -> ErrorInfo | None:
    """Why the run has no answer for a chat completion, which can only be an answer."""
    if run.status is RunStatus.COMPLETED or find_incomplete(None, run.error):
        return None
    if run.error is not None:
        return run.error
    if run.status is RunStatus.WAITING_APPROVAL:
        where = f"GET /api/openai/v1/responses/{ResponseId(request.run_id)}"
        says = "a tool call waits for a person's decision, for which Chat Completions has no form"
        return ErrorInfo(code="unavailable", message=f"{says}; read it at {where}")
    return ErrorInfo(code="precondition_failed", message="the run was cancelled")


def _ask_again(request: AdmittedRequest) -> Answer:
    """The answer while a run goes on for longer than a connection may last, or while this process
    ends: the SDKs repeat the request, and the repeat finds the run."""
    where = f"GET /api/openai/v1/responses/{ResponseId(request.run_id)}"
    says = f"the run goes on; send the request again as a retry, or read it at {where}"
    fault = ErrorInfo(code="unavailable", message=says)
    body = {"error": describe_error(fault, status=GOES_ON_STATUS)}
    return Answer(status=GOES_ON_STATUS, body=body, headers={"Retry-After": "1"})


def _refuse(fault: ErrorInfo) -> Answer:
    """The error of a run that was accepted. To send it again would run it again."""
    body = {"error": describe_error(fault, status=FAILED_STATUS)}
    return Answer(status=FAILED_STATUS, body=body, headers={"x-should-retry": "false"})


def describe_usage(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    """The usage of a chat completion."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


async def _write_stream(
    following: Following, request: AdmittedRequest, *, shows_usage: bool, explain: Explain
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the answer, until the run ends."""
    chunks = _Chunks(request, shows_usage=shows_usage)
    yield chunks.write({"role": "assistant", "content": "", "refusal": None})
    try:
        async with aclosing(following) as events:
            async for event in events:
                if event is None:
                    yield COMMENT
                    continue
                for piece in chunks.read(event):
                    yield piece
                if chunks.is_over:
                    return
    except Exception as error:
        yield _write_fault(explain(error).info)


class _Chunks:
    """The chunks of one answer.

    A chunk cannot be taken back: where the model was asked again and wrote something else, the
    stream ends with an error, and the answer is read from the run.
    """

    def __init__(self, request: AdmittedRequest, *, shows_usage: bool) -> None:
        self._request = request
        self._shows_usage = shows_usage
        self._head = _describe(request, "chat.completion.chunk")
        if shows_usage:
            self._head["usage"] = None
        self._text = MessageText()
        self._told = False
        self.is_over = False
        """Whether nothing follows."""

    def write(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        """Write one chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return write_data({**self._head, "choices": [choice]})

    def read(self, event: RunEvent) -> Iterator[bytes]:
        """Write what an event of the run tells."""
        piece = self._text.read(event)
        is_changed = piece is not None and piece.restarted
        fault = _begun_again(self._request) if is_changed else _find_fault_of(event, self._request)
        if fault is not None:
            self.is_over = True
            yield _write_fault(fault)
            return
        if piece is not None and piece.text:
            between = "\n\n" if self._told and piece.begins else ""
            self._told = True
            yield self.write({"content": between + piece.text})
        if event.is_end:
            self.is_over = True
            yield self.write({}, _FINISHES[_find_incomplete_of(event)])
            if self._shows_usage:
                yield write_data({**self._head, "choices": [], "usage": _read_usage(event)})
            yield DONE


def _find_fault_of(event: RunEvent, request: AdmittedRequest) -> ErrorInfo | None:
    """Why a stream of chunks cannot go on after an event."""
    where = f"GET /api/openai/v1/responses/{ResponseId(request.run_id)}"
    if event.type == "run.waiting" and event.data.get("kind") == "approval":
        says = "a tool call waits for a person's decision, for which Chat Completions has no form"
        return ErrorInfo(code="unavailable", message=f"{says}; read it at {where}")
    if not event.is_end or event.type == "run.completed" or _find_incomplete_of(event):
        return None
    raw = event.data.get("error")
    if isinstance(raw, dict):
        return ErrorInfo(code=raw["code"], message=raw["message"])
    return ErrorInfo(code="precondition_failed", message="the run was cancelled")


def _find_incomplete_of(event: RunEvent) -> IncompleteReason | None:
    error = event.data.get("error")
    fault = None if error is None else decode(ErrorInfo, error)
    return find_incomplete(event.data.get("finish_reason"), fault)


def _begun_again(request: AdmittedRequest) -> ErrorInfo:
    where = f"GET /api/openai/v1/responses/{ResponseId(request.run_id)}"
    return ErrorInfo(
        code="unavailable",
        message="the model was asked again and wrote something else than what was sent, which"
        f" chunks cannot take back; read the answer at {where}",
    )


def _write_fault(fault: ErrorInfo) -> bytes:
    return write_data({"error": describe_error(fault, status=FAILED_STATUS)})


def _read_usage(event: RunEvent) -> dict[str, Any]:
    raw = event.data.get("usage") or {}
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    return describe_usage(*(int(raw.get(name) or 0) for name in names))


def _describe(request: AdmittedRequest, kind: str) -> dict[str, Any]:
    return {
        "id": name_chat(request.run_id),
        "object": kind,
        "created": int(request.admitted_at.timestamp()),
        "model": request.agent_id,
        "service_tier": None,
        "system_fingerprint": None,
    }
