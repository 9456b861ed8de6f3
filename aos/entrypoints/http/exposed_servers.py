"""Serves exposed MCP servers to outsiders at `/api/mcp/{server_id}`. Entry point:
`McpRoutes.serve`.

It uses Streamable HTTP without sessions and answers with JSON only: POST carries one message, every
other method gets 405. The SDK speaks the protocol; each request becomes a call of its ASGI
application. `HttpResponder` has already identified the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import azure.functions as func

from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.version import __version__

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.lowlevel import Server

    from aos.services.tool_calls import ExposedTools

Message: TypeAlias = MutableMapping[str, Any]
_NOT_OURS = frozenset({"content-length", "transfer-encoding", "content-type"})


class McpRoutes:
    """The exposed servers."""

    def __init__(
        self, responder: HttpResponder, *, exposed: ExposedTools, max_body_bytes: int
    ) -> None:
        self._responder = responder
        self._exposed = exposed
        self._max_body_bytes = max_body_bytes

    async def serve(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/mcp/{server_id}"""
        return await self._responder.answer("mcp_door", req, self._serve)

    async def _serve(self, call: Call) -> Answer:
        if call.request.method.upper() != "POST":
            return Answer(status=405, body=None, headers={"Allow": "POST"})
        refuse_encoding(call.request)
        require_length(call.request, body_needed=True)
        from aos.entrypoints.requests import take_object

        server_id = call.part("server_id")
        tools = await self._exposed.list_tools(server_id)
        # The SDK would accept JSON that AOS refuses everywhere: too deep, too large, with 1e999.
        await take_object(call.request.get_body(), max_bytes=self._max_body_bytes)
        await asyncio.to_thread(_load)
        server = self._make_server(server_id, tools, call)
        return await _serve_request(server, call.request, max_body_bytes=self._max_body_bytes)

    def _make_server(
        self, server_id: str, tools: tuple[ToolSchema, ...], call: Call
    ) -> Server[Any]:
        import mcp_types as types
        from mcp.server.lowlevel import Server

        async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
            return types.ListToolsResult(tools=[_write_tool(schema) for schema in tools])

        async def call_tool(
            context: Any, params: types.CallToolRequestParams
        ) -> types.CallToolResult:
            outcome = await self._exposed.call(
                server_id, params.name, params.arguments or {}, traceparent=call.traceparent
            )
            return _write_result(outcome)

        return Server(
            server_id, version=__version__, on_list_tools=list_tools, on_call_tool=call_tool
        )


async def _serve_request(
    server: Server[Any], request: func.HttpRequest, *, max_body_bytes: int
) -> Answer:
    """Serve one request by the SDK's own ASGI application."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    manager = StreamableHTTPSessionManager(
        app=server,
        json_response=True,
        stateless=True,
        # The host names itself in every deployment; `HttpResponder` checks keys and sign-in.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=max_body_bytes,
    )
    body = request.get_body()
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    said: list[Message] = []

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await asyncio.Event().wait()  # nobody disconnects: the host waits for the answer
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        said.append(message)

    async with manager.run():
        await manager.handle_request(_make_scope(request), receive, send)
    return _build_answer(said)


def _make_scope(request: func.HttpRequest) -> Message:
    headers = [
        (k.lower().encode(), v.encode("latin-1", "replace")) for k, v in _write_headers(request)
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }


def _write_headers(request: func.HttpRequest) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in request.headers.items()]


def _build_answer(said: list[Message]) -> Answer:
    """Combine what the application sent into one answer."""
    start = next(message for message in said if message["type"] == "http.response.start")
    body = b"".join(m.get("body", b"") for m in said if m["type"] == "http.response.body")
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(
        status=start["status"],
        body=None,
        raw=body,
        mimetype=headers.get("content-type", "application/json").partition(";")[0],
        headers={name: value for name, value in headers.items() if name not in _NOT_OURS},
    )


def _write_tool(schema: ToolSchema) -> types.Tool:
    import mcp_types as types

    return types.Tool.model_validate(
        {
            "name": schema.name,
            "description": schema.description,
            "inputSchema": {"type": "object", **schema.input_schema},
            "annotations": dict(schema.annotations) or None,
        }
    )


def _write_result(outcome: ToolOutcome) -> types.CallToolResult:
    import mcp_types as types

    text = {"type": "text", "text": outcome.content}
    return types.CallToolResult.model_validate(
        {"content": [text, *outcome.parts], "isError": outcome.outcome != "ok"}
    )


def _load() -> None:
    """Import the SDK's server side, which takes half a second, outside the event loop."""
    import mcp.server.lowlevel
    import mcp.server.streamable_http_manager  # noqa: F401
