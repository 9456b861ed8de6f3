"""Starts, shows and cancels runs over HTTP. Entry point: `RunRoutes`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import azure.functions as func

from aos.domain.cards.identity import is_card_id
from aos.domain.cards.policy import CardPolicy
from aos.domain.codec import encode
from aos.domain.conversation_ids import CONVERSATION_RULE, is_conversation_id
from aos.domain.runs.run import ReplyAddress, Run
from aos.domain.runs.run_events import EventId
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.event_streams import read_after, stream_events, wants_stream
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import JSON, Answer, Call, HttpResponder
from aos.entrypoints.ids import take_run_id
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.errors import Refused
from aos.ports.system import Clock
from aos.services.admission import Admission, RunRequest
from aos.services.runs import RunReader

POLL_SECONDS = 1
_KEY = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")
_TEXT = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request for a run, as its sender meant it. `framework`: in the form of Agent Framework.
    `as_events`: the answer is the stream of the run's events."""

    request: RunRequest
    wait_seconds: float
    framework: bool
    as_events: bool


class RunRoutes:
    """The routes of runs."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        callers: CallerRuns,
        runs: RunReader,
        streams: bool,
        reply_entities: ReplyEntities,
        policy: CardPolicy,
        clock: Clock,
    ) -> None:
        self._responder = responder
        self._callers = callers
        self._runs = runs
        self._streams = streams
        self._reply_entities = reply_entities
        self._bounds = callers.bounds
        self._policy = policy
        self._clock = clock

    async def start(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/agents/{agent_id}/run"""
        return await self._responder.answer("run_agent", req, self._start)

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/runs"""
        return await self._responder.answer("list_runs", req, self._list)

    async def get(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/runs/{run_id}"""
        return await self._responder.answer("get_run", req, self._get)

    async def cancel(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/runs/{run_id}/cancel"""
        return await self._responder.answer("cancel_run", req, self._cancel)

    async def _start(self, call: Call) -> Answer:
        key = read_idempotency_key(call)
        asked = await self._read(call)
        admission = await self._callers.start(
            asked.request, caller=call.known_caller, key=key, traceparent=call.traceparent
        )
        if asked.as_events:
            answer = await self._stream(admission, after=read_after(call))
            where = {"Location": f"/api/runs/{admission.run.run_id}"}
            return replace(answer, headers={**answer.headers, **where})
        run = await self._callers.wait(admission, seconds=asked.wait_seconds)
        return _add_framework_headers(answer_run(run), run) if asked.framework else answer_run(run)

    async def _stream(self, admission: Admission, *, after: EventId) -> Answer:
        """Return the stream of the run's events."""
        request = admission.request
        is_new = admission.created and not admission.run.status.has_ended and not after.saved
        first = self._callers.begin_events(request) if is_new else None
        news = self._callers.follow_together(request, after=after, first=first)
        return await stream_events(news, request, streams=self._streams, at_once=is_new)

    async def _list(self, call: Call) -> Answer:
        query = Query(call.request)
        page = await self._runs.list_runs(
            owner=call.owner,
            agent_id=query.agent_id(),
            status=query.status(),
            since=query.since(now=self._clock.now()),
            after=query.after(),
            limit=query.limit(),
        )
        items = [encode(run) for run in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})

    async def _get(self, call: Call) -> Answer:
        _, run = await self._callers.find(read_run_id(call), caller=call.known_caller)
        return Answer(body=encode(run))

    async def _cancel(self, call: Call) -> Answer:
        run = await self._callers.cancel(read_run_id(call), caller=call.known_caller)
        return Answer(status=202, body=encode(run), headers=_make_follow_headers(run))

    async def _read(self, call: Call) -> _Asked:
        from aos.entrypoints.requests import read_notify

        body = await self._read_body(call)
        metadata = body.metadata or {}
        content = self._callers.take_content(body.message, metadata)
        session = _read_session(call, body)
        as_events = wants_stream(call)
        asked_async = body.waitForResponse is False or _is_async_preferred(call)
        wait = self._bounds.wait_seconds if body.wait_seconds is None else body.wait_seconds
        return _Asked(
            request=RunRequest(
                agent_id=read_agent_id(call),
                message=content.text,
                conversation_id=body.conversation_id or session,
                metadata=metadata,
                reply=self._read_reply(body),
                parts=content.parts,
                notify=read_notify(body.notify, self._policy),
                stream=as_events or body.stream is True,
            ),
            wait_seconds=0.0 if asked_async else float(wait),
            framework=session is not None or body.waitForResponse is not None,
            as_events=as_events,
        )

    async def _read_body(self, call: Call) -> Any:
        """Return the body as a `RunBody`: JSON, or plain text that is the message."""
        from aos.entrypoints.requests import RunBody, take_object, validate

        raw = call.request.get_body()
        if read_media_type(call) == _TEXT:
            try:
                return validate(RunBody, {"message": raw.decode("utf-8-sig")})
            except UnicodeDecodeError as error:
                raise Refused(
                    "invalid_request", "the text is not UTF-8; send it in UTF-8"
                ) from error
        return validate(RunBody, await take_object(raw, max_bytes=self._bounds.body_bytes))

    def _read_reply(self, body: Any) -> ReplyAddress | None:
        from aos.entrypoints.requests import check_bus_ids

        if body.reply_to is None:
            return None
        check_bus_ids(
            correlation_id=body.correlation_id, reply_to_session_id=body.reply_to_session_id
        )
        return ReplyAddress(
            entity=self._reply_entities.require_allowed(body.reply_to),
            session_id=body.reply_to_session_id,
            correlation_id=body.correlation_id,
        )


