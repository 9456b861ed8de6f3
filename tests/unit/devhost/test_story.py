"""The story against doors of paper: what it says, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from devhost.doors import Answer, Card
from devhost.errors import LaptopError
from devhost.story import CARD, FIRST_QUESTION, SECOND_QUESTION, Story, card_for


@dataclass
class PaperDoors:
    """A world that publishes at once and answers everything; keeps what was done to it."""

    cards: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)
    writes: list[tuple[str, bytes]] = field(default_factory=list)
    http_fails: bool = False

    def read_card(self, agent_id: str) -> Card | None:
        body = self.cards.get(agent_id)
        return None if body is None else Card(body=body, etag=_etag(body))

    def write_card(self, agent_id: str, body: bytes, *, over: str | None) -> str:
        there = self.cards.get(agent_id)
        assert over == (None if there is None else _etag(there)), "the card was written blindly"
        self.cards[agent_id] = body
        self.writes.append((agent_id, body))
        self.publish(agent_id)
        return _etag(body)

    def publish(self, agent_id: str) -> None:
        body = self.cards[agent_id]
        broken = "purpos" in json.loads(body)
        error = {"path": "/purpos", "message": "unknown field 'purpos'", "hint": 'write "purpose"'}
        self.statuses[agent_id] = {
            "state": "rejected" if broken else "active",
            "source_etag": _etag(body),
            "errors": [error] if broken else [],
        }

    def status(self, agent_id: str) -> dict[str, Any] | None:
        return self.statuses.get(agent_id)

    def ask_queue(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        self.asked.append(("queue", agent_id, message, conversation_id))
        run = {"status": "completed", "output": "Customers."}
        return Answer(run=run, milliseconds=321.4, correlation_id="demo-1")

    def ask_http(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        self.asked.append(("http", agent_id, message, conversation_id))
        if self.http_fails:
            raise LaptopError("no answer over HTTP: refused")
        return Answer(run={"status": "completed", "output": "Ask them."}, milliseconds=200.0)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:12]}"'


def story(doors: PaperDoors, said: list[str]) -> Story:
    return Story(doors=doors, say=said.append, main_url="http://127.0.0.1:7071")


def test_the_story_shows_card_queue_http_edit_and_refusal_and_leaves_the_plans_card() -> None:
    doors, said = PaperDoors(), []
    assert story(doors, said).tell() == "ceo"
    text = "\n".join(said)
    for expected in (
        "aos-config/agents/ceo.json",
        '"purpose": "Strategic oversight and company growth"',
        "uploaded, live after 0.0 s",
        "correlation_id demo-1, after 321 ms:",
        "> Customers.",
        "curl -s http://127.0.0.1:7071/api/agents/ceo/run -H 'Content-Type: application/json' -d",
        "> Ask them.",
        "   live after 0.0 s",
        "/purpos: unknown field 'purpos'; write \"purpose\"",
        "the old agent still answers",
        "the original card is restored",
    ):
        assert expected in text
    assert doors.cards == {"ceo": CARD.encode()}
    assert [(door, message) for door, _, message, _ in doors.asked][:2] == [
        ("queue", FIRST_QUESTION),
        ("http", SECOND_QUESTION),
    ]
    assert len({conversation for *_, conversation in doors.asked}) == 1


def test_a_card_of_ones_own_is_never_overwritten() -> None:
    mine = b'{"agent_id": "ceo", "purpose": "Mine"}'
    doors, said = PaperDoors(cards={"ceo": mine}), []
    assert story(doors, said).tell() == "demo-ceo"
    assert doors.cards == {"ceo": mine, "demo-ceo": card_for("demo-ceo")}
    assert {agent_id for agent_id, _ in doors.writes} == {"demo-ceo"}


def test_told_again_it_uses_the_card_it_left() -> None:
    doors, said = PaperDoors(cards={"ceo": CARD.encode()}), []
    doors.publish("ceo")
    assert story(doors, said).tell() == "ceo"
    assert doors.cards == {"ceo": CARD.encode()}
    assert "   live" in said


def test_a_story_that_fails_half_way_puts_the_card_back() -> None:
    doors, said = PaperDoors(), []
    original = doors.ask_http
    calls: list[str] = []

    def fail_the_second_time(agent_id: str, message: str, conversation_id: str) -> Answer:
        calls.append(message)
        doors.http_fails = len(calls) > 1
        return original(agent_id, message, conversation_id)

    doors.ask_http = fail_the_second_time  # type: ignore[method-assign]
    with pytest.raises(LaptopError, match="no answer over HTTP"):
        story(doors, said).tell()
    assert doors.cards == {"ceo": CARD.encode()}


def test_a_card_that_somebody_else_wrote_during_the_story_stays() -> None:
    doors, said = PaperDoors(), []
    mine = b'{"agent_id": "ceo", "purpose": "Mine"}'
    original = doors.ask_http

    def write_meanwhile(agent_id: str, message: str, conversation_id: str) -> Answer:
        if "purpos" in json.loads(doors.cards[agent_id]):
            doors.cards[agent_id] = mine
        return original(agent_id, message, conversation_id)

    doors.ask_http = write_meanwhile  # type: ignore[method-assign]
    story(doors, said).tell()
    assert doors.cards["ceo"] == mine


def test_a_run_that_fails_ends_the_story_with_its_error() -> None:
    doors, said = PaperDoors(), []
    run = {"status": "failed", "error": {"code": "model_unavailable", "message": "it is away"}}
    doors.ask_queue = lambda *_: Answer(run=run, milliseconds=1.0)  # type: ignore[method-assign]
    with pytest.raises(LaptopError, match="the run ended failed: model_unavailable: it is away"):
        story(doors, said).tell()
