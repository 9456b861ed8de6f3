"""A real model calls the tools of real MCP servers, in ten runs of one conversation.

`make servers` installs the servers and the model, and runs this. SmolLM2 was not trained to call
tools: `tools.jinja` makes it begin a call, llama.cpp holds the call to the tool's schema, and the
arguments are the model's own. So this shows that what a model writes under llama.cpp's rules is
read, called and remembered, not that the model is any good.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devhost.errors import LaptopError
from devhost.laptop import REPOSITORY, Laptop
from devhost.model import MODEL_NAME, find_model
from devhost.ports import HOST, Ports
from tests.e2e.road import Road, eventually

SERVERS = REPOSITORY / "tests" / "servers"
REQUIRED = "AOS_SERVERS_REQUIRED"
AGENT = "thinker"
THINKING, MEMORY = "server-sequential-thinking", "server-memory"
THINK, REMEMBER, READ = (
    "thinking__sequentialthinking",
    "memory__create_entities",
    "memory__read_graph",
)
QUESTIONS = [
    f"Ada likes tea. {REMEMBER}",
    f"What do you know? {READ}",
    f"Think about tea. {THINK}",
    f"Bob has a dog. {REMEMBER}",
    f"Think about dogs. {THINK}",
    f"Carl sells cars. {REMEMBER}",
    f"What do you know? {READ}",
    f"Think about cars. {THINK}",
    f"What do you know? {READ}",
]
PARAMETERS = {"temperature": 0, "max_tokens": 128, "stop": ["</tool_call>"]}
"""One call an answer; a call that the limit cuts is an error that the model is told of."""
RUN_SECONDS = 240.0
CANCELLED_BEFORE = 4
"""The run that is cancelled comes before the question at this place: ten runs in all."""


def is_installed() -> bool:
    with contextlib.suppress(LaptopError):
        find_model()
        return all(
            (SERVERS / "node_modules/@modelcontextprotocol" / n).is_dir()
            for n in (
                THINKING,
                MEMORY,
            )
        )
    return False


pytestmark = pytest.mark.skipif(
    not is_installed() and not os.environ.get(REQUIRED), reason="run make servers"
)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    """SmolLM2 with the template that lets it call tools: its endpoint."""
    port = Ports.free().model
    template = Path(__file__).with_name("tools.jinja")
    command = [sys.executable, "-m", "devhost.model", "--port", str(port)]
    with (tmp_path / "model.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--template", str(template)], cwd=REPOSITORY, stdout=log, stderr=log
        )
    try:
        eventually(lambda: answers(f"http://{HOST}:{port}/health"), seconds=60, what="the model")
        yield f"http://{HOST}:{port}/v1"
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture
def road(model: str, tmp_path: Path) -> Iterator[Road]:
    settings = {
        "AOS_MODEL": MODEL_NAME,
        "AOS_MCP_FOLDER": str(SERVERS),
        "AOS_MCP_ALLOWED": "npx -y @modelcontextprotocol/",
    }
    with Laptop(root=tmp_path / "laptop", model_endpoint=model, settings=settings) as laptop:
        found = Road(laptop)
        found.live_server("memory", command="npx", args=["-y", f"@modelcontextprotocol/{MEMORY}"])
        found.live_server(
            "thinking", command="npx", args=["-y", f"@modelcontextprotocol/{THINKING}"]
        )
        yield found
        found.close()


def find_server(road: Road, package: str) -> psutil.Process:
    """The process of this laptop's MCP server."""
    child = road.laptop.child("mcp")
    found = [
        process
        for process in psutil.Process(child.pid).children(recursive=True)
        if process.name().startswith("node") and package in " ".join(process.cmdline())
    ]
    return found[-1]


def list_messages(road: Road) -> list[dict[str, Any]]:
    items = road.call("GET", "/api/conversations/c/messages?limit=100").body["items"]
    return [dict(item) for item in items]


def ask(road: Road, question: str) -> dict[str, Any]:
    answer = road.ask(AGENT, question, conversation_id="c")
    assert answer.status in (200, 202), answer
    return road.ended(answer.body["run_id"], seconds=RUN_SECONDS)


def cancel_in_a_call(road: Road) -> None:
    """A run whose tool does not answer, cancelled while it waits."""
    server = find_server(road, THINKING)
    server.suspend()
    try:
        question = {"message": f"Think for long. {THINK}", "conversation_id": "c"}
        run = road.call("POST", f"/api/agents/{AGENT}/run", {**question, "wait_seconds": 0}).body

        def is_called() -> bool:
            messages = list_messages(road)
            return bool(messages[-1].get("tool_calls"))

        eventually(is_called, seconds=RUN_SECONDS, what="the call")
        road.call("POST", f"/api/runs/{run['run_id']}/cancel")
        assert road.ended(run["run_id"])["status"] == "cancelled"
    finally:
        server.resume()


def test_ten_runs_of_one_conversation_one_of_them_cancelled_in_a_call(road: Road) -> None:
    road.live(
        AGENT,
        mcp_tools=["memory", "thinking"],
        parameters=PARAMETERS,
        limits={"max_turns": 8},
    )
    for place, question in enumerate(QUESTIONS):
        if place == CANCELLED_BEFORE:
            cancel_in_a_call(road)
        run = ask(road, question)
        assert run["status"] == "completed", run
        assert run["output"].strip()
    messages = list_messages(road)
    called = [call for m in messages for call in m.get("tool_calls") or ()]
    results = {m["tool_call_id"]: m for m in messages if m["role"] == "tool"}
    assert {call["name"] for call in called} >= {THINK, REMEMBER, READ}
    assert set(results) == {call["tool_call_id"] for call in called}
    outcomes = [result["content"].partition(":")[0] for result in results.values()]
    assert outcomes.count("outcome unknown") == 1, "the call of the run that was cancelled"
    assert any(outcome not in ("outcome unknown", "error") for outcome in outcomes), outcomes
