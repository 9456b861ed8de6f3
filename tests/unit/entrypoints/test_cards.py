"""Cards over HTTP: uploading, reading, versions, rollback."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aos.errors import TransientError
from aos.ports.model import ModelAnswer, ModelCall
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

PARTS = {"agent_id": "cfo"}
CARD = {"agent_id": "cfo", "purpose": "Count."}


async def put(apps: InMemory, card: object = CARD, **more: Any) -> Reply:
    return await call(apps.main.agents.put, "PUT", body=card, parts=PARTS, **more)


async def get(apps: InMemory) -> Reply:
    return await call(apps.main.agents.get, parts=PARTS)


async def test_a_card_that_was_put_is_live_at_once(apps: InMemory) -> None:
    reply = await put(apps)
    assert (reply.status, reply.body["state"], reply.body["agent_id"]) == (200, "active", "cfo")
    async with apps.pumping():
        assert (await apps.ask({"message": "Hello"}, parts=PARTS)).status == 200
    read = await get(apps)
    assert read.headers["etag"] == reply.headers["etag"] == read.body["source_etag"]
    assert (read.body["card"], read.body["digest"]) == (CARD, reply.body["digest"])
    blob = await apps.config.read("agents/cfo.json")
    assert blob is not None
    assert json.loads(blob.body) == CARD


async def test_each_of_several_cards_that_were_put_at_once_is_live_when_its_put_is_answered(
    apps: InMemory,
) -> None:
    """They share a publication; the storage answers late."""

    async def lag(operation: str, name: str, moment: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    apps.data.hook = lag

    async def put_and_ask(name: str) -> tuple[str, int]:
        parts = {"agent_id": name}
        put = await call(apps.main.agents.put, "PUT", body={**CARD, **parts}, parts=parts)
        asked = await apps.ask({"message": "Hello", "wait_seconds": 0}, parts=parts)
        return put.body["state"], asked.status

    answers = await asyncio.gather(*(put_and_ask(f"cfo-{number}") for number in range(9)))
    assert answers == [("active", 202)] * 9


@pytest.mark.parametrize("before", ["missing", "disabled", "removed"])
async def test_an_agent_that_is_active_serves_at_once_on_other_instances_too(
    apps: InMemory, before: str
) -> None:
    if before == "disabled":
        await put(apps, {**CARD, "enabled": False})
    if before == "removed":
        await put(apps)
        await apps.config.delete("agents/cfo.json")
        await apps.main.catalog_timer.tick(None)  # type: ignore[arg-type]
    apps.main, other = apps.new_main(), apps.main
    ask = {"message": "Hello", "wait_seconds": 0}
    assert (await apps.ask(ask, parts=PARTS)).status in (404, 409)
    reply = await call(other.agents.put, "PUT", body=CARD, parts=PARTS)
    assert reply.body["state"] == "active"
    assert (await apps.ask(ask, parts=PARTS)).status == 202


async def test_an_edit_serves_the_next_run(apps: InMemory) -> None:
    await put(apps)
    await put(apps, {**CARD, "purpose": "Save."})
    async with apps.pumping():
        await apps.ask({"message": "Hello"}, parts=PARTS)
    assert "Save." in apps.model.calls[-1].messages[0].content


async def test_a_broken_card_is_422_with_the_texts_of_a_status_file(apps: InMemory) -> None:
    await put(apps)
    reply = await put(apps, {**CARD, "porpoise": "Swim."})
    assert (reply.status, reply.code) == (422, "invalid_card")
    (problem,) = reply.body["error"]["details"]["errors"]
    assert problem["path"] == "porpoise"
    assert "purpose" in problem["hint"]
    assert (await get(apps)).body["card"] == CARD


@pytest.mark.parametrize("body", [b"", b"{", b"[]", "{}".encode("utf-16"), b'{"a": 1, "a": 1}'])
async def test_a_card_that_is_no_json_object_is_422_too(apps: InMemory, body: bytes) -> None:
    reply = await put(apps, body)
    assert (reply.status, reply.code) == (422, "invalid_card")


async def test_a_dry_run_judges_and_changes_nothing(apps: InMemory) -> None:
    reply = await put(apps, query="dry_run=true")
    assert (reply.status, reply.body["state"]) == (200, "active")
    assert "etag" not in reply.headers
    assert (await get(apps)).code == "agent_not_found"
    assert (await put(apps, {}, query="dry_run=true")).code == "invalid_card"
    assert (await put(apps, query="dry_run=yes")).code == "invalid_request"


async def test_a_stale_if_match_is_409_and_a_current_one_writes(apps: InMemory) -> None:
    etag = (await put(apps)).headers["etag"]
    stale = await put(apps, headers={"if-match": '"0xOLD"'})
    assert (stale.status, stale.code) == (409, "precondition_failed")
    for form in (etag, "*"):
        assert (await put(apps, headers={"if-match": form})).status == 200
    latest = (await get(apps)).headers["etag"]
    assert (await put(apps, headers={"if-match": latest.strip('"')})).status == 200


async def test_if_none_match_creates_once(apps: InMemory) -> None:
    once = {"if-none-match": "*"}
    assert (await put(apps, headers=once)).status == 200
    assert (await put(apps, headers=once)).code == "precondition_failed"
    assert (await put(apps, headers={"if-none-match": '"x"'})).code == "invalid_request"


async def test_versions_are_newest_first_and_rollback_brings_one_back(apps: InMemory) -> None:
    first = (await put(apps)).body["digest"]
    second = (await put(apps, {**CARD, "purpose": "Save."})).body["digest"]
    versions = await call(apps.main.agents.versions, parts=PARTS)
    assert [row["digest"] for row in versions.body["items"]] == [second, first]
    old = await call(apps.main.agents.versions, parts=PARTS, query=f"digest={first}")
    assert old.body == {"items": [{**versions.body["items"][1], "card": CARD}], "next": None}
    none = await call(apps.main.agents.versions, parts=PARTS, query=f"digest={'0' * 64}")
    assert (none.status, none.code) == (404, "card_version_not_found")
    back = await call(apps.main.agents.rollback, "POST", body={"digest": first}, parts=PARTS)
    assert (back.status, back.body["digest"]) == (200, first)
    assert (await get(apps)).body["card"] == CARD


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"digest": "0" * 64}, "card_version_not_found"),
        ({"digest": "x"}, "card_version_not_found"),
        ({"digest": ""}, "invalid_request"),
        ({"digest": 7}, "invalid_request"),
        ({}, "invalid_request"),
        (b"", "invalid_request"),
    ],
)
async def test_a_rollback_to_nowhere_is_refused(apps: InMemory, body: object, code: str) -> None:
    await put(apps)
    reply = await call(apps.main.agents.rollback, "POST", body=body, parts=PARTS)
    assert reply.code == code


async def test_the_list_is_paged_by_id(apps: InMemory) -> None:
    for name in ("a", "b", "d"):
        await call(
            apps.main.agents.put,
            "PUT",
            body={"agent_id": name, "purpose": "Be."},
            parts={"agent_id": name},
        )
    seen: list[str] = []
    query = "limit=3"
    while query:
        page = await call(apps.main.agents.list, query=query)
        seen += [item["agent_id"] for item in page.body["items"]]
        query = (page.body["next"] or "?").split("?")[1]
    assert seen == ["a", "b", "ceo", "d"]


async def test_mcp_servers_have_the_same_routes(apps: InMemory) -> None:
    servers, parts = apps.main.mcp_servers, {"server_id": "github"}
    card = {"server_id": "github", "command": "npx", "args": ["-y", "@modelcontextprotocol/github"]}
    assert (await call(servers.get, parts=parts)).code == "server_not_found"
    reply = await call(servers.put, "PUT", body=card, parts=parts)
    assert (reply.status, reply.body["server_id"]) == (200, "github")
    assert (await call(servers.get, parts=parts)).body["card"] == card
    listed = await call(servers.list)
    assert [item["server_id"] for item in listed.body["items"]] == ["github"]
    versions = await call(servers.versions, parts=parts)
    digest = versions.body["items"][0]["digest"]
    back = await call(servers.rollback, "POST", body={"digest": digest}, parts=parts)
    assert back.status == 200
    assert (await call(servers.delete, "DELETE", parts=parts)).status == 204
    assert (await call(servers.list)).body["items"] == []
    assert (await call(servers.delete, "DELETE", parts=parts)).code == "server_not_found"


async def test_publishing_is_told_to_operators_and_to_subscribers(apps: InMemory) -> None:
    await put(apps)
    await put(apps, {**CARD, "enabled": False})
    names = [row["name"] for row in apps.telemetry.custom_events if row.get("agentId") == "cfo"]
    assert names == ["AgentInitialized", "AgentStarted", "AgentStopped"]
    purposes = {
        row.get("agent_id"): row.get("purpose")
        for row in apps.telemetry.custom_events
        if row["name"] == "AgentInitialized"
    }
    assert purposes["cfo"] == CARD["purpose"]
    events = [json.loads(kept.body) for kept in apps.broker.messages("system-events")]
    assert {event["type"] for event in events} == {"config.published"}
    assert events[-1]["data"]["cards"][0]["agent_id"] == "cfo"


async def test_a_bus_that_is_away_does_not_stop_a_card(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(event: object) -> None:
        raise TransientError("the bus is away")

    monkeypatch.setattr(apps.bus, "publish", away)
    assert (await put(apps)).status == 200


async def test_a_deleted_card_is_gone_at_once_and_a_rollback_brings_it_back(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = (await put(apps)).body["digest"]
    complete = apps.model.complete

    async def deleted_meanwhile(asked: ModelCall) -> ModelAnswer:
        gone = await call(apps.main.agents.delete, "DELETE", parts=PARTS)
        assert (gone.status, gone.body) == (204, None)
        return await complete(asked)

    monkeypatch.setattr(apps.model, "complete", deleted_meanwhile)
    async with apps.pumping():
        run = await apps.ask({"message": "Hello"}, parts=PARTS)
    assert run.body["status"] == "completed"
    asked = await apps.ask({"message": "Hello"}, parts=PARTS)
    assert (asked.status, asked.code) == (404, "agent_removed")
    assert [item["agent_id"] for item in (await call(apps.main.agents.list)).body["items"]] == [
        "ceo"
    ]
    versions = await call(apps.main.agents.versions, parts=PARTS)
    assert [item["digest"] for item in versions.body["items"]] == [digest]
    again = await call(apps.main.agents.delete, "DELETE", parts=PARTS)
    assert (again.status, again.code) == (404, "agent_removed")
    back = await call(apps.main.agents.rollback, "POST", body={"digest": digest}, parts=PARTS)
    assert (back.status, back.body["state"]) == (200, "active")


async def test_a_card_is_deleted_only_at_the_etag_that_was_given(apps: InMemory) -> None:
    first = await put(apps)
    second = await put(apps, {**CARD, "purpose": "Save."})
    for given, status in ((first, 409), (second, 204)):
        header = {"if-match": given.headers["etag"]}
        gone = await call(apps.main.agents.delete, "DELETE", parts=PARTS, headers=header)
        assert gone.status == status


@pytest.mark.parametrize("name", ["nobody", "Not an id"])
async def test_a_card_that_does_not_exist_cannot_be_deleted(apps: InMemory, name: str) -> None:
    gone = await call(apps.main.agents.delete, "DELETE", parts={"agent_id": name})
    assert (gone.status, gone.code) == (404, "agent_not_found")
    server = await call(apps.main.mcp_servers.delete, "DELETE", parts={"server_id": name})
    assert (server.status, server.code) == (404, "server_not_found")
