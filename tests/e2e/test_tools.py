"""Tools from JSON: servers are listed, agents use them, a kill hides nothing and leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aos.domain.tools.tool import make_tool_name
from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

GITHUB = Path(__file__).parents[1] / "fixtures" / "plan" / "github.json"
LISTED_SECONDS = 15.0
"""Ten seconds, and what a machine takes longer that runs four tests at once."""
HELD_SECONDS = 75.0
"""A call that was killed is held for its limit and half a minute; then the lock runs out."""
PLANTED = f"ghp_planted_{uuid.uuid4().hex}"
EVERYTHING = {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-everything"]}


@pytest.fixture(scope="module", autouse=True)
def secrets(road: Road) -> Iterator[None]:
    """The laptop's secrets file, with the token that the plan's card refers to."""
    path = road.laptop.places.data / "secrets.json"
    path.write_text(json.dumps({"mcp-github-github-personal-access-token": PLANTED}))
    path.chmod(0o600)
    yield
    path.unlink()


@pytest.fixture
def calls(model: Model) -> None:
    """The model calls what the message says (`<tool> <arguments>`), then repeats the result."""

    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        tool, _, arguments = str(last["content"]).partition(" ")
        return Say(calls=[(tool, json.loads(arguments or "{}"))])

    model.server.always(rule)


def a_server(road: Road, card: dict[str, Any]) -> str:
    """A server with this card, its tools listed; its id."""
    return road.live_server(f"s-{uuid.uuid4().hex[:8]}", **card)


def ask(road: Road, agent: str, server: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """A run whose model calls this tool and repeats what it said."""
    message = f"{make_tool_name(server, tool)} {json.dumps(arguments)}"
    answer = road.ask(agent, message)
    assert answer.status == 200, answer
    return dict(answer.body)


def agent_with(road: Road, *servers: str) -> str:
    """An agent that may use every tool of these servers."""
    return road.live(f"a-{uuid.uuid4().hex[:8]}", mcp_tools=list(servers))


def test_the_plans_github_card_is_listed_within_ten_seconds_and_its_secret_is_nowhere(
    road: Road,
) -> None:
    began = time.monotonic()
    road.upload("mcp-servers/github.json", GITHUB.read_bytes())
    road.listed("github")
    assert time.monotonic() - began < LISTED_SECONDS
    (item,) = [
        item
        for item in road.call("GET", "/api/tools").body["items"]
        if item["server_id"] == "github"
    ]
    assert "create_issue" in {tool["name"] for tool in item["tools"]}
    data = road.laptop.places.data
    secret = PLANTED.encode()
    found = [
        path
        for path in data.rglob("*")
        if path.is_file() and path.name != "secrets.json" and secret in path.read_bytes()
    ]
    assert found == []
    known = environments(secret)
    assert any(name.startswith("node") for name in known)  # the server
    assert [n for n in known if not n.startswith(("node", "npm exec", "sh"))] == []


def environments(secret: bytes) -> list[str]:
    """The names of the processes that have this in their environment or command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            folder = Path("/proc") / str(process.pid)
            if secret in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.append(process.name())
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")
@pytest.mark.usefixtures("calls")
def test_a_server_reads_no_secret_of_the_apps_or_of_another_server(road: Road) -> None:
    road.upload("mcp-servers/github.json", GITHUB.read_bytes())
    road.listed("github")
    assert any(name.startswith("node") for name in environments(PLANTED.encode()))
    assert environments(road.laptop.servicebus_connection_string.encode())
    server = a_server(road, {"command": sys.executable, "args": [NASTY]})
    run = ask(road, agent_with(road, server), server, "spy")
    assert run["output"] == "the tool said: []"
    data = road.laptop.places.data
    assert PLANTED in (data / "secrets.json").read_text()
    agent = agent_with(road, server)
    run = ask(road, agent, server, "read", path=str(data / "secrets.json"))
    assert run["output"] == "the tool said: (the tool returned no text)"


@pytest.mark.usefixtures("calls")
def test_an_agent_uses_a_real_server(road: Road, model: Model) -> None:
    server = f"s-{uuid.uuid4().hex[:8]}"
    began = time.monotonic()
    road.upload(f"mcp-servers/{server}.json", {"server_id": server, **EVERYTHING})
    road.listed(server)
    assert time.monotonic() - began < LISTED_SECONDS
    agent = agent_with(road, f"{server}/get-sum")
    run = ask(road, agent, server, "get-sum", a=1, b=2)
    assert run["status"] == "completed"
    assert "3" in run["output"]
    refused = ask(road, agent, server, "echo", message="hi")  # not granted
    assert "hi" not in refused["output"].removeprefix("the tool said: ")


def test_the_example_with_a_tool_runs_as_it_stands(road: Road, model: Model) -> None:
    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"By the tool: {last['content']}")
        return Say(calls=[("everything__get-sum", {"a": 17, "b": 25})])

    model.server.always(rule)
    script = Path(__file__).parents[2] / "examples" / "use_a_tool.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "AOS_URL": road.main},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "tools: echo, get-sum"
    assert lines[1].startswith("completed: By the tool: ")
    assert "42" in lines[1]
    assert [line.partition(":")[0] for line in lines[2:]] == [
        *("user", "assistant", "tool", "assistant"),
    ]


