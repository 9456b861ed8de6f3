"""Serves one request of MCP by the SDK's own application, without sessions. Entry points:
`serve_mcp`, `guard`.

The SDK speaks the protocol, in all its revisions: a request of the Functions host becomes a call of
its ASGI application. `HttpResponder` has already identified the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.event_streams import EVENT_STREAM
from aos.entrypoints.http.responder import Answer
from aos.errors import AosError

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

Message: TypeAlias = MutableMapping[str, Any]
_NOT_OURS = frozenset({"content-length", "transfer-encoding", "content-type", "connection"})


def load_mcp() -> None:
    """Import the SDK's server side, which takes half a second: do it outside the event loop."""
    import mcp.server.lowlevel
    import mcp.server.streamable_http_manager  # noqa: F401


def guard(
    handler: Callable[[Any, Any], Awaitable[Any]], explain: Callable[[Exception], AosError]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return the handler with its failures as errors of JSON-RPC that tell nothing of the inside.

    The SDK would send the text of any exception. `explain` returns what the client is told.
    """
    from mcp.shared.exceptions import MCPError

    async def handle(context: Any, params: Any) -> Any:
        try:
            return await handler(context, params)
        except MCPError:
            raise
        except Exception as error:
            known = explain(error)
            code = -32602 if known.info.type == "caller" else -32603
            raise MCPError(code, str(known), encode(known.info)) from error

    return handle


async def serve_mcp(
    server: Server[Any], request: func.HttpRequest, *, max_body_bytes: int, streams: bool
) -> Answer:
    """Return the server's answer to a POST.

    `streams`: it may be an event stream, and a client that goes away cancels what is going on.
    """
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    manager = StreamableHTTPSessionManager(
        app=server,
        json_response=not streams,
        stateless=True,
        # The host names itself in every deployment; `HttpResponder` checks keys and sign-in.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=max_body_bytes,
    )
    return await _Exchange(manager, request).answer()


class _Exchange:
    """One request and its answer. The application runs in a task of its own."""

    def __init__(self, manager: StreamableHTTPSessionManager, request: func.HttpRequest) -> None:
        self._manager = manager
        self._request = request
        self._said: asyncio.Queue[Message | None] = asyncio.Queue()
        self._unread = [{"type": "http.request", "body": request.get_body(), "more_body": False}]
        self._gone = asyncio.Event()

    async def answer(self) -> Answer:
        """Return the answer as soon as it is whole, or as it begins to stream."""
        task = asyncio.create_task(self._run())
        try:
            start = await self._said.get()
            if start is None:
                await task
                raise RuntimeError("the MCP SDK answered nothing")
            headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
            mimetype = headers.get("content-type", "application/json").partition(";")[0]
            kept = {name: value for name, value in headers.items() if name not in _NOT_OURS}
            pieces = self._read_pieces(task)
            if mimetype == EVENT_STREAM:
                return Answer(body=None, stream=pieces, mimetype=mimetype, headers=kept)
            raw = b"".join([piece async for piece in pieces])
            return Answer(
                status=start["status"], body=None, raw=raw, mimetype=mimetype, headers=kept
            )
        except BaseException:
            task.cancel()
            raise

    async def _run(self) -> None:
        try:
            async with self._manager.run():
                scope = _make_scope(self._request)
                await self._manager.handle_request(scope, self._receive, self._send)
        finally:
            self._said.put_nowait(None)

    async def _read_pieces(self, task: asyncio.Task[None]) -> AsyncGenerator[bytes, None]:
        try:
            while (message := await self._said.get()) is not None:
                if message.get("body"):
                    yield message["body"]
            await task
        finally:
            self._gone.set()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _receive(self) -> Message:
        if self._unread:
            return self._unread.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self._said.put_nowait(message)


def _make_scope(request: func.HttpRequest) -> Message:
    headers = [
        (str(name).lower().encode(), str(value).encode("latin-1", "replace"))
        for name, value in request.headers.items()
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
