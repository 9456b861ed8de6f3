"""Serves exposed MCP servers to outsiders at `/api/mcp/{server_id}`. Entry point:
`McpRoutes.serve`.

It uses Streamable HTTP without sessions and answers with JSON only: POST carries one message, every
other method gets 405.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import azure.functions as func

from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.entrypoints.http.bodies import refuse_encoding, require_length
from aos.entrypoints.http.mcp_envelopes import check_envelope
from aos.entrypoints.http.mcp_requests import guard, load_mcp, serve_mcp
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.version import __version__

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.lowlevel import Server

    from aos.services.tool_calls import ExposedTools


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
        check_envelope(await take_object(call.request.get_body(), max_bytes=self._max_body_bytes))
        await asyncio.to_thread(load_mcp)
        server = self._make_server(server_id, tools, call)
        return await serve_mcp(
            server, call.request, max_body_bytes=self._max_body_bytes, streams=False
        )

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

        explain = partial(self._responder.explain, call.route)
        return Server(
            server_id,
            version=__version__,
            on_list_tools=guard(list_tools, explain),
            on_call_tool=guard(call_tool, explain),
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
