"""What needs no process to be seen of HTTP: the cut, and who is cut off at the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from devhost.functions.errors import HostError
from devhost.functions.http_server import HttpFront, HttpListener
from devhost.functions.invocation import Invoker
from devhost.functions.routes import RouteTable
from tests.unit.functions.conftest import Load

APP = """
import asyncio
ended = asyncio.Event()

@app.route("slow")
async def slow(req: func.HttpRequest) -> str:
    await asyncio.sleep(0.2)
    ended.set()
    return "late"
"""
BOUND_SECONDS = 5.0


async def _get(port: int, path: str) -> bytes:
    async with asyncio.timeout(BOUND_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


async def test_a_request_is_cut_and_its_function_goes_on(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    functions = load(APP)
    routes = RouteTable(functions, prefix="api")
    front = HttpFront(routes, Invoker(timeout_seconds=5), keys=None, cut_seconds=0.05)
    listener = HttpListener(front)
    await listener.start("127.0.0.1", 0)
    try:
        assert (await _get(listener.port, "/api/slow")).startswith(b"HTTP/1.1 504 ")
        async with asyncio.timeout(BOUND_SECONDS):
            await functions[0].call.__globals__["ended"].wait()
    finally:
        await listener.close()
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["event"], line["function"], line["after_seconds"]) == ("http.cut", "slow", 0.05)


async def test_a_port_that_is_taken_is_named(load: Load) -> None:
    front = HttpFront(RouteTable(load(APP), prefix="api"), Invoker(timeout_seconds=5), keys=None)
    first, second = HttpListener(front), HttpListener(front)
    await first.start("127.0.0.1", 0)
    with pytest.raises(HostError, match=f"port {first.port} is in use; stop what listens"):
        await second.start("127.0.0.1", first.port)
    await first.close()
