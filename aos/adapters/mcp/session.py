"""Speaks MCP with one server over its streams. Entry point: `Session`.

The `mcp` SDK negotiates the revision and matches answers with requests. It would refuse a whole
answer because of one part that does not meet its types, so lists of tools and results of calls are
passed on as the server wrote them. `tool_list` and `results` read them. Importing this module
loads the SDK, which takes about a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from aos.adapters.mcp.pauses import ELICITATION
from aos.version import __version__

if TYPE_CHECKING:
    from types import TracebackType

    from mcp.shared.dispatcher import CallOptions, DispatchContext, OnRequest

DISCOVER_SECONDS = 3.0
"""How long to wait for an answer to the newest revision's first request. A server that starts
slowly is asked again after the old handshake."""
REFUSALS: Mapping[str, str] = {
    "sampling/createMessage": "AOS does not lend its model to MCP servers",
    "roots/list": "AOS has no folders to show to MCP servers",
}
"""What AOS answers to requests of a server that it does not serve."""
_NOT_KNOWN = frozenset(
    {
        types.METHOD_NOT_FOUND,
        types.INVALID_REQUEST,
        types.INVALID_PARAMS,
        types.UNSUPPORTED_PROTOCOL_VERSION,
    }
)
"""How a server of the newest revision refuses the old handshake."""
_PASSED_ON = frozenset({"tools/list", "tools/call", "tasks/get", "tasks/update", "tasks/cancel"})
TASKS = "io.modelcontextprotocol/tasks"
"""MCP's extension for tasks."""
Ask: TypeAlias = Callable[[Any], Awaitable[dict[str, Any]]]
"""Answers a question of the server to a person. Raises MCPError."""


class _CallParams(types.RequestParams):
    name: str
    arguments: dict[str, Any]
    input_responses: dict[str, Any] | None = None
    request_state: str | None = None


class _Call(types.Request[_CallParams, Literal["tools/call"]]):
    method: Literal["tools/call"] = "tools/call"
    params: _CallParams


class _TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict[str, Any] | None = None


class _TaskRequest(types.Request[_TaskParams, str]):
    method: str
    params: _TaskParams
    name_param = "taskId"


class _Answer(Exception):
    """Carries a result past the SDK's types."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__("an answer")
        self.result = result


class _Dispatcher(JSONRPCDispatcher[TransportContext]):
    """Passes results on as they are, and refuses requests of the server that AOS does not serve."""

    header_maps: dict[str, dict[tuple[str, ...], str]]
    on_question: Ask

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        sent: CallOptions = {**opts} if opts is not None else {}
        if method == "server/discover":
            sent["timeout"] = DISCOVER_SECONDS
        if method == "tools/call" and params is not None and "headers" in sent:
            found = self.header_maps.get(params["name"], {})
            added = mcp_param_headers(found, params.get("arguments") or {})
            sent["headers"] = {**(sent["headers"] or {}), **added}
        result = await super().send_raw_request(method, params, sent, **more)
        if method in _PASSED_ON:
            raise _Answer(result)
        return result

    async def run(self, on_request: OnRequest, *others: Any, **more: Any) -> None:
        async def answer(
            context: DispatchContext[TransportContext],
            method: str,
            params: Mapping[str, Any] | None,
        ) -> dict[str, Any]:
            if method in REFUSALS:
                raise MCPError(types.METHOD_NOT_FOUND, REFUSALS[method])
            if method == ELICITATION:
                return await self.on_question(params)
            return await on_request(context, method, params)

        await super().run(answer, *others, **more)


class Session:
    """A session with one server, opened and closed in the same task."""

    def __init__(
        self, read: Any, write: Any, *, on_tools_changed: Callable[[], None], on_question: Ask
    ) -> None:
        async def handle_message(message: object) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                on_tools_changed()

        self._dispatcher = _Dispatcher(read, write)
        self._dispatcher.header_maps = {}
        self._dispatcher.on_question = on_question
        self._session = ClientSession(
            dispatcher=self._dispatcher,
            message_handler=handle_message,
            client_info=types.Implementation(name="aos", version=__version__),
            elicitation_callback=_offer_questions,
            extensions={TASKS: {}},
        )

    async def __aenter__(self) -> Session:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._session.__aexit__(kind, error, trace)

    async def negotiate(self, *, newest: bool) -> None:
        """Agree on a revision: the newest one, or one of those with the old handshake.

        Raises MCPError, or RuntimeError when there is no revision that both know.
        """
        if newest and await self._is_discovered():
            return
        try:
            await self._session.initialize()
        except MCPError as refused:
            # a new server may have started after the first request's time was over
            if refused.code not in _NOT_KNOWN or not await self._is_discovered():
                raise

    async def _is_discovered(self) -> bool:
        """Whether the server speaks the newest revision, which has no handshake."""
        with contextlib.suppress(MCPError, ValueError, RuntimeError):
            await self._session.discover()
            return True
        return False

    @property
    def is_newest(self) -> bool:
        """Whether the server speaks the newest revision."""
        return self._session.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def has_tools(self) -> bool:
        """Whether the server says that it has tools."""
        known = self._session.server_capabilities
        return known is not None and known.tools is not None

    async def list_page(self, cursor: str | None) -> dict[str, Any]:
        """Ask for one page of the tools. Raises MCPError."""
        params = None if cursor is None else types.PaginatedRequestParams(cursor=cursor)
        return await self._ask(types.ListToolsRequest(params=params))

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        responses: Mapping[str, Any] | None = None,
        state: str | None = None,
    ) -> dict[str, Any]:
        """Call a tool, or go on with a call that asked. Raises MCPError."""
        given = None if responses is None else dict(responses)
        params = _CallParams(
            name=tool, arguments=dict(arguments), input_responses=given, request_state=state
        )
        return await self._ask(_Call(params=params))

    async def ask_task(
        self, method: str, task_id: str, *, responses: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request about a task (`tasks/get`, `tasks/update`, `tasks/cancel`).

        Raises MCPError.
        """
        given = None if responses is None else dict(responses)
        params = _TaskParams(task_id=task_id, input_responses=given)
        return await self._ask(_TaskRequest(method=method, params=params))

    async def ping(self) -> None:
        """Ask for a sign of life. Raises MCPError."""
        await self._session.send_ping()

    def find_header_fault(self, tool: str, schema: Mapping[str, Any]) -> str | None:
        """Note which arguments the newest revision repeats in headers, or say why it cannot be."""
        if not self.is_newest:
            return None
        fault = find_invalid_x_mcp_header(schema)
        if fault is None:
            self._dispatcher.header_maps[tool] = x_mcp_header_map(schema)
        return fault

    async def follow_changes(self) -> None:
        """Let a server of the newest revision tell of changes of its tools; others tell anyway."""
        known = self._session.server_capabilities
        tools = None if known is None else known.tools
        if not self.is_newest or tools is None or not tools.list_changed:
            return
        with contextlib.suppress(
            MCPError, ListenNotSupportedError, SubscriptionLost, TimeoutError, ValueError
        ):
            async with listen(self._session, tools_list_changed=True) as changes:
                async for _ in changes:
                    """The message handler gets each change, too."""

    async def _ask(self, request: types.Request[Any, Any]) -> dict[str, Any]:
        try:
            await self._session.send_request(request, types.EmptyResult)
        except _Answer as answer:
            return answer.result
        raise AssertionError("the dispatcher passes every answer on")


async def _offer_questions(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ErrorData:
    """Stand for the capability in the handshake; the dispatcher answers the questions."""
    return types.ErrorData(code=types.METHOD_NOT_FOUND, message="AOS answers questions elsewhere")
