"""The servers that people use: official ones from npm and PyPI, over pipes and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from aos.adapters.mcp.web import make_public_transport
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.hosts import AddressRefused
from aos.domain.cards.server_card import McpServerCard, mcp_server_card_from_dict
from aos.errors import ServerFailed
from tests.contract.mcp.kit import REPOSITORY, call, servers, until

LISTED_SECONDS = 10.0
NEWEST = str(Path(__file__).with_name("newest_server.py"))
GITHUB = REPOSITORY / "tests" / "fixtures" / "plan" / "github.json"
EVERYTHING = McpServerCard(
    server_id="everything", command="npx", args=("-y", "@modelcontextprotocol/server-everything")
)
HTTP_SERVER = """
import sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("small")
@server.tool()
def add(a: int, b: int) -> int:
    return a + b
@server.tool()
def huge(size: int) -> str:
    return "x" * size
server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
"""


async def test_the_plans_github_card_lists_its_tools_without_a_network(tmp_path: Path) -> None:
    card = mcp_server_card_from_dict(json.loads(GITHUB.read_bytes()))
    secrets = MemorySecrets({"mcp-github-github-personal-access-token": "ghp_planted"})
    began = time.monotonic()
    async with servers(secrets=secrets, home=tmp_path) as made:
        tools = {tool.name for tool in await made.list_tools(card, "d1")}
    assert time.monotonic() - began < LISTED_SECONDS
    assert {"create_issue", "get_file_contents", "search_repositories"} <= tools


async def test_server_everything_lists_and_answers_with_all_kinds_of_content(
    tmp_path: Path,
) -> None:
    async with servers(home=tmp_path) as made:
        names = {tool.name for tool in await made.list_tools(EVERYTHING, "d1")}
        assert {"echo", "get-sum", "get-tiny-image"} <= names
        echoed = await call(made, EVERYTHING, "echo", message="hi")
        assert (echoed.outcome, echoed.content) == ("ok", "Echo: hi")
        picture = await call(made, EVERYTHING, "get-tiny-image")
        assert [part["type"] for part in picture.parts] == ["image"]
        wrong = await call(made, EVERYTHING, "get-sum", a="three")
        assert wrong.outcome == "error"


async def test_server_filesystem_reads_what_it_may_and_nothing_else(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.txt"
    allowed.mkdir()
    (allowed / "a.txt").write_text("open")
    secret.write_text("closed")
    card = McpServerCard(
        server_id="files",
        command="npx",
        args=("-y", "@modelcontextprotocol/server-filesystem", str(allowed)),
    )
    async with servers(home=tmp_path / "home") as made:
        read = await call(made, card, "read_text_file", path=str(allowed / "a.txt"))
        assert (read.outcome, read.content) == ("ok", "open")
        refused = await call(made, card, "read_text_file", path=str(secret))
        assert refused.outcome == "error"
        assert "closed" not in refused.content


async def test_server_time_tells_the_time(tmp_path: Path) -> None:
    card = McpServerCard(server_id="time", command=sys.executable, args=("-m", "mcp_server_time"))
    async with servers(home=tmp_path) as made:
        told = await call(made, card, "get_current_time", timezone="Europe/Berlin")
    assert json.loads(told.content)["timezone"] == "Europe/Berlin"


async def test_server_git_reads_a_repository(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    environment = {**os.environ, "HOME": str(tmp_path)}
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    repository.mkdir()
    for command in (("init", "-q", "."), (*who, "commit", "-q", "--allow-empty", "-m", "first")):
        git = await asyncio.create_subprocess_exec("git", *command, cwd=repository, env=environment)
        assert await asyncio.wait_for(git.wait(), 20) == 0
    card = McpServerCard(server_id="git", command=sys.executable, args=("-m", "mcp_server_git"))
    async with servers(home=tmp_path) as made:
        log = await call(made, card, "git_log", repo_path=str(repository))
    assert log.outcome == "ok"
    assert "first" in log.content


async def test_a_server_with_a_url_is_called_over_streamable_http() -> None:
    async with _over_http() as url, servers() as made:
        card = McpServerCard(server_id="web", url=url)
        assert [tool.name for tool in await made.list_tools(card, "d1")] == ["add", "huge"]
        assert (await call(made, card, "add", a=1, b=2)).content == "3"
        huge = await call(made, card, "huge", size=20_000_000, seconds=20.0)
        assert huge.outcome in ("error", "outcome_unknown")
        assert (await call(made, card, "add", a=2, b=2)).content == "4"


async def test_a_server_that_is_away_is_named_and_is_called_again_when_it_is_back() -> None:
    async with servers() as made:
        async with _over_http() as url:
            wrong = McpServerCard(server_id="web", url=url.replace("/mcp", "/nothing"))
            with pytest.raises(ServerFailed, match="MCP server 'web'"):
                await made.list_tools(wrong, "d0")
            card = McpServerCard(server_id="web", url=url)
            assert (await call(made, card, "add", a=1, b=2)).content == "3"
        away = await call(made, card, "add", a=1, b=2)
        assert (away.outcome, "'web'" in away.content) == ("outcome_unknown", True)
        with pytest.raises(ServerFailed, match="MCP server 'web'"):
            await call(made, card, "add", a=1, b=2)
        async with _over_http(int(url.split(":")[2].split("/")[0])):
            assert (await call(made, card, "add", digest="d2", a=1, b=2)).content == "3"


async def test_a_public_name_that_leads_to_a_private_address_is_not_followed() -> None:
    transport = make_public_transport(httpx2.AsyncHTTPTransport(trust_env=False))
    refused = pytest.raises(
        AddressRefused, match="the host 'localhost' resolves to an address that is not public"
    )
    async with httpx2.AsyncClient(transport=transport) as client:
        with refused:
            await client.get("http://localhost:1/mcp")


async def test_recording_transport_gets_the_address_that_was_judged_and_the_name_for_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolved(host: str, port: int | None) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", ("93.184.216.34", port)), (0, 0, 0, "", ("2606:2800::1", port))]

    def record(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.url, request.headers["host"], request.extensions["sni_hostname"]))
        return httpx2.Response(200)

    seen: list[tuple[httpx2.URL, str, str]] = []
    monkeypatch.setattr(anyio, "getaddrinfo", resolved)
    transport = make_public_transport(httpx2.MockTransport(record))
    async with httpx2.AsyncClient(transport=transport) as client:
        answer = await client.get("https://tools.example:8443/mcp")
    address = httpx2.URL("https://93.184.216.34:8443/mcp")
    assert seen == [(address, "tools.example:8443", "tools.example")]
    assert str(answer.request.url) == "https://tools.example:8443/mcp"


async def test_a_server_of_the_newest_revision_gets_the_headers_that_it_wants() -> None:
    async with _over_http(program=(NEWEST,)) as url, servers() as made:
        card = McpServerCard(server_id="newest", url=url)
        unlisted = await call(made, card, "where", region="São Paulo", what="Ada")
        assert (unlisted.outcome, unlisted.content) == ("ok", "Ada is in São Paulo")
        names = [tool.name for tool in await made.list_tools(card, "d1")]
        assert names == ["where", "grow", "ask"]
        again = await call(made, card, "where", region="Rome", what="Ada")
        assert (again.outcome, again.content) == ("ok", "Ada is in Rome")


async def test_a_server_of_the_newest_revision_tells_of_new_tools_and_is_pinged_after_an_error(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, str, str]] = []
    card = McpServerCard(server_id="newest", command=sys.executable, args=(NEWEST, "stdio"))
    async with servers(home=tmp_path) as made:
        made.watch(lambda *change: told.append(change))
        before = await made.list_tools(card, "d1")
        assert (await call(made, card, "grow")).content == "grown"
        await until(lambda: ("newest", "tools", "") in told)
        assert len(await made.list_tools(card, "d1")) == len(before) + 1
        missing = await call(made, card, "nothing")
        assert missing.outcome == "error"
        asked = await call(made, card, "ask")
        assert asked.outcome == "error"
        assert (await call(made, card, "added")).content == "new"
    assert [change for _, change, _ in told].count("started") == 1


@contextlib.asynccontextmanager
async def _over_http(
    port: int | None = None, *, program: tuple[str, ...] = ("-c", HTTP_SERVER)
) -> AsyncIterator[str]:
    """The URL of a small server of the official SDK."""
    if port is None:
        with contextlib.closing(await _listening()) as free:
            port = free.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *program, str(port)), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            await _answers(port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


async def _listening() -> asyncio.Server:
    return await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)


async def _answers(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_a_server_with_a_url_that_repeats_its_headers_shows_no_secret(status: int) -> None:
    secret = "Bearer tok_planted_0123456789"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        asked = json.loads(await reader.readexactly(int(fields["content-length"])))
        said = next(line for line in head.split("\r\n") if line.lower().startswith("authoriz"))
        error = {"code": -32000, "message": f"refused: {said}", "data": said}
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()
        writer.write(
            f"HTTP/1.1 {status} {said}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    card = McpServerCard(
        server_id="remote",
        url=f"http://127.0.0.1:{port}/mcp?api_key=k3y_planted",
        headers={"Authorization": secret},
    )
    async with listener, servers() as made:
        with pytest.raises(ServerFailed, match="'remote'") as caught:
            await made.list_tools(card, "d1")
    assert str(caught.value).endswith("refused: Authorization: ***")
    for shown in (str(caught.value), caught.value.brief):
        assert "tok_planted" not in shown
        assert "k3y_planted" not in shown
