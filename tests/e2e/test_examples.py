"""The examples that no other test of this folder runs; tests/docs holds that each is run."""

from __future__ import annotations

import os
import subprocess
import sys

from devhost.laptop import REPOSITORY
from tests.e2e.conftest import Model
from tests.e2e.road import Road
from tests.scripted_model import Request, Say

PROGRAM_SECONDS = 60


def run(road: Road, program: str, example: str, *words: str) -> str:
    """Run an example on the laptop; what it prints."""
    done = subprocess.run(
        [program, REPOSITORY / "examples" / example, *words],
        env={
            "PATH": os.environ["PATH"],
            "AOS_URL": road.main,
            "AZURE_SERVICEBUS_CONNECTION_STRING": road.laptop.servicebus_connection_string,
        },
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_two_agents_write_at_once_in_asyncio(road: Road, model: Model) -> None:
    model.says("Example.")
    agents = [road.live(f"examples-{name}") for name in ("a", "b")]
    said = run(road, sys.executable, "stream_async.py", *agents)
    assert said.endswith("Example.\nExample.\n")
    for agent in agents:
        assert f"{agent}: …Example.\n" in said


def test_javascript_takes_its_own_reply_of_the_queue(road: Road, model: Model) -> None:
    model.says("Example.")
    agent = road.live("examples-a")
    others = road.request(agent, "Somebody else's.")
    assert run(road, "node", "ask_over_queue.mjs", agent) == "run.completed: Example.\n"
    assert road.reply_to(others)["output"] == "Example."


def test_javascript_streams_a_task_of_a2a(road: Road, model: Model) -> None:
    model.says("Example.")
    agent = road.live("examples-a")
    assert run(road, "node", "a2a_client.mjs", agent) == "Example.\n"


def test_a_front_end_runs_its_own_tool(road: Road, model: Model) -> None:
    def say(request: Request) -> Say:
        asked = request.messages[-1]["role"] == "user"
        return Say("Let me see. ", calls=(("get_time", {}),)) if asked else Say("Example.")

    model.server.always(say)
    agent = road.live("examples-a")
    assert run(road, "node", "ag_ui_client.mjs", agent) == "Let me see. Example.\n"
    (result,) = [m["content"] for m in model.last_messages if m["role"] == "tool"]
    assert result.startswith(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
