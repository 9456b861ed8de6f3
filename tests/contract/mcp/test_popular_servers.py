"""Fourteen servers that people use are listed and called, and strict endpoints take their tools.

`make servers` installs them at the versions of the locks in tests/servers, and runs this.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.agent_card import agent_card_from_dict
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.endpoint_rules import fit_tool
from aos.domain.tools.offer import make_offer
from aos.domain.tools.tool import ServerTools, ToolOutcome, ToolSchema
from tests.contract.mcp.kit import REPOSITORY
from tests.dialects.checks import tool_fault

FOLDER = REPOSITORY / "tests" / "servers"
REQUIRED = "AOS_SERVERS_REQUIRED"
"""`make servers` sets it: where the servers are not installed, that is a failure."""
PYTHON = str(REPOSITORY / ".aos" / "servers" / "bin" / "python")
LISTED_SECONDS = 30.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Popular:
    """One server: how it is started, tools that it has, and a call that needs no network."""

    server_id: str
    args: tuple[str, ...]
    has: frozenset[str]
    command: str = "npx"
    env: Mapping[str, str] = field(default_factory=dict)
    call: tuple[str, Json] | None = None
    answers: str = ""


def npm(
    server_id: str, package: str, *has: str, args: tuple[str, ...] = (), **more: Any
) -> Popular:
    return Popular(server_id=server_id, args=("-y", package, *args), has=frozenset(has), **more)


def pypi(server_id: str, module: str, *has: str, **more: Any) -> Popular:
    return Popular(
        server_id=server_id, command=PYTHON, args=("-m", module), has=frozenset(has), **more
    )


SERVERS = [
    npm(
        "sequential-thinking",
        "@modelcontextprotocol/server-sequential-thinking",
        "sequentialthinking",
        call=(
            "sequentialthinking",
            {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
        ),
        answers="thoughtNumber",
    ),
    npm(
        "memory",
        "@modelcontextprotocol/server-memory",
        "create_entities",
        "read_graph",
        env={"MEMORY_FILE_PATH": "@TMP/memory.jsonl"},
        call=(
            "create_entities",
            {"entities": [{"name": "Ada", "entityType": "person", "observations": ["wrote"]}]},
        ),
        answers="Ada",
    ),
    npm(
        "everything",
        "@modelcontextprotocol/server-everything",
        "echo",
        "get-sum",
        call=("get-sum", {"a": 2, "b": 3}),
        answers="5",
    ),
    npm(
        "filesystem",
        "@modelcontextprotocol/server-filesystem",
        "read_text_file",
        "write_file",
        args=("@TMP",),
        call=("list_allowed_directories", {}),
        answers="@TMP",
    ),
    npm("github", "@modelcontextprotocol/server-github", "create_issue", "search_repositories"),
    npm("context7", "@upstash/context7-mcp", "resolve-library-id", "query-docs"),
    npm(
        "firecrawl",
        "firecrawl-mcp",
        "firecrawl_scrape",
        "firecrawl_search",
        env={"FIRECRAWL_API_KEY": "fc-none"},
    ),
    npm(
        "notion",
        "@notionhq/notion-mcp-server",
        "API-post-search",
        env={"NOTION_TOKEN": "ntn_none"},
    ),
    npm("tavily", "tavily-mcp", "tavily_search", env={"TAVILY_API_KEY": "tvly-none"}),
    npm("exa", "exa-mcp-server", "web_search_exa", env={"EXA_API_KEY": "none"}),
    npm("playwright", "@playwright/mcp", "browser_navigate", "browser_click"),
    pypi("fetch", "mcp_server_fetch", "fetch"),
    pypi(
        "git",
        "mcp_server_git",
        "git_status",
        "git_log",
        call=("git_status", {"repo_path": "@TMP"}),
        answers="Repository status",
    ),
    pypi(
        "time",
        "mcp_server_time",
        "get_current_time",
        "convert_time",
        call=("get_current_time", {"timezone": "Asia/Tokyo"}),
        answers="Asia/Tokyo",
    ),
]


@pytest.fixture(autouse=True)
def installed() -> None:
    """Without `make servers` there is nothing to test."""
    require_installed()


def require_installed() -> None:
    """Skip the test where the servers are not installed, or fail it under `make servers`."""
    if (FOLDER / "node_modules").is_dir() and Path(PYTHON).exists():
        return
    said = "the servers are not installed; run make servers"
    if os.environ.get(REQUIRED):
        pytest.fail(said)
    pytest.skip(f"NOT CHECKED: {said}")


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.server_id)
async def test_a_server_that_people_use_is_listed_offered_and_called(
    server: Popular, tmp_path: Path
) -> None:
    git = await asyncio.create_subprocess_exec("git", "init", "-q", str(tmp_path))
    assert await asyncio.wait_for(git.wait(), 20) == 0
    card = make_card(server, tmp_path)
    began = time.monotonic()
    listed, outcome = await asyncio.wait_for(use(card, server, tmp_path), 60)
    assert time.monotonic() - began < LISTED_SECONDS
    assert server.has <= {tool.name for tool in listed}
    assert tool_fault({"tools": offered(server.server_id, listed)}) is None
    if outcome is not None:
        assert outcome.outcome == "ok", outcome.content
        assert server.answers.replace("@TMP", str(tmp_path)) in outcome.content


def make_card(server: Popular, folder: Path) -> McpServerCard:
    return McpServerCard(
        server_id=server.server_id,
        command=server.command,
        args=tuple(word.replace("@TMP", str(folder)) for word in server.args),
        env={name: value.replace("@TMP", str(folder)) for name, value in server.env.items()},
    )


async def use(
    card: McpServerCard, server: Popular, folder: Path
) -> tuple[list[ToolSchema], ToolOutcome | None]:
    """What the server lists, and what its call comes to."""
    place = LaunchPlace(path=os.environ["PATH"], home=str(folder / "home"), folder=str(FOLDER))
    policy = CardPolicy(mcp_allowed=("npx -y", PYTHON))
    made = McpServers(Launcher(place, policy=policy, secrets=MemorySecrets()))
    try:
        listed = await made.list_tools(card, "d1")
        if server.call is None:
            return listed, None
        tool, arguments = server.call
        whole = {
            name: value.replace("@TMP", str(folder)) if isinstance(value, str) else value
            for name, value in arguments.items()
        }
        async with made.hold(card, "d1") as line:
            return listed, await line.call(tool, whole, timeout_seconds=20)
    finally:
        await made.close()


def offered(server_id: str, listed: list[ToolSchema]) -> list[Json]:
    """The tools as a model endpoint is sent them."""
    fitted = tuple(
        ToolSchema(name=t.name, offered=fit_tool(t.description, t.input_schema)) for t in listed
    )
    tools = ServerTools(server_id=server_id, state="ready", tools=fitted)
    card = agent_card_from_dict({"agent_id": "a", "purpose": "p", "mcp_tools": [server_id]})
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in make_offer(card, {server_id: tools}).tools
    ]
