"""The second act of `make demo`: its script against the real services, its scenes on paper."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.client.errors import AosClientError
from aos.testing import MemoryWorld
from devhost import second_act
from devhost.errors import LaptopError
from devhost.scripted_model import serve_script
from devhost.second_act import BUYER, BUYER_ID, CFO, QUESTION, SERVER, Script, SecondAct

URL = "http://127.0.0.1:7071"
ANSWER = "Yes, you may. The sum is 580, and the CFO says: 580 is within this month's budget."


@pytest.mark.parametrize("stream", [True, False], ids=["watched", "unwatched"])
@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_agents_follow_the_script_through_tool_approval_and_delegation(
    stream: bool, decision: Any
) -> None:
    script = Script()
    with serve_script(lambda messages: replace(script.choose(messages), seconds=0.0)) as url:
        model = OpenAIChatModel(ModelEndpoint(base_url=url, model="scripted", api_key="none"))
        world = MemoryWorld(model=model)
        await world.put_mcp_server(SERVER, {"get-sum": lambda given: str(sum(given.values()))})
        for card in (CFO, BUYER):
            assert (await world.put_agent(card))["state"] == "active"
        run = await world.ask(BUYER_ID, QUESTION, stream=stream)
        (asked,) = (await world.waiting_approvals()).items
        assert (asked.tool, asked.arguments) == (
            f"{SERVER['server_id']}/get-sum",
            {"a": 340, "b": 240},
        )
        run = await world.decide(run.run_id, asked.tool_call_id, decision)
        await model.close()
    assert run.output is not None
    if decision == "approve":
        assert run.output.startswith(ANSWER)
        assert (script.is_cfo_asked.is_set(), len(run.child_run_ids)) == (True, 1)
    else:
        assert "You denied the call" in run.output


def test_the_script_answers_nobody_else() -> None:
    line = Script().choose([{"role": "system", "content": "You are another agent."}])
    assert (line.status, line.tool) == (503, None)


@dataclass
class PaperClient:
    """A laptop on which the run goes as the script says; keeps what was done."""

    script: Script = field(default_factory=Script)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    approved: threading.Event = field(default_factory=threading.Event)
    decided_by_a_person: bool = False
    not_yet: int = 1

    def _get(self, name: str) -> dict[str, Any]:
        if name not in self.cards:
            raise AosClientError({"code": "agent_not_found", "message": name}, status=404)
        return {"card": self.cards[name]}

    def _put(self, name: str, card: Mapping[str, Any]) -> dict[str, Any]:
        self.cards[name] = dict(card)
        return {"state": "active"}

    agent = mcp_server = _get
    put_agent = put_mcp_server = _put

    def tools(self) -> Iterator[dict[str, Any]]:
        yield {"server_id": SERVER["server_id"], "state": "ready"}

    def start(
        self, agent_id: str, message: str, *, conversation_id: str, stream: bool
    ) -> dict[str, Any]:
        assert (agent_id, message, stream) == (BUYER_ID, QUESTION, True)
        return {"run_id": "r-1", "conversation_id": conversation_id}

    def events(self, run_id: str, *, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        call = {"tool_call_id": "call_1", "name": "demo-tools__get-sum", "arguments": "{}"}
        yield event("run.started")
        yield event("approval.requested", **call)
        if self.decided_by_a_person:
            self.approved.set()
        assert self.approved.wait(10), "nobody approved the call"
        yield event("approval.decided", **call, decision="approve")
        yield event("tool.completed", **call, content="580")
        self.script.is_cfo_asked.set()
        yield event("tool.called", **{**call, "name": "delegate"})
        yield event("run.completed")

    def approve(self, run_id: str, tool_call_id: str) -> dict[str, Any]:
        if self.not_yet:
            self.not_yet -= 1
            raise AosClientError({"code": "approval_not_found", "message": ""}, status=404)
        assert (run_id, tool_call_id) == ("r-1", "call_1")
        assert not self.approved.is_set(), "the demo decided although a person had"
        self.approved.set()
        return {}

    def get_run(self, run_id: str) -> dict[str, Any]:
        return {"run_id": run_id, "status": "completed", "output": ANSWER}


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"type": kind, "run_id": "r-1", "data": data}


def play(client: PaperClient, *, is_watched: bool) -> tuple[list[str], list[str]]:
    """Play the act; return what it said, and what it did."""
    said: list[str] = []
    did: list[str] = []

    @contextlib.contextmanager
    def stage(script: Script) -> Iterator[None]:
        client.script = script
        did.append("the script answers")
        yield
        did.append("the model answers")

    act = SecondAct(
        client=client,
        stage=stage,
        kill=lambda: did.append("killed"),
        say=said.append,
        main_url=URL,
        is_watched=is_watched,
    )
    assert act.tell() == "r-1"
    return said, did


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_act, "CFO_SECONDS", 0.0)
    monkeypatch.setattr(second_act, "POLL_SECONDS", 0.01)


def test_without_a_person_the_demo_decides_and_says_how() -> None:
    client = PaperClient()
    said, did = play(client, is_watched=False)
    assert did == ["the script answers", "killed", "the model answers"]
    text = "\n".join(said)
    assert said[1].startswith("   *** NOT A MODEL")
    for expected in (
        f"{URL}/api/console#/chat/{BUYER_ID}/demo-",
        "aos approve r-1 call_1",
        "Nobody is at this terminal",
        "decided: approve",
        "kill -9 realm",
        "> Yes, you may.",
        f"{URL}/api/console#/runs/r-1",
    ):
        assert expected in text


def test_a_person_decides_in_the_console_and_the_demo_does_not() -> None:
    client = PaperClient(decided_by_a_person=True)
    said, _ = play(client, is_watched=True)
    assert any("APPROVE IT" in line for line in said)
    assert client.not_yet == 1


def test_it_goes_on_when_the_person_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_act, "PERSON_SECONDS", 0.01)
    said, _ = play(PaperClient(), is_watched=True)
    assert any("decided: approve" in line for line in said)


def test_a_card_of_ones_own_is_never_overwritten() -> None:
    mine = {"agent_id": BUYER_ID, "purpose": "Mine"}
    client = PaperClient(cards={BUYER_ID: mine})
    with pytest.raises(LaptopError, match="card of your own"):
        play(client, is_watched=False)
    assert client.cards[BUYER_ID] == mine