@pytest.mark.usefixtures("calls")
def test_mcp_is_killed_in_the_middle_of_calls_and_the_model_is_told_the_truth(
    road: Road, tmp_path: Path
) -> None:
    once, again = tmp_path / "once", tmp_path / "again"
    careful = a_server(road, nasty(once, timeout_seconds=3))
    repeating = a_server(road, nasty(again, timeout_seconds=3, repeatable=["mark"]))
    agent = agent_with(road, careful, repeating)
    runs = {}
    for name in (careful, repeating):
        text = f"{make_tool_name(name, 'mark')} {json.dumps({'text': 'x', 'seconds': 2})}"
        runs[name] = road.ask(agent, text, wait_seconds=0).body["run_id"]
    eventually(lambda: once.exists() and again.exists(), seconds=20, what="both effects")
    below = psutil.Process(road.laptop.child("mcp").pid or 0).children(recursive=True)
    road.laptop.child("mcp").kill9()
    eventually(lambda: not any(p.is_running() for p in below), seconds=10, what="no orphan")
    told = road.ended(runs[careful], seconds=HELD_SECONDS)
    assert told["status"] == "completed"
    assert "may or may not have had its effect" in told["output"]
    assert once.read_text() == "x\n"
    repeated = road.ended(runs[repeating], seconds=HELD_SECONDS)
    assert (repeated["status"], repeated["output"]) == ("completed", "the tool said: marked")
    assert again.read_text() == "x\nx\n"


@pytest.mark.usefixtures("calls")
def test_mcp_is_down_when_a_tool_is_asked_for_and_the_call_waits(
    road: Road, tmp_path: Path
) -> None:
    server = a_server(road, nasty(tmp_path / "marks"))
    agent = agent_with(road, server)
    road.laptop.take_down("mcp")
    assert guards_of(tmp_path) == []
    text = f"{make_tool_name(server, 'mark')} {{}}"
    run_id = road.ask(agent, text, wait_seconds=0).body["run_id"]
    road.laptop.bring_up("mcp")
    assert road.ended(run_id)["output"] == "the tool said: marked"


def guards_of(mark: Path) -> list[int]:
    """The processes of servers that a test started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(mark) in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


def test_an_exposed_server_is_used_by_the_sdks_own_client(road: Road) -> None:
    server = a_server(road, {**EVERYTHING, "expose": True, "tools": ["echo"]})
    url = f"{road.laptop.urls['mcp']}/api/mcp/{server}"

    async def use() -> tuple[list[str], str]:
        from mcp.client.session import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(url) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            said: Any = await session.call_tool("echo", {"message": "hi"})
            return [tool.name for tool in tools.tools], said.content[0].text

    assert asyncio.run(use()) == (["echo"], "Echo: hi")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"command": "bash", "args": ["-c", "id"]}, "is a shell"),
    ({"command": "node", "args": ["-e", "1"]}, "runs code"),
    ({"command": "uvx", "args": ["anything"]}, "AOS_MCP_ALLOWED"),
    (
        {"command": "npx", "args": ["-y", "@modelcontextprotocol/x@file:/some/folder"]},
        "is not one name, with or without a version",
    ),
    (
        {**EVERYTHING, "env": {"npm_config_node_options": "--require r.js"}},
        "env may not set 'npm_config_node_options'",
    ),
    ({"url": "https://169.254.169.254/mcp"}, "link-local"),
    (
        {**EVERYTHING, "env": {"T": "@Microsoft.KeyVault(VaultName=v-1;SecretName=admin)"}},
        "'admin' may not be read by MCP servers",
    ),
]


@pytest.fixture(scope="module")
def uploads(road: Road) -> dict[str, tuple[str, str]]:
    """Every card that is refused, uploaded at once: its server's id and ETag, by the reason."""
    made = {}
    for card, says in REFUSED:
        name = f"s-{uuid.uuid4().hex[:8]}"
        etag = road.upload(f"mcp-servers/{name}.json", {"server_id": name, **card})
        made[says] = (name, etag)
    return made


@pytest.mark.parametrize("says", [says for _, says in REFUSED])
def test_what_may_not_run_is_refused_at_upload_with_the_rule(
    road: Road, uploads: dict[str, tuple[str, str]], says: str
) -> None:
    name, etag = uploads[says]
    status = road.judged(f"mcp-servers/{name}", etag)
    assert status["state"] == "rejected"
    assert says in json.dumps(status["errors"])
    assert name not in {i["server_id"] for i in road.call("GET", "/api/tools").body["items"]}


def nasty(marks: Path, **fields: Any) -> dict[str, Any]:
    """The card of the nasty server, whose tool `mark` writes a line into a file."""
    return {"command": sys.executable, "args": [NASTY, "--marks", str(marks)], **fields}
