"""How does an HTTP request become a call of a function, and its result a response?

A low-level aiohttp server with a router of its own. Requests and responses go through the
library's converters in the form in which Azure's host hands them to the Python worker: header
names in lower case, empty query values dropped, the body as bytes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import InvocationError, Invoker
from devhost.functions.keys import Keys
from devhost.functions.routes import RouteTable

BODY_LIMIT = 100 * 1024 * 1024
CUT_SECONDS = 230.0
# What Easy Auth sets in Azure; from a client it is a forgery.
TRUST_HEADERS = ("x-ms-client-principal", "x-ms-token-")
_log = logging.getLogger("devhost.functions")


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

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, one response; never raises for what a client or a function does."""
        raw_path = request.rel_url.raw_path
        found = self._routes.find(request.method, raw_path)
        if found is None:
            return self._own_page(request, raw_path)
        function, route_values = found
        query = _query(request)
        level = str(function.trigger.get("authLevel") or "FUNCTION").upper()
        if self._keys is not None and not self._keys.allow(level, request.headers, query):
            return web.Response(status=401)
        body = await _body(request)
        if body is None:
            return web.Response(status=413)
        return await self._respond(
            function,
            Datum(
                {
                    "method": Datum(request.method, "string"),
                    "url": Datum(str(request.url), "string"),
                    "headers": _headers(request),
                    "query": {name: Datum(value, "string") for name, value in query.items()},
                    "params": {
                        name: Datum(value, "string") for name, value in route_values.items()
                    },
                    "body": Datum(body, "bytes"),
                },
                "http",
            ),
        )

    async def _respond(self, function: LoadedFunction, data: Datum) -> web.Response:
        call = asyncio.create_task(self._invoker.call(function, data, {}))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        done, _ = await asyncio.wait({call}, timeout=self._cut_seconds)
        if not done:
            _log.warning("%s: cut after %.0f s, as Azure does", function.name, self._cut_seconds)
            return web.Response(status=504)
        if call.cancelled():
            return web.Response(status=503)
        error = call.exception()
        if error is not None:
            _report(function, error)
            return web.Response(status=500)
        return _response(call.result())

    def _own_page(self, request: web.BaseRequest, raw_path: str) -> web.Response:
        if raw_path == "/":
            return web.Response(
                text="<!DOCTYPE html><title>Functions</title>Your Functions app is up and running.",
                content_type="text/html",
            )
        if raw_path.lower() == "/admin/host/status" and request.method == "GET":
            if self._keys and not self._keys.allow("ADMIN", request.headers, _query(request)):
                return web.Response(status=401)
            status = {
                "id": "aos-devhost",
                "state": "Running",
                "version": "4.0.0-local",
                "processUptime": int((time.monotonic() - self._started) * 1000),
            }
            return web.Response(text=json.dumps(status), content_type="application/json")
        return web.Response(status=404)


def _headers(request: web.BaseRequest) -> dict[str, Datum]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower.startswith(TRUST_HEADERS):
            continue
        headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
    return {name: Datum(value, "string") for name, value in headers.items()}


def _query(request: web.BaseRequest) -> dict[str, str]:
    if not request.rel_url.raw_query_string:
        return {}
    query: dict[str, str] = {}
    for name, value in request.rel_url.query.items():
        if value:
            query[name] = f"{query[name]},{value}" if name in query else value
    return query


async def _body(request: web.BaseRequest) -> bytes | None:
    """The whole body, or None if it is larger than Azure takes."""
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > BODY_LIMIT:
        return None
    chunks: list[bytes] = []
    size = 0
    while chunk := await request.content.readany():
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _response(result: Datum) -> web.Response:
    if result.type == "string":
        return web.Response(text=result.value)
    value: Mapping[str, Any] = result.value
    response = web.Response(status=int(value["status_code"].value), body=value["body"].value)
    for name, header in value["headers"].items():
        response.headers[name] = header.value
    for cookies in value["cookies"] or ():
        _add_cookies(response, cookies)
    return response


def _add_cookies(response: web.Response, cookies: SimpleCookie) -> None:
    for morsel in cookies.values():
        response.headers.add("Set-Cookie", morsel.OutputString())


def _report(function: LoadedFunction, error: BaseException) -> None:
    if isinstance(error, InvocationError):
        _log.error("%s", error)
    elif isinstance(error, TimeoutError):
        _log.error("%s: failed with a time-out", function.name, exc_info=error)
    else:
        _log.error("%s: failed", function.name, exc_info=error)
