"""Serves A2A 1.0 at `/api/a2a/{agent_id}`: the agent card, JSON-RPC and HTTP+JSON. Entry point:
`A2aRoutes`.

An operation is found by its JSON-RPC method, or by its HTTP method and path. Both bindings read the
same parameters and get the same answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import azure.functions as func

from aos.domain.json_reader import JsonTextError, parse_json
from aos.domain.json_writer import write_json
from aos.entrypoints.http.a2a.card import PROTOCOL_VERSION, CardFacts, build_card
from aos.entrypoints.http.a2a.errors import (
    A2aRefused,
    answer_rest_error,
    answer_rpc_error,
    write_rest_error,
    write_rpc_error,
)
from aos.entrypoints.http.a2a.messages import Asked, TaskMessages
from aos.entrypoints.http.a2a.operations import A2aOperations, Stream
from aos.entrypoints.http.a2a.push_configs import A2aPushConfigs
from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.event_streams import EVENT_STREAM, HEADERS
from aos.entrypoints.http.responder import Answer, Call, Explain, HttpResponder, refuse_method
from aos.entrypoints.http.runs import read_media_type
from aos.errors import AosError, Refused

Method: TypeAlias = Literal[
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
    "GetExtendedAgentCard",
]
RpcId: TypeAlias = str | int | float | None
A2A_JSON = "application/a2a+json"
VERSION_HEADER = "a2a-version"
_COMMENT = b": waiting\n\n"
_STREAMS = ("SendStreamingMessage", "SubscribeToTask")
_TASK = r"tasks/(?P<id>[^/:]+)"
_CONFIGS = r"tasks/(?P<taskId>[^/:]+)/pushNotificationConfigs"
_PATHS: tuple[tuple[str, str, Method], ...] = (
    ("POST", r"message:send", "SendMessage"),
    ("POST", r"message:stream", "SendStreamingMessage"),
    ("GET", r"tasks", "ListTasks"),
    ("GET", _TASK, "GetTask"),
    ("POST", rf"{_TASK}:cancel", "CancelTask"),
    ("POST", rf"{_TASK}:subscribe", "SubscribeToTask"),
    ("GET", rf"{_TASK}:subscribe", "SubscribeToTask"),
    ("POST", _CONFIGS, "CreateTaskPushNotificationConfig"),
    ("GET", _CONFIGS, "ListTaskPushNotificationConfigs"),
    ("GET", rf"{_CONFIGS}/(?P<id>[^/]+)", "GetTaskPushNotificationConfig"),
    ("DELETE", rf"{_CONFIGS}/(?P<id>[^/]+)", "DeleteTaskPushNotificationConfig"),
    ("GET", r"extendedAgentCard", "GetExtendedAgentCard"),
)
_WITH_BODY = ("SendMessage", "SendStreamingMessage", "CreateTaskPushNotificationConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rpc:
    """A request of the JSON-RPC binding."""

    id: RpcId
    method: Method
    params: Any


class A2aRoutes:
    """The routes of A2A. `facts.streams`: whether this app can send an answer in pieces."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        operations: A2aOperations,
        messages: TaskMessages,
        pushes: A2aPushConfigs,
        facts: CardFacts,
        max_body_bytes: int,
    ) -> None:
        self._responder = responder
        self._operations = operations
        self._messages = messages
        self._pushes = pushes
        self._facts = facts
        self._max_body_bytes = max_body_bytes

    async def card(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/a2a/{agent_id}/.well-known/agent-card.json"""
        return await self._responder.answer("a2a_card", req, self._get_card)

    async def rpc(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/a2a/{agent_id}"""
        return await self._responder.answer("a2a", req, self._serve_rpc, form=self._form_rpc)

    async def rest(self, req: func.HttpRequest) -> func.HttpResponse:
        """All other paths under /api/a2a/{agent_id}"""
        return await self._responder.answer("a2a_rest", req, self._serve_rest, form=_form_rest)

    async def _get_card(self, call: Call) -> Answer:
        asked = await self._find_agent(call)
        headers = {"ETag": f'"{asked.agent.digest}"', "Cache-Control": "private, max-age=60"}
        return Answer(body=build_card(asked.agent, self._facts), headers=headers)

    async def _serve_rpc(self, call: Call) -> Answer:
        read_media_type(call, text_too=False)
        rpc = _read_rpc(call.request.get_body(), max_bytes=self._max_body_bytes)
        _check_version(call)
        asked = await self._find_agent(call)
        if rpc.method in _STREAMS:
            stream = await self._open(rpc.method, rpc.params, asked)
            pieces = _write_rpc_stream(stream, rpc.id, self._explain(call))
            return Answer(body=None, stream=pieces, mimetype=EVENT_STREAM, headers=HEADERS)
        result = await self._run(rpc.method, rpc.params, asked)
        return Answer(body={"jsonrpc": "2.0", "id": rpc.id, "result": result})

    async def _serve_rest(self, call: Call) -> Answer:
        method, params = _find_operation(call)
        refuse_encoding(call.request)
        require_length(call.request, body_needed=method in _WITH_BODY)
        if method in _WITH_BODY:
            read_media_type(call, text_too=False)
            body = _read_json(call.request.get_body(), max_bytes=self._max_body_bytes)
            if not isinstance(body, dict):
                raise A2aRefused("INVALID_PARAMS", "the body is not a JSON object; write one")
            params = {**body, **params}
        _check_version(call)
        asked = await self._find_agent(call)
        if method in _STREAMS:
            pieces = _write_rest_stream(
                await self._open(method, params, asked), self._explain(call)
            )
            return Answer(body=None, stream=pieces, mimetype=EVENT_STREAM, headers=HEADERS)
        return Answer(body=await self._run(method, params, asked) or {}, mimetype=A2A_JSON)

    def _form_rpc(self, call: Call, error: AosError, answer: Answer) -> Answer:
        return answer_rpc_error(error, answer, _find_rpc_id(call, self._max_body_bytes))

    def _explain(self, call: Call) -> Explain:
        return partial(self._responder.explain, call.route)

    async def _find_agent(self, call: Call) -> Asked:
        return await self._operations.find_agent(
            call.part("agent_id"), caller=call.known_caller, traceparent=call.traceparent
        )

    async def _open(self, method: Method, params: Any, asked: Asked) -> Stream:
        from aos.entrypoints.http.a2a.requests import OneTask, SendMessage, read_params

        if not self._facts.streams:
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                "this deployment cannot stream; use SendMessage and GetTask, or let the operator"
                " set PYTHON_ENABLE_INIT_INDEXING",
            )
        if method == "SubscribeToTask":
            return await self._operations.subscribe(asked, read_params(OneTask, params))
        return await self._operations.stream(asked, read_params(SendMessage, params))

    async def _run(self, method: Method, params: Any, asked: Asked) -> Any:
        from aos.entrypoints.http.a2a import requests as read

        operations, read_params = self._operations, read.read_params
        match method:
            case "SendMessage":
                return await operations.send(asked, read_params(read.SendMessage, params))
            case "GetTask":
                return await operations.get(asked, read_params(read.GetTask, params))
            case "ListTasks":
                return await operations.list_tasks(asked, read_params(read.ListTasks, params))
            case "CancelTask":
                return await operations.cancel(asked, read_params(read.OneTask, params))
            case "GetExtendedAgentCard":
                raise A2aRefused(
                    "UNSUPPORTED_OPERATION", "the agent has no extended card; read its public one"
                )
            case _:
                return await self._change_configs(method, params, asked)

    async def _change_configs(self, method: Method, params: Any, asked: Asked) -> Any:
        from aos.entrypoints.http.a2a import requests as read

        self._pushes.require_support()
        match method:
            case "CreateTaskPushNotificationConfig":
                given = read.read_params(read.PushNotification, params)
                request, run = await self._messages.find(asked, given.task_id)
                return await self._pushes.put(request, given, known=run.status)
            case "ListTaskPushNotificationConfigs":
                wanted = read.read_params(read.PushNotifications, params)
                request, _ = await self._messages.find(asked, wanted.task_id)
                return await self._pushes.list(request.run_id)
        one = read.read_params(read.OnePushNotification, params)
        request, _ = await self._messages.find(asked, one.task_id)
        if method == "GetTaskPushNotificationConfig":
            return await self._pushes.get(request.run_id, one.id)
        return await self._pushes.delete(request.run_id, one.id)


