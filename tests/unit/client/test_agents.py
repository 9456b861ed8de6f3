"""The plan's Python face: hands for an agent that lives in AOS."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aos
from aos import AgentOperatingSystem, LeadershipAgent, PurposeDrivenAgent
from aos.agents import AGENT_CLASSES
from aos.client import AosClientError, AosUnreachable
from aos.domain.cards.agent_card import AGENT_TYPES, BEHAVIOURS
from tests.unit.client.stub_main import CUT, Say, Seen, StubMain

PLAN = Path(__file__).resolve().parents[2] / "fixtures" / "plan"


def leader(main: StubMain, **fields: Any) -> LeadershipAgent:
    """The agent of the plan's script."""
    fields.setdefault("purpose", "Test deployment")
    system = AgentOperatingSystem(url=main.url)
    return LeadershipAgent(agent_id="test-agent", adapter_name="general", system=system, **fields)


async def _card(main: StubMain) -> Any:
    blob = await main.cards.config.read("agents/test-agent.json")
    assert blob is not None
    return json.loads(blob.body)


async def test_initialize_uploads_the_card_and_the_agent_is_live(main: StubMain) -> None:
    agent = leader(main)
    await agent.initialize()
    assert await _card(main) == {
        "agent_id": "test-agent",
        "agent_type": "LeadershipAgent",
        "purpose": "Test deployment",
        "adapter_name": "general",
        "enabled": True,
    }
    live = await main.cards.reader().find("test-agent")
    assert (live.state, live.card.agent_type) == ("active", "LeadershipAgent")
    status = await agent.get_status()
    assert (status["agent_id"], status["state"]) == ("test-agent", "active")


async def test_stop_disables_and_initialize_enables_again(main: StubMain) -> None:
    agent = leader(main)
    await agent.initialize()
    await agent.stop()
    assert (await agent.get_status())["state"] == "disabled"
    await agent.initialize()
    assert (await agent.get_status())["state"] == "active"


async def test_initializing_again_uploads_nothing(main: StubMain) -> None:
    await leader(main).initialize()
    await leader(main).initialize()
    assert [seen.method for seen in main.seen].count("PUT") == 1


async def test_what_an_admin_set_in_the_card_is_kept(main: StubMain) -> None:
    admins = {
        "agent_id": "test-agent",
        "purpose": "Old",
        "instructions": "Be brief.",
        "limits": {"max_turns": 3},
        "mcp_tools": ["github"],
    }
    await main.cards.upload("test-agent", json.dumps(admins).encode())
    await main.cards.publisher().publish()
    await leader(main).initialize()
    assert await _card(main) == admins | {
        "agent_type": "LeadershipAgent",
        "purpose": "Test deployment",
        "adapter_name": "general",
        "enabled": True,
    }


async def test_a_change_that_comes_between_reading_and_writing_is_kept(main: StubMain) -> None:
    agent = leader(main)
    await agent.initialize()
    admins = await _card(main) | {"limits": {"max_turns": 3}}

    async def race() -> None:
        main.before_put = None
        await main.cards.upload("test-agent", json.dumps(admins).encode())

    main.before_put = race
    await leader(main, purpose="Another").initialize()
    assert await _card(main) == admins | {"purpose": "Another"}


@pytest.mark.parametrize("written", [True, False])
async def test_a_lost_answer_to_the_upload_is_looked_up(main: StubMain, written: bool) -> None:
    agent = leader(main)
    await agent.initialize()

    def lost(seen: Seen) -> object:
        if written:
            main.serve(seen)
        return CUT

    main.then(main.serve, lost)
    await leader(main, purpose="Another").initialize()
    assert (await _card(main))["purpose"] == "Another"
    assert [seen.method for seen in main.seen].count("PUT") == (2 if written else 3)


async def test_a_broken_upload_is_built_over_from_the_card_that_serves(main: StubMain) -> None:
    serving = {"agent_id": "test-agent", "purpose": "Old", "limits": {"max_turns": 3}}
    for body in (json.dumps(serving).encode(), b"{broken"):
        await main.cards.upload("test-agent", body)
        await main.cards.publisher().publish()
    await leader(main, purpose="Another").initialize()
    card = await _card(main)
    assert (card["purpose"], card["limits"]) == ("Another", {"max_turns": 3})
    assert (await main.cards.status("test-agent"))["state"] == "active"


