"""Serves an app's HTTP requests inside Azure's Python worker, so that answers can be streamed.
Entry points, which the worker finds once this module is imported: `WebApp`, `WebServer`.

Without it the worker buffers each answer. With it the worker starts `WebServer`, and the Functions
host forwards each request to it, with the invocation's id in a header. `WebApp.route` gets the
worker's function that joins request and invocation. Handlers are unchanged: they take an
`azure.functions.HttpRequest` and return an `azure.functions.HttpResponse`, which may be a
`StreamedResponse`. Source: azurefunctions-extensions-base and `http_v2` of Microsoft's worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import azure.functions as func
from azurefunctions.extensions import base  # type: ignore[import-untyped]

from aos.entrypoints.http.streams import StreamedResponse

if TYPE_CHECKING:  # loaded when the server starts: it takes 100 ms
    from aiohttp import web

INVOCATION_ID = "x-ms-invocation-id"
BODY_LIMIT = 100 * 1024 * 1024
"""The largest body that Azure's host takes. `HttpResponder` has the product's own limit."""
WRITE_SECONDS = 60.0
"""How long a client may leave one piece of a stream unread."""
_FIELD_LIMIT = 32 * 1024
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding"})

CatchAll: TypeAlias = Callable[[func.HttpRequest], Awaitable[func.HttpResponse | str]]


class ForwardedRequest(func.HttpRequest):
    """A request that the host forwarded; its route parameters come with the invocation."""

    def __init__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str],
        body: bytes,
    ) -> None:
        super().__init__(method, url, headers=headers, params=params, body=body)
        self._route: Mapping[str, str] = {}

    @property
    def route_params(self) -> Mapping[str, str]:
        """The parts of the path that the route names."""
        return types.MappingProxyType(self._route)

    def set_route_params(self, values: Mapping[str, str]) -> None:
        """Take the route parameters of the invocation."""
        self._route = dict(values)


class RouteParameters(base.RequestSynchronizer):  # type: ignore[misc]  # untyped package
    """Copies the route parameters of an invocation into its request."""

    def sync_route_params(
        self, request: ForwardedRequest, path_params: Mapping[str, str] | None
    ) -> None:
        """Called by the worker before it calls the function."""
        request.set_route_params(path_params or {})


class Request(metaclass=base.RequestTrackerMeta):  # type: ignore[metaclass]
    """Tells the worker which type a function's request has."""

    request_type = func.HttpRequest
    synchronizer = RouteParameters()


class Response(metaclass=base.ResponseTrackerMeta):  # type: ignore[metaclass]
    """Tells the worker which type a function returns; a streamed response is a subclass."""

    label = base.ResponseLabels.STANDARD
    response_type = func.HttpResponse


class Text(metaclass=base.ResponseTrackerMeta):  # type: ignore[metaclass]
    """Tells the worker that a function may return a text, as it may without this module."""

    label = base.ResponseLabels.STR
    response_type = str


class WebApp(base.WebApp):  # type: ignore[misc]
    """Answers forwarded requests with the responses of their invocations."""

    def __init__(self) -> None:
        self._catch_all: CatchAll | None = None

    def route(self, func: CatchAll) -> CatchAll:
        """Take the worker's function that waits for an invocation's response."""
        self._catch_all = func
        return func

    def get_app(self) -> WebApp:
        """Return this app."""
        return self

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of the host."""
        from aiohttp import web

        assert self._catch_all is not None
        invocation_id = request.headers.get(INVOCATION_ID)
        if invocation_id is None:
            return web.Response(status=400, text="the Functions host sends no such request")
        joined = asyncio.ensure_future(self._join(self._catch_all, request, invocation_id))
        joined.add_done_callback(_retrieve)
        # Shielded, because the invocation goes on when the client has gone: it waits for its
        # request, and the worker sets its response.
        response = await asyncio.shield(joined)
        if isinstance(response, str):
            return web.Response(text=response)
        if isinstance(response, StreamedResponse):
            return await _send_stream(request, response)
        return web.Response(
            status=response.status_code,
            body=response.get_body(),
            headers=_write_headers(response),
        )

    async def _join(
        self, catch_all: CatchAll, request: web.BaseRequest, invocation_id: str
    ) -> func.HttpResponse | str:
        try:
            return await catch_all(await _read_request(request))
        finally:
            _forget(catch_all, invocation_id)


class WebServer(base.WebServer):  # type: ignore[misc]
    """Listens on the address that the worker chose."""

    hostname: str
    port: int
    web_app: WebApp

    async def serve(self) -> None:
        """Serve until the process ends."""
        from aiohttp import web

        server = web.Server(
            self.web_app.answer,
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,  # a stream ends when its client goes away
            max_field_size=_FIELD_LIMIT,
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.hostname, self.port, backlog=1024).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


async def _read_request(request: web.BaseRequest) -> ForwardedRequest:
    """Read a request in the form in which the host passes it on without streams.

    Header names are in lower case, and empty query values are left out. A body without its length
    is left unread, so that all apps answer it alike (ADR 0018). A body that breaks off is empty:
    the invocation waits for its request in any case.
    """
    body = await _read_body(request) if request.content_length else b""
    headers: dict[str, str] = {}
    for given, value in request.headers.items():
        name = given.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    params: dict[str, str] = {}
    for name, value in request.rel_url.query.items():
        if value:
            params[name] = f"{params[name]},{value}" if name in params else value
    return ForwardedRequest(
        request.method, str(request.url), headers=headers, params=params, body=body
    )


async def _read_body(request: web.BaseRequest) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        with contextlib.suppress(ConnectionError):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
    import aiohttp
    from aiohttp import web

    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > BODY_LIMIT:
                break
    except (
        aiohttp.ClientError,
        aiohttp.http.HttpProcessingError,
        web.RequestPayloadError,
        OSError,
    ):
        return b""  # nobody is left to answer, but the invocation waits for its request
    return bytes(body)


async def _send_stream(request: web.BaseRequest, response: StreamedResponse) -> web.StreamResponse:
    from aiohttp import web

    answer = web.StreamResponse(status=response.status_code, headers=_write_headers(response))
    async with contextlib.aclosing(response.pieces) as pieces:
        await answer.prepare(request)
        await _send_pieces(answer, pieces)
    return answer


async def _send_pieces(answer: web.StreamResponse, pieces: AsyncGenerator[bytes, None]) -> None:
    async for piece in pieces:
        async with asyncio.timeout(WRITE_SECONDS):
            await answer.write(piece)
    await answer.write_eof()


def _write_headers(response: func.HttpResponse) -> list[tuple[str, str]]:
    headers = [
        (name, value)
        for name, value in response.headers.items()
        if name.lower() not in _OWN_HEADERS
    ]
    if not any(name.lower() == "content-type" for name, _ in headers):
        kind = response.mimetype
        if kind.startswith("text/"):
            kind = f"{kind}; charset={response.charset}"
        headers.append(("Content-Type", kind))
    return headers


def _forget(catch_all: CatchAll, invocation_id: str) -> None:
    """Remove the worker's reference to an invocation that is over.

    The worker keeps each for ever (azure-functions-python-worker, pull request 1877).
    """
    coordinator = getattr(catch_all, "__globals__", {}).get("http_coordinator")
    references: dict[str, Any] = getattr(coordinator, "_context_references", {})
    references.pop(invocation_id, None)


def _retrieve(joined: asyncio.Future[func.HttpResponse | str]) -> None:
    """Look at the outcome, so that asyncio does not report what nobody waits for any more."""
    if not joined.cancelled():
        joined.exception()