def _form_rest(call: Call, error: AosError, answer: Answer) -> Answer:
    return answer_rest_error(error, answer)


def _read_json(body: bytes, *, max_bytes: int) -> Any:
    try:
        return parse_json(body, max_bytes=max_bytes, allow_control_characters=True)
    except JsonTextError as error:
        raise A2aRefused(
            "PARSE_ERROR", f"the body cannot be read: {error.message}; {error.hint}"
        ) from error


def _read_rpc(body: bytes, *, max_bytes: int) -> _Rpc:
    """Read a JSON-RPC request. Raises A2aRefused."""
    raw = _read_json(body, max_bytes=max_bytes)
    if isinstance(raw, list):
        raise A2aRefused("INVALID_REQUEST", "batches are not served; send one request at a time")
    if not isinstance(raw, dict) or raw.get("jsonrpc") != "2.0":
        raise A2aRefused("INVALID_REQUEST", 'the body is not a request with "jsonrpc": "2.0"')
    rpc_id, method = raw.get("id"), raw.get("method")
    if isinstance(rpc_id, bool) or not isinstance(rpc_id, str | int | float | None):
        raise A2aRefused("INVALID_REQUEST", "id is not valid; write a text or a number")
    if not isinstance(method, str):
        raise A2aRefused("INVALID_REQUEST", "method is not a text; write the name of a method")
    known: Method | None = next((name for _, _, name in _PATHS if name == method), None)
    if known is None:
        raise A2aRefused(
            "METHOD_NOT_FOUND",
            f"there is no method {method[:80]!r} in A2A {PROTOCOL_VERSION}; the names are those of"
            " its operations, such as SendMessage",
        )
    params = raw.get("params")
    return _Rpc(id=rpc_id, method=known, params={} if params is None else params)


