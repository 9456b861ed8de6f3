"""Tools of a real MCP server that ask people, on real processes that are killed meanwhile."""

from __future__ import annotations

import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.contract.mcp.kit import ASKING
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

AFTER_SECONDS = 60.0
"""Locks are 5 s here; then the message comes again."""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """The file into which the tool `book` writes a line."""
    return tmp_path / "marks"


@pytest.fixture(params=["newest", "old"])
def agent(road: Road, marks: Path, request: pytest.FixtureRequest) -> str:
    """An agent whose tool `book` asks a person, in this revision of MCP."""
    name = uuid.uuid4().hex[:8]
    args = [ASKING, request.param, str(marks)]
    road.live_server(f"s-{name}", command=sys.executable, args=args)
    return road.live(f"a-{name}", mcp_tools=[f"s-{name}/book"])


@pytest.fixture
def booking(model: Model) -> None:
    """The model books a flight, then says what the tool said."""

    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        name = request.body["tools"][0]["function"]["name"]
        return Say(calls=[(name, {"flight": last["content"]})])

    model.server.always(rule)


def asked(road: Road, agent: str) -> dict[str, Any]:
    """The question of this agent's tool, as the list has it."""

    def look() -> dict[str, Any] | None:
        items = road.call("GET", "/api/questions?limit=100").body["items"]
        return next((dict(item) for item in items if item["agent_id"] == agent), None)

    return eventually(look, seconds=30, every=0.1, what="a question")


def answer(road: Road, item: dict[str, Any], seat: str) -> int:
    path = f"/api/runs/{item['run_id']}/questions/{item['question_id']}"
    return road.call("POST", path, {"content": {"seat": seat}}).status


@pytest.mark.usefixtures("booking")
def test_mcp_and_realm_die_between_question_and_answer_and_there_is_one_effect(
    road: Road, agent: str, marks: Path
) -> None:
    key = road.request(agent, "LH1")
    item = asked(road, agent)
    assert (item["message"], item["mode"]) == ("Which seat?", "form")
    run = road.call("GET", f"/api/runs/{item['run_id']}").body
    assert (run["status"], run["waiting"]["kind"]) == ("waiting_input", "input")
    for name in ("mcp", "realm"):
        road.laptop.child(name).kill9()
    assert answer(road, item, "not a seat") == 400
    with ThreadPoolExecutor(2) as both:
        statuses = sorted(both.map(lambda _: answer(road, item, "12A"), range(2)))
    assert statuses == [200, 409]
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert (reply["type"], reply["output"]) == (
        "run.completed",
        "the tool said: booked 12A on LH1",
    )
    assert marks.read_text() == "LH1 12A\n"
    assert road.no_more_replies(key)


@pytest.mark.usefixtures("booking")
def test_an_answer_on_the_queue_reaches_the_tool(road: Road, agent: str, marks: Path) -> None:
    key = road.request(agent, "LH2")
    item = asked(road, agent)
    road.send(
        {
            "type": "question.answer",
            "run_id": item["run_id"],
            "question_id": item["question_id"],
            "content": {"seat": "1F"},
        }
    )
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert reply["output"] == "the tool said: booked 1F on LH2"
    assert marks.read_text() == "LH2 1F\n"
