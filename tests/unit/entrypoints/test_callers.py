"""Who is let in, as whom, and what an owner sees."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.unit.entrypoints.conftest import CEO
from tests.unit.entrypoints.laptop_in_memory import InMemory, call


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = {
    "AOS_AUTH": "keys",
    "AOS_KEY_OWNERS": f"sales={digest('key-1')},sales={digest('key-2')}",
    "AOS_ADMIN_KEYS": digest("boss").upper(),
}


@pytest.fixture
async def locked() -> InMemory:
    apps = InMemory(KEYS)
    await apps.put(CEO)
    return apps


def key(value: str) -> dict[str, str]:
    return {"x-functions-key": value}


async def ask(apps: InMemory, who: str, **body: Any) -> Any:
    async with apps.pumping():
        return await apps.ask({"message": "Hello", **body}, headers=key(who))


async def test_off_means_every_caller_is_the_local_admin(apps: InMemory) -> None:
    async with apps.pumping():
        run = await apps.ask({"message": "Hello", "conversation_id": "c"})
    assert run.status == 200
    head = await call(apps.main.conversations.get, parts={"conversation_id": "c"})
    assert head.body["owner"] == "local"


async def test_every_route_but_health_and_status_needs_a_key(locked: InMemory) -> None:
    main = locked.main
    for route, method in (
        (main.runs.start, "POST"),
        (main.runs.list, "GET"),
        (main.runs.get, "GET"),
        (main.conversations.list, "GET"),
        (main.agents.list, "GET"),
        (main.agents.put, "PUT"),
        (main.contract.openapi, "GET"),
        (main.contract.schema, "GET"),
        (main.contract.not_found, "GET"),
    ):
        reply = await call(route, method)
        assert (reply.status, reply.code) == (401, "unauthorized")
    assert (await call(main.about.health)).status == 200
    status = await call(main.about.status)
    assert status.body == {"version": "2.0.0", "environment": "dev"}


async def test_a_key_stands_for_its_owner_and_a_renewed_one_for_the_same(
    locked: InMemory,
) -> None:
    await ask(locked, "key-1", conversation_id="c")
    parts = {"conversation_id": "c"}
    for who in ("key-2", "boss"):
        read = await call(locked.main.conversations.get, parts=parts, headers=key(who))
        assert read.body["owner"] == "sales"


async def test_an_unnamed_key_owns_as_its_hash(locked: InMemory) -> None:
    run = await ask(locked, "stranger", conversation_id="c")
    read = await call(
        locked.main.conversations.get, parts={"conversation_id": "c"}, headers=key("stranger")
    )
    assert (run.status, read.body["owner"]) == (200, f"key:{digest('stranger')}")


async def test_the_header_wins_over_the_query_as_at_the_host(locked: InMemory) -> None:
    for query, headers, owner in (
        ("code=key-1", {}, "sales"),
        ("code=key-1", key("other"), f"key:{digest('other')}"),
    ):
        async with locked.pumping():
            run = await locked.ask({"message": "Hello"}, headers=headers, query=query)
        stored = await locked.world.requests.find(run.body["run_id"])
        assert stored is not None
        assert stored.request.owner == owner


async def test_another_owner_gets_404_and_sees_nothing_in_lists(locked: InMemory) -> None:
    run = await ask(locked, "key-1", conversation_id="c")
    parts = {"run_id": run.body["run_id"], "conversation_id": "c"}
    main, other = locked.main, key("other")
    for route, method, code in (
        (main.runs.get, "GET", "run_not_found"),
        (main.runs.cancel, "POST", "run_not_found"),
        (main.conversations.get, "GET", "conversation_not_found"),
        (main.conversations.messages, "GET", "conversation_not_found"),
    ):
        reply = await call(route, method, parts=parts, headers=other)
        assert (reply.status, reply.code) == (404, code)
    continued = await ask(locked, "other", conversation_id="c")
    assert (continued.status, continued.code) == (404, "conversation_not_found")
    for route in (main.runs.list, main.conversations.list):
        assert (await call(route, headers=other)).body == {"items": [], "next": None}
        assert len((await call(route, headers=key("boss"))).body["items"]) == 1


async def test_two_owners_may_use_the_same_idempotency_key(locked: InMemory) -> None:
    runs = []
    for who in ("key-1", "other"):
        async with locked.pumping():
            headers = {**key(who), "idempotency-key": "k"}
            runs.append(await locked.ask({"message": who}, headers=headers))
    assert [run.status for run in runs] == [200, 200]
    assert runs[0].body["run_id"] != runs[1].body["run_id"]


async def test_an_admin_may_continue_anybodys_conversation_and_its_owner_stays(
    locked: InMemory,
) -> None:
    await ask(locked, "key-1", conversation_id="c")
    assert (await ask(locked, "boss", conversation_id="c")).status == 200
    read = await call(
        locked.main.conversations.get, parts={"conversation_id": "c"}, headers=key("key-1")
    )
    assert (read.body["owner"], read.body["messages"]) == ("sales", 4)


async def test_what_is_for_admins_is_403_to_others(locked: InMemory) -> None:
    for cards, parts in (
        (locked.main.agents, {"agent_id": "ceo"}),
        (locked.main.mcp_servers, {"server_id": "github"}),
    ):
        for route, method in (
            (cards.put, "PUT"),
            (cards.versions, "GET"),
            (cards.rollback, "POST"),
        ):
            reply = await call(route, method, parts=parts, body={}, headers=key("key-1"))
            assert (reply.status, reply.code) == (403, "forbidden")
    allowed = await call(
        locked.main.agents.versions, parts={"agent_id": "ceo"}, headers=key("boss")
    )
    assert allowed.status == 200


async def test_who_is_no_admin_does_not_see_the_values_of_env(locked: InMemory) -> None:
    card = {
        "server_id": "github",
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/x"],
        "env": {"TOKEN": "literal"},
    }
    parts = {"server_id": "github"}
    put = await call(
        locked.main.mcp_servers.put, "PUT", body=card, parts=parts, headers=key("boss")
    )
    assert put.status == 200
    shown = {
        who: (await call(locked.main.mcp_servers.get, parts=parts, headers=key(who))).body["card"]
        for who in ("boss", "key-1")
    }
    assert shown["boss"] == card
    assert shown["key-1"] == {**card, "env": {"TOKEN": "***"}}


async def test_easyauth_on_a_laptop_lets_nobody_in_whatever_the_headers() -> None:
    apps = InMemory({"AOS_AUTH": "easyauth"})
    forged = {"x-ms-client-principal-id": "me", "x-functions-key": "k"}
    reply = await call(apps.main.runs.list, headers=forged)
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert (await call(apps.main.about.status)).status == 200
    assert (await call(apps.main.about.health)).status == 200
