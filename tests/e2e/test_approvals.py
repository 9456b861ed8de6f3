"""Tool calls that wait for people, and runs that agents delegate, on real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devhost.laptop import REPOSITORY
from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

AFTER_SECONDS = 60.0
"""Locks are 5 s here; then the message comes again."""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """The file into which the tool `mark` writes a line."""
    return tmp_path / "marks"


@pytest.fixture
def agent(road: Road, marks: Path) -> str:
    """An agent whose tool `mark` needs a person."""
    name = uuid.uuid4().hex[:8]
    road.live_server(f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}
    return road.live(f"a-{name}", mcp_tools=[grant])


@pytest.fixture
def marking(model: Model) -> None:
    """The model marks what it was asked to, then says what the tool said."""

    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"the tool said: {last['content']}")
        name = request.body["tools"][0]["function"]["name"]
        return Say(calls=[(name, {"text": last["content"]})])

    model.server.always(rule)


def waiting(road: Road, agent: str) -> dict[str, Any]:
    """The call of this agent that waits, as the list has it."""

    def look() -> dict[str, Any] | None:
        items = road.call("GET", "/api/approvals?limit=100").body["items"]
        return next((dict(item) for item in items if item["agent_id"] == agent), None)

    return eventually(look, seconds=20, every=0.1, what="a call that waits")


def decide(road: Road, item: dict[str, Any], decision: str) -> int:
    path = f"/api/runs/{item['run_id']}/approvals/{item['tool_call_id']}"
    return road.call("POST", path, {"decision": decision, "reason": "because"}).status


@pytest.mark.usefixtures("marking")
def test_realm_dies_while_a_person_is_asked_and_of_two_decisions_one_is_heard(
    road: Road, agent: str, marks: Path
) -> None:
    key = road.request(agent, "once")
    item = waiting(road, agent)
    run = road.call("GET", f"/api/runs/{item['run_id']}").body
    assert run["status"] == "waiting_approval"
    realm = road.laptop.child("realm")
    restarts = realm.restarts
    realm.kill9()
    with ThreadPoolExecutor(2) as both:
        statuses = sorted(both.map(lambda _: decide(road, item, "approve"), range(2)))
    assert statuses == [200, 409]
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert (reply["type"], reply["output"]) == ("run.completed", "the tool said: marked")
    assert marks.read_text() == "once\n"
    assert realm.restarts > restarts
    assert road.no_more_replies(key)
    items = road.call("GET", "/api/approvals?limit=100").body["items"]
    assert [i for i in items if i["agent_id"] == agent] == []


@pytest.mark.usefixtures("marking")
def test_a_denial_on_the_queue_is_read_by_the_model(road: Road, agent: str, marks: Path) -> None:
    key = road.request(agent, "never")
    item = waiting(road, agent)
    road.send(
        {
            "type": "approval.decide",
            "run_id": item["run_id"],
            "tool_call_id": item["tool_call_id"],
            "decision": "deny",
            "reason": "Not today.",
        }
    )
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert reply["output"] == "the tool said: denied: Not today."
    assert not marks.exists()


class Team:
    """A leader and its one agent."""

    def __init__(self, road: Road, model: Model) -> None:
        name = uuid.uuid4().hex[:8]
        self.child = road.live(f"cfo-{name}")
        self.lead = road.live(f"lead-{name}", agent_type="LeadershipAgent", team=[self.child])
        model.server.always(self.answer)

    def answer(self, request: Request) -> Say:
        """The leader delegates and repeats; the other says what it was asked."""
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"my team says: {last['content']}")
        if "tools" in request.body:
            return Say(calls=[("delegate", {"agent_id": self.child, "message": "how much?"})])
        return Say(f"five, for {last['content']}")


def test_a_delegated_run_answers_its_parent_though_main_dies(road: Road, model: Model) -> None:
    team = Team(road, model)
    main = road.laptop.child("main")
    key = road.request(team.lead, "How rich are we?")
    child_of_lead(road, team)
    main.kill9()
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert reply["output"] == "my team says: five, for how much?"
    path = f"/api/conversations/{reply['conversation_id']}/messages"
    items = eventually(lambda: messages(road, path), seconds=20, what="the history")
    assert [item["role"] for item in items] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(items[1]["tool_calls"][0]["arguments"])["agent_id"] == team.child


def test_a_parent_that_is_cancelled_takes_its_delegated_run_along(road: Road, model: Model) -> None:
    team = Team(road, model)
    answer = team.answer

    def slow(request: Request) -> Say:
        said = answer(request)
        return Say("too late", delay=8.0) if "tools" not in request.body else said

    model.server.always(slow)
    run_id = road.ask(team.lead, "How rich are we?", wait_seconds=0).body["run_id"]
    child_id = child_of_lead(road, team)
    assert road.call("POST", f"/api/runs/{run_id}/cancel").status == 202
    assert road.ended(run_id)["status"] == "cancelled"
    child = road.ended(child_id)
    assert (child["status"], child["error"]["code"]) == ("cancelled", "parent_ended")


def child_of_lead(road: Road, team: Team) -> str:
    """The run that the leader has delegated, once it is listed."""

    def look() -> str | None:
        answer = road.call("GET", f"/api/runs?agent_id={team.child}")
        runs = answer.body["items"] if answer.status == 200 else []
        return str(runs[0]["run_id"]) if runs else None

    return eventually(look, seconds=20, what="the delegated run")


def messages(road: Road, path: str) -> list[dict[str, Any]] | None:
    """A conversation's messages, None while nobody answers."""
    try:
        return list(road.call("GET", path, timeout=10).body["items"])
    except OSError:
        return None


def test_the_example_of_an_approval_runs_with_a_real_server(road: Road, model: Model) -> None:
    def rule(request: Request) -> Say:
        last = request.messages[-1]
        if last["role"] == "tool":
            return Say(f"The tool says: {last['content']}")
        return Say(calls=[(request.body["tools"][0]["function"]["name"], {"a": 2, "b": 3})])

    model.server.always(rule)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / "approve_a_tool.py")],
        env={"PATH": os.environ["PATH"], "AOS_URL": road.main},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "approving everything/get-sum {'a': 2, 'b': 3}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("assistant: The tool says: ")
    assert "5" in done.stdout.splitlines()[-1]
