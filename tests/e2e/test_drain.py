"""A deployment costs no minute: a process that gets SIGTERM hands over what it holds at once."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from devhost.apps import BUS_CONFIG
from devhost.laptop import REPOSITORY, Laptop
from tests.e2e.conftest import Model
from tests.e2e.road import Answer, Road, eventually
from tests.scripted_model import ScriptedModel

TAKE_OVER_SECONDS = 20.0
"""It took 0.97 s on a laptop that had nothing else to do, and 18 s on one with 17 more processes to
run than cores; without the hand-over it takes a lock, 60 s."""
UP_SECONDS = 20.0


@pytest.fixture
def azure_locks(model_server: ScriptedModel, tmp_path: Path) -> Iterator[Road]:
    """A laptop whose locks last a minute, as in Azure. What ends stays down."""
    laptop = Laptop(
        root=tmp_path,
        model_endpoint=model_server.endpoint,
        servicebus_config=REPOSITORY / BUS_CONFIG,
        settings={"AOS_MODEL": "scripted"},
        apps=("main", "realm"),
        restart=False,
    )
    with laptop:
        road = Road(laptop)
        yield road
        road.close()


@pytest.fixture
def second_realm(azure_locks: Road, tmp_path: Path) -> Iterator[Path]:
    """Another instance of realm, which serves when the first one has a run: its log."""
    spec = azure_locks.laptop.child("realm").spec
    command = [*spec.command[: spec.command.index("--port")], "--port", "0"]
    path = tmp_path / "second.log"
    with (
        path.open("w") as log,
        subprocess.Popen(
            command, cwd=spec.folder, env=dict(spec.environment), stdout=log, stderr=log
        ) as process,
    ):
        yield path
        process.terminate()


def test_another_realm_asks_the_model_soon_after_sigterm(
    azure_locks: Road, model: Model, request: pytest.FixtureRequest
) -> None:
    road, agent = azure_locks, azure_locks.live(f"drain-{uuid.uuid4().hex[:8]}")
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")
    mark = uuid.uuid4().hex
    with model.held() as hold:
        asked = road.ask(agent, mark, wait_seconds=0)
        hold.wait_for(1, seconds=UP_SECONDS)
        _wait_until_it_pumps(request.getfixturevalue("second_realm"))
        stopping = threading.Thread(target=road.laptop.take_down, args=("realm",))
        began = time.monotonic()
        stopping.start()
        hold.wait_for(2, seconds=60)
        took = time.monotonic() - began
        stopping.join()
    print(f"the other realm asked {took:.2f} s after SIGTERM")  # noqa: T201  the measurement
    run = road.ended(asked.body["run_id"], seconds=UP_SECONDS)
    assert (run["status"], run["output"]) == ("completed", f"re: {mark}")
    assert took < TAKE_OVER_SECONDS


def test_who_waits_over_http_gets_202_when_main_stops(azure_locks: Road, model: Model) -> None:
    road, agent = azure_locks, azure_locks.live(f"drain-{uuid.uuid4().hex[:8]}")
    answers: list[Answer] = []
    with model.held() as hold:
        asking = threading.Thread(
            target=lambda: answers.append(road.ask(agent, "Hello", wait_seconds=60))
        )
        asking.start()
        hold.wait_for(1, seconds=UP_SECONDS)
        began = time.monotonic()
        road.laptop.take_down("main")
        asking.join(UP_SECONDS)
        took = time.monotonic() - began
    road.laptop.bring_up("main")
    assert [answer.status for answer in answers] == [202]
    assert took < TAKE_OVER_SECONDS
    assert road.ended(answers[0].body["run_id"], seconds=UP_SECONDS)["status"] == "completed"


def _wait_until_it_pumps(log: Path) -> None:
    """Wait until the host has started; its sessions wait for a conversation soon after."""
    eventually(lambda: "host.started" in log.read_text("utf-8") or None, seconds=UP_SECONDS)
    time.sleep(3)  # nothing tells from outside that its sessions wait
