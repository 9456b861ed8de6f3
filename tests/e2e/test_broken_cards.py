"""A broken card changes nothing but its status file, which says what to write instead."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.e2e.road import Road

GOOD: dict[str, Any] = {"purpose": "Answer.", "enabled": True}


def broken(agent_id: str) -> dict[str, bytes]:
    """Twenty-four kinds of broken card for that id."""

    def card(**changes: Any) -> bytes:
        return json.dumps({"agent_id": agent_id, **GOOD, **changes}).encode()

    return {
        "bad JSON": b'{"agent_id": "x", ',
        "trailing comma": card()[:-1] + b",}",
        "empty": b"",
        "blank": b"   \n",
        "UTF-16": card().decode().encode("utf-16"),
        "not UTF-8": b'{"purpose": "\xff\xfe"}',
        "a list": b"[]",
        "a number": b"7",
        "one megabyte": card(purpose="x" * 1_000_000),
        "duplicate keys": card()[:-1] + b', "purpose": "Twice."}',
        "control characters": card(purpose="bell \u0007"),
        "a lone surrogate": card(purpose="x")[:-1] + b', "instructions": "\\ud800"}',
        "NaN": card()[:-1] + b', "parameters": {"temperature": NaN}}',
        "unknown field near a known one": card(purpos="Answer."),
        "unknown field like none": card(zzzzzz=1),
        "a number for a text": card(purpose=1),
        "a text for a boolean": card(enabled="yes"),
        "one for true": card(enabled=1),
        "an id unlike the name": card(agent_id="somebody-else"),
        "an unknown agent_type": card(agent_type="LeaderAgent"),
        "no purpose": json.dumps({"agent_id": agent_id}).encode(),
        "an empty purpose": card(purpose=""),
        "limits out of bounds": card(limits={"max_turns": 0}),
        "parameters of ours": card(parameters={"messages": []}),
        "a cron of four fields": card(wake={"schedules": [{"cron": "* * * *", "message": "x"}]}),
    }


def test_each_kind_of_broken_card_is_explained_and_its_predecessor_answers_on(road: Road) -> None:
    mark = uuid.uuid4().hex[:8]
    kinds = sorted(broken("x"))
    names = {kind: f"bad-{mark}-{number}" for number, kind in enumerate(kinds)}
    uploaded = {
        kind: road.upload(f"agents/{name}.json", {"agent_id": name, **GOOD})
        for kind, name in names.items()
    }
    digests = {
        kind: road.judged(f"agents/{name}", uploaded[kind])["digest"]
        for kind, name in names.items()
    }
    again = {
        kind: road.upload(f"agents/{name}.json", broken(name)[kind]) for kind, name in names.items()
    }
    for kind, name in names.items():
        status = road.judged(f"agents/{name}", again[kind])
        assert status["state"] == "rejected", kind
        assert status["serving_digest"] == digests[kind], kind
        assert status["errors"], kind
        for error in status["errors"]:
            assert set(error) == {"path", "message", "hint"}, kind
            assert all(isinstance(text, str) and text for text in error.values()), (kind, error)
        answer = road.ask(name, "Still there?")
        assert (answer.status, answer.body["card_digest"]) == (200, digests[kind]), kind


def test_the_hint_names_the_nearest_field(road: Road) -> None:
    name = f"near-{uuid.uuid4().hex[:8]}"
    etag = road.upload(f"agents/{name}.json", {"agent_id": name, "purpos": "Answer."})
    status = road.judged(f"agents/{name}", etag)
    assert any("purpose" in error["hint"] for error in status["errors"])
    assert status["serving_digest"] is None
    answer = road.ask(name, "Hello")
    assert (answer.status, answer.code) == (404, "agent_not_found")


def test_a_put_of_a_broken_card_is_refused_with_the_texts_of_the_status_file(road: Road) -> None:
    name = f"put-{uuid.uuid4().hex[:8]}"
    card = {"agent_id": name, "purpos": "Answer."}
    refused = road.call("PUT", f"/api/agents/{name}", card)
    assert (refused.status, refused.code) == (422, "invalid_card")
    etag = road.upload(f"agents/{name}.json", card)
    status = road.judged(f"agents/{name}", etag)
    assert refused.body["error"]["details"]["errors"] == status["errors"]


def test_a_card_with_tools_is_live_with_a_warning(road: Road) -> None:
    name = f"tools-{uuid.uuid4().hex[:8]}"
    leader = {"agent_id": name, **GOOD, "agent_type": "LeadershipAgent"}
    card = {**leader, "mcp_tools": ["no-such-server"], "team": ["nobody-there"]}
    status = road.judged(f"agents/{name}", road.upload(f"agents/{name}.json", card))
    assert status["state"] == "active"
    assert {warning["path"] for warning in status["warnings"]} == {"mcp_tools[0]", "team[0]"}
    assert road.ask(name, "Hello").status == 200


def test_a_card_with_every_field_is_live_without_a_warning(road: Road) -> None:
    name = f"early-{uuid.uuid4().hex[:8]}"
    card = {"agent_id": name, **GOOD, "memory": {"ttl_days": 30}}
    status = road.judged(f"agents/{name}", road.upload(f"agents/{name}.json", card))
    assert (status["state"], status["warnings"]) == ("active", [])
    dry = road.call("PUT", f"/api/agents/{name}?dry_run=true", card)
    assert (dry.status, dry.body["warnings"]) == (200, status["warnings"])
    assert road.ask(name, "Hello").status == 200
