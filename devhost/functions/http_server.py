"""Serves HTTP requests by calls of functions. Entry points: `HttpFront`, `HttpListener`.

It is a low-level aiohttp server with its own router. Requests and responses pass through the
library's converters in the form of Azure's host: header names in lower case, no empty query values,
the body as bytes, and an empty body if the request has no Content-Length.
"""

from __future__ import annotations

import asyncio
import errno
import json
import time
import uuid
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from devhost.functions.errors import HostError
from devhost.functions.http_streams import Forwarder, ForwardError, send_continue
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.keys import Keys
from devhost.functions.log import say, say_failed
from devhost.functions.routes import RouteTable

BODY_LIMIT = 100 * 1024 * 1024
CUT_SECONDS = 230.0
# Easy Auth sets these headers in Azure; from a client they are forged.
TRUST_HEADERS = ("x-ms-client-principal", "x-ms-token-")
# The host computes these headers; a function's own would contradict the body.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
_KEEP_ALIVE_SECONDS = 130.0  # the value of Kestrel, the server under Azure's host
_FIELD_LIMIT = 32 * 1024


class HttpFront:
    """Answers HTTP requests: the app's routes, `/` and `/admin/host/status`."""

    def __init__(
        self,
        routes: RouteTable,
        invoker: Invoker,
        *,
        keys: Keys | None,
        cut_seconds: float = CUT_SECONDS,
    ) -> None:
        self._routes = routes
        self._invoker = invoker
        self._keys = keys
        self._cut_seconds = cut_seconds
        self._started = time.monotonic()
        self._calls: set[asyncio.Task[Any]] = set()
        self._forwarder: Forwarder | None = None

    async def start(self) -> None:
        """Start the app's own web server, if it has one. Raises HostError."""
        address = await self._invoker.start()
        if address is not None:
            self._forwarder = Forwarder(address=address, idle_seconds=self._cut_seconds)

    async def close(self) -> None:
        """Close the connections to the app's web server."""
        if self._forwarder is not None:
            await self._forwarder.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Never raises for an error of a client or a function."""
        raw_path = request.rel_url.raw_path
        found = self._routes.find(request.method, raw_path)
        if found is None:
            return self._serve_own_page(request, raw_path)
        function, route_values = found
        query = _read_query(request)
        level = str(function.trigger.get("authLevel") or "FUNCTION").upper()
        if self._keys is not None and not self._keys.allow(level, request.headers, query):
            return web.Response(status=401)
        if (request.content_length or 0) > BODY_LIMIT:
            return web.Response(status=413)
        if self._forwarder is not None:
            data = _build_data(request, query, route_values, b"")
            return await self._forward(self._forwarder, function, data, request)
        body = await _read_body(request)
        return await self._respond(function, _build_data(request, query, route_values, body))

    async def _forward(
        self,
        forwarder: Forwarder,
        function: LoadedFunction,
        data: Datum,
        request: web.BaseRequest,
    ) -> web.StreamResponse:
        """Call the function while its request is forwarded; its answer comes the same way.

        A function whose client goes away runs on. The time limit holds for call and stream.
        """
        invocation_id = str(uuid.uuid4())
        call = asyncio.create_task(self._invoker.call(function, data, {}, forwarded=invocation_id))
        self._calls.add(call)
        call.add_done_callback(lambda ended: self._end_call(function, ended))
        try:
            async with self._invoker.count():
                return await forwarder.forward(request, invocation_id, forged=TRUST_HEADERS)
        except ForwardError as error:
            say("error", "http.forward_failed", function=function.name, error=str(error))
            call.cancel()
            return web.Response(status=502)

    def _end_call(self, function: LoadedFunction, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            say_failed(function.name, error)

    async def _respond(self, function: LoadedFunction, data: Datum) -> web.Response:
        call = asyncio.create_task(self._invoker.call(function, data, {}))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        done, _ = await asyncio.wait({call}, timeout=self._cut_seconds)
        if not done:
            say("warning", "http.cut", function=function.name, after_seconds=self._cut_seconds)
            return web.Response(status=504)
        if call.cancelled():
            return web.Response(status=503)
        error = call.exception()
        if error is not None:
            say_failed(function.name, error)
            return web.Response(status=500)
        return _build_response(call.result())

    def _serve_own_page(self, request: web.BaseRequest, raw_path: str) -> web.Response:
        if raw_path == "/":
            return web.Response(
                text="<!DOCTYPE html><title>Functions</title>Your Functions app is up and running.",
                content_type="text/html",
            )
        if raw_path.lower() == "/admin/host/status" and request.method == "GET":
            if self._keys and not self._keys.allow("ADMIN", request.headers, _read_query(request)):
                return web.Response(status=401)
            status = {
                "id": "aos-devhost",
                "state": "Running",
                "version": "4.0.0-local",
                "processUptime": int((time.monotonic() - self._started) * 1000),
            }
            return web.Response(text=json.dumps(status), content_type="application/json")
        return web.Response(status=404)


class HttpListener:
    """The listening socket: it accepts connections for a front until it is stopped."""

    def __init__(self, front: HttpFront) -> None:
        server = web.Server(
            front.handle,
            access_log=None,
            handler_cancellation=True,  # a stream ends when its client goes away
            auto_decompress=False,  # Azure passes bodies on as they were sent
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            max_field_size=_FIELD_LIMIT,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen. Raises HostError if the port is in use or the address is not of this machine."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                problem = f"port {port} is in use; stop what listens there or give another --port"
            else:
                problem = f"cannot listen on {address}:{port} ({error.strerror})"
            raise HostError(problem) from error
        self._site = site

    @property
    def port(self) -> int:
        """The port it listens on. The system chooses it if 0 was given."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else 0

    async def stop_listening(self) -> None:
        """Accept no new connections. Requests in progress are still answered."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def close(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()


def _read_headers(request: web.BaseRequest) -> dict[str, Datum]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower.startswith(TRUST_HEADERS):
            continue
        headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
    return {name: Datum(value, "string") for name, value in headers.items()}


def _read_query(request: web.BaseRequest) -> dict[str, str]:
    if not request.rel_url.raw_query_string:
        return {}
    query: dict[str, str] = {}
    first_spelling: dict[str, str] = {}  # two names may differ only in case
    for given, value in request.rel_url.query.items():
        name = first_spelling.setdefault(given.lower(), given)
        if value:
            query[name] = f"{query[name]},{value}" if name in query else value
    return query


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return the body as the host passes it on: empty without a length."""
    if not request.content_length:
        return b""  # also for a chunked body: the host checks ContentLength > 0
    await send_continue(request)
    return await request.content.read()


def _build_data(
    request: web.BaseRequest, query: dict[str, str], route_values: Mapping[str, str], body: bytes
) -> Datum:
    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(str(request.url), "string"),
            "headers": _read_headers(request),
            "query": {name: Datum(value, "string") for name, value in query.items()},
            "params": {name: Datum(value, "string") for name, value in route_values.items()},
            "body": Datum(body, "bytes"),
        },
        "http",
    )


def _build_response(result: Datum) -> web.Response:
    if result.type == "string":
        return web.Response(text=result.value)
    value: Mapping[str, Any] = result.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, header in value["headers"].items():
        if name.lower() not in _OWN_HEADERS:
            response.headers[name] = header.value
    for cookies in value["cookies"] or ():
        _add_cookies(response, cookies)
    return response


def _add_cookies(response: web.Response, cookies: SimpleCookie) -> None:
    for morsel in cookies.values():
        response.headers.add("Set-Cookie", morsel.OutputString())