async def test_a_card_that_cannot_go_live_says_why(main: StubMain) -> None:
    with pytest.raises(AosClientError, match="purpose must not be empty") as error:
        await leader(main, purpose=" ").initialize()
    assert error.value.code == "invalid_card"


async def test_ask_gives_the_answer_and_a_failed_run_is_an_error(main: StubMain) -> None:
    agent = leader(main)
    main.then(Say(body={"run_id": "r1", "status": "completed", "output": "Sell."}))
    assert await agent.ask("What now?", conversation_id="board") == "Sell."
    assert main.seen[0].body["conversation_id"] == "board"
    failed = {"code": "max_turns", "message": "64 turns", "type": "caller", "retryable": False}
    main.then(Say(body={"run_id": "r2", "status": "failed", "output": "", "error": failed}))
    with pytest.raises(AosClientError, match="64 turns") as error:
        await agent.ask("And then?")
    assert error.value.code == "max_turns"
    main.then(Say(body={"run_id": "r3", "status": "cancelled", "output": "", "error": None}))
    with pytest.raises(AosClientError, match="'r3' is cancelled"):
        await agent.ask("And then?")


async def test_the_system_tells_its_status_and_its_agents(main: StubMain) -> None:
    system = AgentOperatingSystem(url=main.url)
    main.then(Say(body={"version": "2.0.0"}), Say(body={"items": [{"agent_id": "a"}]}))
    assert await system.get_status() == {"version": "2.0.0"}
    assert await system.agents() == [{"agent_id": "a"}]


async def test_without_a_running_aos_the_face_says_what_to_start() -> None:
    agent = PurposeDrivenAgent(
        agent_id="a", purpose="b", system=AgentOperatingSystem(url="http://127.0.0.1:9")
    )
    with pytest.raises(AosUnreachable, match="start AOS with `make run`"):
        await agent.initialize()


def test_every_agent_type_has_one_class_and_one_behaviour() -> None:
    assert tuple(AGENT_CLASSES) == AGENT_TYPES == tuple(BEHAVIOURS)
    assert {name: kind.__name__ for name, kind in AGENT_CLASSES.items()} == {
        name: name for name in AGENT_TYPES
    }


def test_the_plans_script_runs_with_its_import_lines_changed(main: StubMain) -> None:
    script = (PLAN / "test_agent_deployment.txt").read_text("utf-8")
    script = script.replace("from AgentOperatingSystem", "from aos")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"AOS_URL": main.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Agent Status: {'agent_id': 'test-agent', 'state': 'active'")
    assert asyncio.run(main.cards.status("test-agent"))["state"] == "disabled"


def test_the_package_offers_its_face_and_nothing_else() -> None:
    assert aos.LeadershipAgent is LeadershipAgent
    with pytest.raises(AttributeError, match="no attribute 'Agent'"):
        aos.Agent  # noqa: B018


def test_importing_aos_loads_nothing_heavy() -> None:
    assert _loaded("import aos") == {"aos", "aos.version"}
    heavy = {"azure", "pydantic", "openai", "mcp", "aiohttp", "httpx2", "opentelemetry"}
    assert not {name.split(".")[0] for name in _loaded("import aos.client, aos.agents")} & heavy
    assert not {name.split(".")[0] for name in _loaded("from aos import LeadershipAgent")} & heavy
    asynchronous = "from aos.client import AsyncAosClient, AsyncQueueClient, QueueClient"
    assert not {name.split(".")[0] for name in _loaded(asynchronous)} & heavy
    blocking = "from aos.client import AosClient; print('asyncio' in sys.modules)"
    assert "False" in _loaded(blocking)  # it would slow the CLI's start


def _loaded(statement: str) -> set[str]:
    """What a fresh interpreter has loaded by the statement, beyond the standard library."""
    program = (
        f"import sys; before = set(sys.modules); {statement}\n"
        "new = set(sys.modules) - before\n"
        "print(*(n for n in new if n.split('.')[0] not in sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())
