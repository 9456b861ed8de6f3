"""The Python face, the client, the `aos` command and the examples, on a running laptop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aos.client import AosClient, AosClientError, QueueClient
from devhost.laptop import REPOSITORY, Laptop
from tests.e2e.conftest import Model
from tests.e2e.road import PLAN_CARD

PLAN_SCRIPT = PLAN_CARD.parent / "test_agent_deployment.txt"
EXAMPLES = REPOSITORY / "examples"
PROGRAM_SECONDS = 120
AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def ceo(laptop: Laptop) -> AosClient:
    """A client, and the plan's agent live."""
    client = AosClient(url=laptop.urls["main"])
    client.put_agent("ceo", PLAN_CARD.read_bytes())
    return client


def _run(laptop: Laptop | None, *command: str) -> subprocess.CompletedProcess[str]:
    """A program that finds the laptop by its settings; None: it finds nothing."""
    ours = {
        "AOS_URL": AWAY if laptop is None else laptop.urls["main"],
        "AZURE_SERVICEBUS_CONNECTION_STRING": (
            "" if laptop is None else laptop.servicebus_connection_string
        ),
    }
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **ours},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def _plan_script() -> str:
    """The plan's script with its import lines changed, and nothing else."""
    return PLAN_SCRIPT.read_text("utf-8").replace("from AgentOperatingSystem", "from aos")


def test_the_plans_script_runs_with_only_its_import_lines_changed(laptop: Laptop) -> None:
    done = _run(laptop, sys.executable, "-c", _plan_script())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Agent Status: {'agent_id': 'test-agent', 'state': 'active'")
    stopped = AosClient(url=laptop.urls["main"]).agent("test-agent")
    assert (stopped["state"], stopped["card"]["enabled"]) == ("disabled", False)


def test_the_plans_script_says_what_to_start_when_nothing_is_up() -> None:
    done = _run(None, sys.executable, "-c", _plan_script())
    assert done.returncode == 1
    assert "start AOS with `make run`" in done.stderr.splitlines()[-1]


def test_an_agent_answers_the_client_and_remembers_the_conversation(
    ceo: AosClient, model: Model
) -> None:
    model.says("Sell.")
    run = ceo.ask("ceo", "What now?", conversation_id="face-1", metadata={"order": 7})
    assert (run["status"], run["output"], run["metadata"]) == ("completed", "Sell.", {"order": 7})
    assert ceo.get_run(run["run_id"]) == run
    assert [(m["role"], m["content"]) for m in ceo.messages("face-1")] == [
        ("user", "What now?"),
        ("assistant", "Sell."),
    ]
    assert run["run_id"] in [found["run_id"] for found in ceo.runs(agent_id="ceo")]
    assert ceo.health()["status"] == "healthy"


def test_the_same_key_is_one_run_and_another_body_a_conflict(ceo: AosClient, model: Model) -> None:
    model.says("Once.")
    first = ceo.ask("ceo", "Hello", key="face-2")
    assert ceo.ask("ceo", "Hello", key="face-2") == first
    with pytest.raises(AosClientError) as error:
        ceo.ask("ceo", "Something else", key="face-2")
    assert error.value.code == "idempotency_conflict"


def test_cards_are_changed_rolled_back_and_refused(ceo: AosClient) -> None:
    card = {"agent_id": "face", "purpose": "One"}
    one = ceo.put_agent("face", card, only_new=True)
    two = ceo.put_agent("face", card | {"purpose": "Two"}, if_match=one["source_etag"])
    for refused in ({"if_match": one["source_etag"]}, {"only_new": True}):
        with pytest.raises(AosClientError) as error:
            ceo.put_agent("face", card, **refused)
        assert error.value.code == "precondition_failed"
    assert [v["digest"] for v in ceo.agent_versions("face")] == [two["digest"], one["digest"]]
    assert ceo.rollback_agent("face", one["digest"])["serving_digest"] == one["digest"]
    assert ceo.agent("face")["card"]["purpose"] == "One"
    assert ceo.put_agent("face", card | {"purpose": "X"}, dry_run=True)["source_etag"] is None
    with pytest.raises(AosClientError, match="unknown field 'purpos'"):
        ceo.put_agent("face", card | {"purpos": "Three"})
    assert {"ceo", "face"} <= {agent["agent_id"] for agent in ceo.agents()}


def test_the_queue_client_finds_its_own_reply(ceo: AosClient, laptop: Laptop, model: Model) -> None:
    model.says("By queue.")
    with QueueClient(connection_string=laptop.servicebus_connection_string) as queue:
        reply = queue.ask("ceo", "Hello", conversation_id="face-3", metadata={"n": 1})
        assert (reply["type"], reply["output"]) == ("run.completed", "By queue.")
        run = {name: v for name, v in reply.items() if name not in ("version", "type")}
        assert run == ceo.get_run(reply["run_id"])
        with pytest.raises(AosClientError) as error:
            queue.ask("nobody", "Hello")
    assert error.value.code == "agent_not_found"


def test_the_command_asks_lists_and_says_what_to_start(
    ceo: AosClient, laptop: Laptop, model: Model
) -> None:
    model.says("From a terminal.")
    aos = str(Path(sys.executable).with_name("aos"))
    done = _run(laptop, aos, "ask", "ceo", "Hello", "--conversation", "face-4")
    assert (done.returncode, done.stdout, done.stderr) == (0, "From a terminal.\n", "")
    listed = _run(laptop, aos, "runs", "--agent", "ceo", "--since", "1h")
    assert (listed.returncode, "face-4" in listed.stdout) == (0, True)
    refused = _run(laptop, aos, "ask", "nobody", "Hello")
    assert (refused.returncode, refused.stderr[:16]) == (1, "agent_not_found:")
    nothing = _run(None, aos, "ask", "ceo", "Hello")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ("ask_over_http.py", "completed: Example."),
        ("ask_over_queue.py", "run.completed: Example."),
        ("lead.py", "active\nExample."),
        ("mcp_client.py", "Example."),
        ("ag_ui_client.py", "TEXT_MESSAGE_STARTExample."),
    ],
)
def test_the_examples_run(
    ceo: AosClient, laptop: Laptop, model: Model, example: str, said: str
) -> None:
    model.says("Example.")
    done = _run(laptop, sys.executable, str(EXAMPLES / example))
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_the_examples_card_is_the_plans() -> None:
    assert (EXAMPLES / "ceo.json").read_bytes() == PLAN_CARD.read_bytes()
