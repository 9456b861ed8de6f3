"""Runs an app's web extension, through which its answers can be streamed, and forwards requests to
it. Entry points: `find_extension`, `LocalExtension`, `Forwarder.forward`.

An app that imports such an extension gets its HTTP requests over HTTP, from the host, on a port of
its worker. The invocation itself carries the route parameters only, and the header
`x-ms-invocation-id` joins the two. `LocalExtension` does in this process what `http_v2` of
Microsoft's worker does; `Forwarder` is the host's side, which Azure builds with YARP.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from types import ModuleType
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from devhost.functions.errors import HostError
from devhost.functions.log import say

INVOCATION_ID = "x-ms-invocation-id"
SETTING = "PYTHON_ENABLE_INIT_INDEXING"
START_SECONDS = 5.0
WRITE_SECONDS = 60.0
"""How long a client may leave one piece unread. Kestrel, the server of Azure's host, cuts clients
that read less than 240 bytes a second."""
_BASE = "azurefunctions.extensions.base"
_HOP_BY_HOP = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
_OF_THE_HOST = frozenset({"date", "server"})
_CLIENT_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def find_extension(environ: Mapping[str, str]) -> ModuleType | None:
    """Return the web extension that the app has imported, or None.

    Raises HostError where Azure's worker would not start the app: up to Python 3.12 it needs a
    setting.
    """
    base = sys.modules.get(_BASE)
    if base is None or not base.HttpV2FeatureChecker.http_v2_enabled():
        return None
    if sys.version_info < (3, 13) and environ.get(SETTING) != "1":
        raise HostError(
            f"the app streams its answers, which Azure's worker for Python 3.12 and older does"
            f" only with the setting {SETTING}=1; add it"
        )
    return importlib.import_module(base.ModuleTrackerMeta.get_module())


class _Exchange:
    """One request and its response, whichever side comes first."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.request: asyncio.Future[Any] = loop.create_future()
        self.response: asyncio.Future[Any] = loop.create_future()


class ForwardError(Exception):
    """The app's web server cannot be reached, so the invocation would wait for ever."""


class LocalExtension:
    """The web server of an app that runs in this process."""

    def __init__(self, extension: ModuleType) -> None:
        self._extension = extension
        self._exchanges: dict[str, _Exchange] = {}
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Start the app's web server; return its address. Raises HostError."""
        address, port = "127.0.0.1", _find_port()
        app = self._extension.WebApp()
        app.route(self._catch_all)
        server = self._extension.WebServer(address, port, app)
        self._serving = asyncio.create_task(server.serve())
        await _wait_listening(address, port, self._serving)
        return f"http://{address}:{port}"

    async def close(self) -> None:
        """Stop the web server."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait({self._serving})

    async def take_request(self, invocation_id: str, route_params: Mapping[str, str]) -> Any:
        """Return the request of this invocation, with its route parameters."""
        request = await self._find(invocation_id).request
        tracker = sys.modules[_BASE].RequestTrackerMeta
        tracker.get_synchronizer().sync_route_params(request, route_params)
        return request

    def respond(self, invocation_id: str, response: Any) -> None:
        """Set what the function returned, or the exception that it raised."""
        exchange = self._find(invocation_id)
        if not exchange.response.done():
            exchange.response.set_result(response)

    def drop(self, invocation_id: str) -> None:
        """Forget an invocation that is over."""
        self._exchanges.pop(invocation_id, None)

    async def _catch_all(self, request: Any) -> Any:
        exchange = self._find(request.headers[INVOCATION_ID])
        if not exchange.request.done():
            exchange.request.set_result(request)
        response = await exchange.response
        if isinstance(response, Exception):
            raise response
        return response

    def _find(self, invocation_id: str) -> _Exchange:
        return self._exchanges.setdefault(invocation_id, _Exchange())


class Forwarder:
    """Forwards requests to an app's web server and passes the answers on, piece by piece."""

    def __init__(self, *, address: str, idle_seconds: float) -> None:
        self._address = address
        self._idle_seconds = idle_seconds
        self._session = ClientSession(
            connector=TCPConnector(limit=0),
            timeout=ClientTimeout(total=None, sock_connect=START_SECONDS, sock_read=idle_seconds),
            auto_decompress=False,
            skip_auto_headers=_CLIENT_HEADERS,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def forward(
        self, request: web.BaseRequest, invocation_id: str, *, forged: tuple[str, ...]
    ) -> web.StreamResponse:
        """Answer `request` as the app does. `forged` are the beginnings of headers to leave out.

        An answer that the app breaks off is broken off here. Cancelled, it closes the app's side.
        Raises ForwardError.
        """
        sending = self._session.request(
            request.method,
            URL(self._address + request.rel_url.raw_path_qs, encoded=True),
            headers=_forward_headers(request, invocation_id, forged),
            data=_forward_body(request),
            allow_redirects=False,
            chunked=True if request.content_length is None and request.can_read_body else None,
        )
        try:
            upstream = await sending
        except TimeoutError:
            say("warning", "http.cut", path=request.path, after_seconds=self._idle_seconds)
            return web.Response(status=504)
        except (ClientError, OSError) as error:
            raise ForwardError(str(error)) from error
        async with upstream:
            answer = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _HOP_BY_HOP | _OF_THE_HOST:
                    answer.headers.add(name, value)
            await answer.prepare(request)
            try:
                async for piece in upstream.content.iter_any():
                    async with asyncio.timeout(WRITE_SECONDS):
                        await answer.write(piece)
            except (ClientError, TimeoutError):
                _break_off(request)
                return answer
            await answer.write_eof()
            return answer


async def send_continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it (`Expect: 100-continue`) to send its body."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        with contextlib.suppress(ConnectionError):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0


def _forward_headers(
    request: web.BaseRequest, invocation_id: str, forged: tuple[str, ...]
) -> CIMultiDict[str]:
    left_out = {*_HOP_BY_HOP, INVOCATION_ID}
    headers = CIMultiDict(
        (name, value)
        for name, value in request.headers.items()
        if name.lower() not in left_out and not name.lower().startswith(forged)
    )
    headers[INVOCATION_ID] = invocation_id
    return headers


def _forward_body(request: web.BaseRequest) -> AsyncIterator[bytes] | None:
    if not request.can_read_body:
        return None
    return _read_pieces(request)


async def _read_pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    await send_continue(request)
    async for piece in request.content.iter_any():
        yield piece


def _break_off(request: web.BaseRequest) -> None:
    """Close the connection without the end of the body, so that the client notices."""
    if request.transport is not None:
        request.transport.abort()


async def _wait_listening(address: str, port: int, serving: asyncio.Task[None]) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not serving.done() and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
    raise HostError(f"the app's web server did not start on port {port}: {_explain(serving)}")


def _explain(serving: asyncio.Task[None]) -> str:
    return repr(serving.exception()) if serving.done() else f"not within {START_SECONDS} s"


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
