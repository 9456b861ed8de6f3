"""Serves agents as tools of MCP, Streamable HTTP that remembers no session. Entry point:
`AgentToolRoutes.serve`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.agent_tools.calls import AgentCalls
from aos.entrypoints.http.agent_tools.sessions import HEADER, Session, begin_session
from aos.entrypoints.http.agent_tools.tasks import EXTENSION
from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.mcp_envelopes import check_envelope, find_request_id
from aos.entrypoints.http.mcp_requests import guard, load_mcp, serve_mcp
from aos.entrypoints.http.responder import Answer, Call, HttpResponder, refuse_method
from aos.entrypoints.http.runs import read_idempotency_key, read_media_type
from aos.errors import AosError
from aos.ports.agents import ListedAgents
from aos.ports.system import Clock
from aos.version import __version__

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

INSTRUCTIONS = (
    "Each tool asks one agent. An agent remembers a conversation under the conversation_id that you"
    " choose; without it, each question stands alone."
)
_PARSE_ERROR, _INVALID_REQUEST, _INTERNAL_ERROR = -32700, -32600, -32603


class AgentToolRoutes:
    """The route of MCP. `streams`: whether this app can send an answer in pieces."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        callers: CallerRuns,
        agents: ListedAgents,
        clock: Clock,
        streams: bool,
    ) -> None:
        self._responder = responder
        self._callers = callers
        self._agents = agents
        self._clock = clock
        self._streams = streams

    async def serve(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/mcp"""
        return await self._responder.answer("agent_tools", req, self._serve, form=_form_error)

    async def _serve(self, call: Call) -> Answer:
        if call.request.method.upper() != "POST":
            raise refuse_method(call.request, ("POST",))
        refuse_encoding(call.request)
        require_length(call.request, body_needed=True)
        read_media_type(call, text_too=False)
        from aos.entrypoints.requests import take_object

        # The SDK would accept JSON that AOS refuses everywhere: too deep, too large, with 1e999.
        max_bytes = self._callers.bounds.body_bytes
        message = await take_object(call.request.get_body(), max_bytes=max_bytes)
        check_envelope(message)
        key = read_idempotency_key(call)
        await asyncio.to_thread(load_mcp)
        calls = AgentCalls(
            callers=self._callers,
            agents=self._agents,
            clock=self._clock,
            caller=call.known_caller,
            key=key,
            session=Session.read(call.header(HEADER)),
            name=call.header("mcp-name"),
            traceparent=call.traceparent,
            streams=self._streams,
        )
        await calls.hear(message)
        answer = await serve_mcp(
            _make_server(calls, partial(self._responder.explain, call.route)),
            call.request,
            max_body_bytes=max_bytes,
            streams=self._streams,
        )
        return begin_session(message, answer)


def _make_server(calls: AgentCalls, explain: Callable[[Exception], AosError]) -> Server[Any]:
    from mcp.server.lowlevel import Server

    from aos.entrypoints.http.agent_tools.params import TaskParams, UpdateParams

    server: Server[Any] = Server(
        "aos",
        version=__version__,
        title="AOS agents",
        instructions=INSTRUCTIONS,
        on_list_tools=guard(calls.list_tools, explain),
        on_call_tool=guard(calls.call_tool, explain),
        get_tool_input_schema=lambda _: None,  # no argument is repeated in a header
    )
    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", TaskParams, guard(calls.get_task, explain))
    server.add_request_handler("tasks/update", UpdateParams, guard(calls.update_task, explain))
    server.add_request_handler("tasks/cancel", TaskParams, guard(calls.cancel_task, explain))
    return server


def _form_error(call: Call, error: AosError, answer: Answer) -> Answer:
    """Write an error before MCP in the form of JSON-RPC; the status stays."""
    if answer.status >= 500:
        code = _INTERNAL_ERROR
    elif str(error).startswith("the body cannot be read"):
        code = _PARSE_ERROR
    else:
        code = _INVALID_REQUEST
    told = {"code": code, "message": str(error), "data": encode(error.info)}
    request_id = find_request_id(call.request.get_body())
    return replace(answer, body={"jsonrpc": "2.0", "id": request_id, "error": told})