def _find_rpc_id(call: Call, max_bytes: int) -> RpcId:
    """Return the id of a request that failed, if it can be read."""
    try:
        raw = parse_json(
            call.request.get_body(), max_bytes=max_bytes, allow_control_characters=True
        )
    except JsonTextError:
        return None
    rpc_id = raw.get("id") if isinstance(raw, dict) else None
    if isinstance(rpc_id, bool) or not isinstance(rpc_id, str | int | float):
        return None
    return rpc_id


def _find_operation(call: Call) -> tuple[Method, dict[str, Any]]:
    """Return the operation of a request of the HTTP+JSON binding, and the parameters in its path
    and query."""
    path = call.part("path").rstrip("/")
    allowed = set()
    for verb, pattern, method in _PATHS:
        match = re.fullmatch(pattern, path)
        if match is None:
            continue
        if verb == call.request.method.upper():
            query = {} if method in _WITH_BODY else dict(call.request.params)
            return method, {**query, **match.groupdict()}
        allowed.add(verb)
    if allowed:
        raise refuse_method(call.request, allowed)
    raise Refused(
        "not_found",
        f"A2A {PROTOCOL_VERSION} has no operation {call.request.method} /{path[:200]}",
    )


def _check_version(call: Call) -> None:
    """Raise A2aRefused for another version than 1.x. A client that names none speaks 0.3."""
    given = call.header(VERSION_HEADER) or call.request.params.get("A2A-Version") or ""
    if re.fullmatch(r"1(\.[0-9]{1,4}){0,2}", given.strip()):
        return
    said = f"A2A-Version is {given[:20]!r}" if given.strip() else "A2A-Version is missing"
    raise A2aRefused(
        "VERSION_NOT_SUPPORTED",
        f"{said}; send the header A2A-Version: {PROTOCOL_VERSION}, the version that is served",
    )


async def _write_rpc_stream(
    stream: Stream, rpc_id: RpcId, explain: Explain
) -> AsyncGenerator[bytes, None]:
    def write(update: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": rpc_id, "result": update}

    def write_error(error: Exception) -> dict[str, Any]:
        return write_rpc_error(explain(error), rpc_id)

    async with aclosing(_write_pieces(stream, write, write_error)) as it:
        async for piece in it:
            yield piece


async def _write_rest_stream(stream: Stream, explain: Explain) -> AsyncGenerator[bytes, None]:
    def write_error(error: Exception) -> dict[str, Any]:
        return write_rest_error(explain(error))

    async with aclosing(_write_pieces(stream, lambda update: update, write_error)) as it:
        async for piece in it:
            yield piece


async def _write_pieces(
    stream: Stream,
    write: Callable[[dict[str, Any]], Mapping[str, Any]],
    write_error: Callable[[Exception], Mapping[str, Any]],
) -> AsyncGenerator[bytes, None]:
    async with aclosing(stream) as updates:
        try:
            async for update in updates:
                yield _COMMENT if update is None else b"data: " + _pack(write(update)) + b"\n\n"
        except Exception as error:
            yield b"event: error\ndata: " + _pack(write_error(error)) + b"\n\n"


def _pack(value: Mapping[str, Any]) -> bytes:
    text = write_json(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
