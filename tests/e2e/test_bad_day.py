"""docs/runbooks/bad-day.md is true: each thing goes wrong, is seen as the page says, and is mended
by the command of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, Block, blocks
from tests.e2e.conftest import Model
from tests.e2e.road import REQUESTS, Road, eventually

PAGE = ROOT / "docs" / "runbooks" / "bad-day.md"
MARK = "run: bad day"
AGENT = "clerk"
SECONDS = 60


def blocks_of(section: str) -> list[Block]:
    """The commands of a section, in order."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = lines.index(f"## {section}") + 1
    later = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    end = next((number for number in later if number > start), len(lines))
    found = [block for block in blocks(PAGE) if start < block.line < end]
    assert all(block.mark.startswith(MARK) for block in found)
    return found


class Operator:
    """Runs the commands of the page against this laptop."""

    def __init__(self, road: Road) -> None:
        self._road = road

    def run(self, block: Block, **places: str) -> str:
        """Run a command with these values in place of its capitals; check what it must print."""
        text, (_, _, expected) = block.text, block.mark.partition("; expect: ")
        for name, value in places.items():
            text, expected = text.replace(name, value), expected.replace(name, value)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text.replace("127.0.0.1:7071", self._address)],
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "AOS_URL": self._road.main,
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert re.search(expected, done.stdout, re.S), f"{text}\n{done.stdout}"
        return done.stdout

    @property
    def _address(self) -> str:
        return self._road.main.removeprefix("http://")


@pytest.fixture
def operator(road: Road) -> Iterator[Operator]:
    road.live(AGENT)
    yield Operator(road)
    road.call("POST", "/api/ops/resume", {})


def get_run(road: Road, run_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The run once it is as wanted."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = road.call("GET", f"/api/runs/{run_id}").body
        return run if wanted(run) else None

    return eventually(look, seconds=30, every=0.1, what=f"the state of {run_id}")


def waits_for(*kinds: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a run that goes on says that it waits for one of these."""
    return lambda run: (
        bool(run.get("started_at")) and (run.get("waiting") or {}).get("kind") in kinds
    )


def test_every_command_of_the_page_is_run() -> None:
    sections = re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.M)
    assert sections == [
        "A bad card",
        "A dead model",
        "A poison message",
        "A stuck run",
        "A spent budget",
    ]
    assert [len(blocks_of(section)) for section in sections] == [2, 3, 2, 2, 2]


def test_a_bad_card_is_rolled_back(road: Road, model: Model, operator: Operator) -> None:
    look, mend = blocks_of("A bad card")
    model.says("Still here.")
    name = f"agents/{AGENT}"
    etag = road.upload(f"{name}.json", {"agent_id": AGENT, "purpos": "Answer."})
    status = road.judged(name, etag)
    operator.run(look)
    assert road.ask(AGENT, "Hello").body["output"] == "Still here."
    operator.run(mend, DIGEST=status["serving_digest"])
    after = road.call("GET", f"/api/agents/{AGENT}").body
    assert (after["state"], after["digest"]) == ("active", status["serving_digest"])


def test_a_dead_model_loses_no_run(road: Road, model: Model, operator: Operator) -> None:
    look, pause, resume = blocks_of("A dead model")
    model.fails(503, times=4)
    run_id = road.ask(AGENT, "Are you there?", wait_seconds=0).body["run_id"]
    get_run(road, run_id, waits_for("model", "retry"))
    operator.run(look, RUN=run_id)
    operator.run(pause)

    def refused() -> bool:
        return road.ask(AGENT, "Hello", wait_seconds=0).status == 503

    eventually(refused, seconds=10, what="the pause")
    answer = road.ask(AGENT, "Hello", wait_seconds=0)
    assert (answer.code, "the model is down" in str(answer.body)) == ("paused", True)
    assert road.ended(run_id, seconds=60)["status"] == "completed"
    operator.run(resume)

    def answered() -> bool:
        return road.ask(AGENT, "Hello").status == 200

    eventually(answered, seconds=15, what="the resume")


def test_a_poison_message_is_listed_and_deleted(road: Road, operator: Operator) -> None:
    look, mend = blocks_of("A poison message")
    poison = road.send(b"{agent_id: clerk", message_id=f"poison-{uuid.uuid4().hex}")

    def listed() -> dict[str, Any] | None:
        path = f"/api/dead-letters?entity={REQUESTS}&limit=100"
        items = road.call("GET", path).body["items"]
        return next((item for item in items if item["message_id"] == poison), None)

    letter = eventually(listed, seconds=30, every=0.3, what="the dead letter")
    assert letter["reason"] == "unreadable"
    operator.run(look)
    operator.run(mend, NUMBER=str(letter["sequence_number"]))
    assert listed() is None


def test_a_stuck_run_is_cancelled_and_the_next_one_starts(
    road: Road, model: Model, operator: Operator
) -> None:
    look, mend = blocks_of("A stuck run")
    conversation = f"stuck-{uuid.uuid4().hex[:8]}"
    with model.held() as hold:
        first = road.ask(AGENT, "Think.", conversation_id=conversation, wait_seconds=0)
        hold.wait_for(1, seconds=20)
        second = road.ask(AGENT, "Next.", conversation_id=conversation, wait_seconds=0)
        run_id, later = first.body["run_id"], second.body["run_id"]
        get_run(road, run_id, waits_for("model"))
        operator.run(look, RUN=run_id)
        operator.run(mend, RUN=run_id)
        assert road.ended(run_id)["status"] == "cancelled"
        get_run(road, later, waits_for("model"))
    assert road.ended(later)["status"] == "completed"


def test_a_spent_budget_is_raised(road: Road, model: Model, operator: Operator) -> None:
    refused, mend = blocks_of("A spent budget")
    road.live(AGENT, limits={"max_tokens_per_day": 1})
    road.ask(AGENT, "Spend.")
    operator.run(refused)
    operator.run(mend)
    assert road.ask(AGENT, "And now?").status == 200
