"""A card that would run other code than the operator listed leaves no trace of that code.

With the real npx and a package in a folder of this machine: its script writes a marker file.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from aos.errors import ServerFailed
from tests.contract.mcp.kit import REPOSITORY

PACKAGE = "@modelcontextprotocol/x"
INSTALLED = "@modelcontextprotocol/server-everything"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What the evil package writes when it is run."""
    return tmp_path / "mark"


@pytest.fixture
def evil(tmp_path: Path, mark: Path) -> Path:
    """The folder of a package, also packed and as a module, whose code writes the mark."""
    folder = tmp_path / "evil"
    folder.mkdir()
    says = {"name": PACKAGE, "version": "1.0.0", "bin": {"x": "x.js"}}
    (folder / "package.json").write_text(json.dumps(says))
    script = f'#!/usr/bin/env node\nrequire("fs").writeFileSync({json.dumps(str(mark))}, "ran")\n'
    (folder / "x.js").write_text(script)
    (folder / "x.js").chmod(0o755)
    return folder


def has_run(mark: Path) -> bool:
    """Has the evil code run?"""
    return mark.exists()


async def attempt(card: McpServerCard, *, allowed: str, home: Path) -> str:
    """Start the card's server whatever the upload said; why it did not start."""
    place = LaunchPlace(path=os.environ["PATH"], home=str(home), folder=str(REPOSITORY))
    policy = CardPolicy(mcp_allowed=(allowed,))
    servers = McpServers(
        Launcher(place, policy=policy, secrets=MemorySecrets()), start_seconds=20.0
    )
    try:
        await servers.list_tools(card, "d1")
    except ServerFailed as error:
        return str(error)
    finally:
        await servers.close()
    return "it started"


def upload_problems(card: McpServerCard, allowed: str) -> list[str]:
    """What the upload says against the card."""
    raw = {"server_id": "x", "command": card.command, "args": card.args, "env": dict(card.env)}
    body = json.dumps(raw).encode()
    policy = CardPolicy(mcp_allowed=(allowed,))
    found, _ = assess_card(body, kind=CardKind.MCP_SERVER, card_id="x", policy=policy)
    return [problem.path for problem in found.errors]


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        ("npx -y @modelcontextprotocol/", f"npx -y {PACKAGE}@file:FOLDER"),
        ("npx -y @modelcontextprotocol/", f"npx -y {PACKAGE}@FOLDER"),
        ("npx", f"npx -y -p {PACKAGE}@file:FOLDER x"),
        ("npx", "npx -y ---package=file:FOLDER x"),
        ("npx", "npx -y file:FOLDER"),
        ("npm exec", "npm exec --yes false file:FOLDER"),
        ("npm exec", f"npm exec -y --package=file:FOLDER -- x {INSTALLED}"),
        ("npm exec", "npm exec x -y --package=file:FOLDER"),
        ("npm", "npm exe -y -- file:FOLDER"),
    ],
)
async def test_a_package_of_another_source_is_neither_published_nor_run(
    allowed: str, words: str, evil: Path, mark: Path, tmp_path: Path
) -> None:
    command, *args = words.replace("FOLDER", str(evil)).split()
    card = McpServerCard(server_id="x", command=command, args=tuple(args))
    why = await attempt(card, allowed=allowed, home=tmp_path / "home")
    assert not has_run(mark)
    assert "the MCP server 'x' is not started: " in why
    assert upload_problems(card, allowed) == ["command"]


@pytest.mark.parametrize(
    "name",
    ["npm_config_node_options", "NPM_CONFIG_NODE_OPTIONS", "NODE_OPTIONS"],
)
async def test_a_variable_that_loads_a_module_is_neither_published_nor_handed_on(
    name: str, evil: Path, mark: Path, tmp_path: Path
) -> None:
    env = {name: f"--require {evil / 'x.js'}"}
    card = McpServerCard(server_id="x", command="npx", args=("-y", INSTALLED), env=env)
    allowed = "npx -y @modelcontextprotocol/"
    why = await attempt(card, allowed=allowed, home=tmp_path / "home")
    assert not has_run(mark)
    assert f"env may not set {name!r}" in why
    assert upload_problems(card, allowed) == [f"env.{name}"]


@pytest.mark.parametrize("name", ["npm_config_registry", "NPM_CONFIG_PROXY", "https_proxy"])
async def test_a_variable_that_moves_the_registry_sends_no_request_elsewhere(
    name: str, tmp_path: Path
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(256))
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    args = ("-y", "@modelcontextprotocol/no-such-server-here")
    env = {name: f"http://127.0.0.1:{port}/"}
    card = McpServerCard(server_id="x", command="npx", args=args, env=env)
    allowed = "npx -y @modelcontextprotocol/"
    async with listener:
        why = await attempt(card, allowed=allowed, home=tmp_path / "home")
    assert asked == []
    assert f"env may not set {name!r}" in why