def read_media_type(call: Call, *, text_too: bool = True) -> str:
    """Return `application/json` (also the default) or `text/plain`.

    Raises Refused `unsupported_media_type` for another type, or for a charset other than UTF-8.
    """
    given = call.header("content-type") or JSON
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refused("unsupported_media_type", f"the charset is {charset[1][:40]!r}; send UTF-8")
    if kind == JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return JSON
    if kind == _TEXT and text_too:
        return _TEXT
    known = f"{JSON} or {_TEXT}" if text_too else JSON
    raise Refused("unsupported_media_type", f"Content-Type is {kind[:80]!r}; send {known}")


def read_agent_id(call: Call) -> str:
    """Return the agent in the path. Raises Refused `agent_not_found`."""
    return check_agent_id(call.part("agent_id"))


def check_agent_id(agent_id: str) -> str:
    """Return the id of an agent. Raises Refused `agent_not_found` for what cannot be one."""
    if not is_card_id(agent_id):
        raise Refused(
            "agent_not_found", f"there is no agent {agent_id[:80]!r}; check GET /api/agents"
        )
    return agent_id


def read_run_id(call: Call) -> str:
    """Return the run in the path. Raises Refused `run_not_found`."""
    return take_run_id(call.part("run_id"))


def read_idempotency_key(call: Call) -> str | None:
    """Return the header Idempotency-Key. Raises Refused `invalid_request`."""
    key = call.header("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Refused(
            "invalid_request",
            "Idempotency-Key is not valid; write 1 to 256 printable ASCII characters",
        )
    return key


def _is_async_preferred(call: Call) -> bool:
    prefer = call.header("prefer") or ""
    return "respond-async" in {item.strip().lower() for item in re.split("[,;]", prefer)}


def _read_session(call: Call, body: Any) -> str | None:
    """Return the conversation in the names of Agent Framework: a field of the body or a header."""
    header = call.header("x-ms-session-id")
    if header is not None and not is_conversation_id(header):
        raise Refused("invalid_request", f"x-ms-session-id is not valid; write {CONVERSATION_RULE}")
    named = {name for name in (body.conversation_id, body.sessionId, header) if name}
    if len(named) > 1:
        raise Refused(
            "invalid_request",
            "conversation_id, sessionId and x-ms-session-id name different conversations; keep"
            " one of them",
        )
    return body.sessionId or header


def answer_run(run: Run) -> Answer:
    """Return 200 with an ended run, 202 with one that goes on."""
    if run.status.has_ended:
        return Answer(body=encode(run))
    return Answer(status=202, body=encode(run), headers=_make_follow_headers(run))


def _make_follow_headers(run: Run) -> dict[str, str]:
    """Return the headers that tell where to read the run, and when."""
    return {"Location": f"/api/runs/{run.run_id}", "Retry-After": str(POLL_SECONDS)}


def _add_framework_headers(answer: Answer, run: Run) -> Answer:
    """Return the answer with the headers that Agent Framework's clients read."""
    return Answer(
        status=answer.status,
        body={**answer.body, "response": run.output},
        headers={**answer.headers, "x-ms-session-id": run.conversation_id},
    )
