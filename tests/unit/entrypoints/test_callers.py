"""Who is let in, as whom, and what an owner sees."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import azure.functions as func
import pytest

from aos.domain.caller import Caller
from aos.domain.tools.tool import ServerState, ServerTools
from aos.entrypoints.http.principals import read_principal
from aos.wiring.main import Main
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


def list_guarded(main: Main) -> list[tuple[Any, str]]:
    """Routes that are open to nobody unknown, of each kind."""
    return [
        (main.runs.start, "POST"),
        (main.runs.list, "GET"),
        (main.runs.get, "GET"),
        (main.conversations.list, "GET"),
        (main.agents.list, "GET"),
        (main.agents.put, "PUT"),
        (main.contract.openapi, "GET"),
        (main.contract.schema, "GET"),
        (main.contract.not_found, "GET"),
    ]


async def test_every_route_but_health_and_status_needs_a_key(locked: InMemory) -> None:
    main = locked.main
    for route, method in list_guarded(main):
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
            (cards.delete, "DELETE"),
            (cards.versions, "GET"),
            (cards.rollback, "POST"),
        ):
            reply = await call(route, method, parts=parts, body={}, headers=key("key-1"))
            assert (reply.status, reply.code) == (403, "forbidden")
    allowed = await call(
        locked.main.agents.versions, parts={"agent_id": "ceo"}, headers=key("boss")
    )
    assert allowed.status == 200


@pytest.mark.parametrize(
    ("state", "error", "to_others"),
    [
        (
            "failed",
            "last output: /srv/path",
            "the MCP server failed; an admin can read why",
        ),
        ("stopped", "it ended; last output: x", "the MCP server ended; an admin can read why"),
        ("stopped", "disabled by its card", "disabled by its card"),
        ("ready", None, None),
    ],
)
async def test_what_a_server_printed_is_for_admins(
    locked: InMemory, state: ServerState, error: str | None, to_others: str | None
) -> None:
    await locked.world.tools.put(ServerTools(server_id="clock", state=state, error=error))
    seen = {}
    for who in ("boss", "key-1"):
        listed = await call(locked.main.tools.list, headers=key(who))
        (item,) = listed.body["items"]
        seen[who] = (item["state"], item["error"])
    assert seen == {"boss": (state, error), "key-1": (state, to_others)}


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


OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
NAME_ID = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
ALICE = "5b5450db-eb26-4c1a-981c-ba1d25f0483d"
BOB = "0f5f1f3a-7c1e-4d5e-9a65-1f0f6f5c1b11"


def principal(*claims: tuple[str, str], header_id: str | None = None) -> dict[str, str]:
    """The headers as App Service Authentication sets them."""
    document = {
        "auth_typ": "aad",
        "name_typ": NAME_ID,
        "role_typ": ROLE,
        "claims": [{"typ": name, "val": value} for name, value in claims],
    }
    headers = {"x-ms-client-principal": base64.b64encode(json.dumps(document).encode()).decode()}
    return headers if header_id is None else {**headers, "x-ms-client-principal-id": header_id}


def user(object_id: str, *roles: str) -> dict[str, str]:
    """Somebody who signed in with Entra ID."""
    claims = [(OBJECT_ID, object_id), (NAME_ID, "pairwise"), *(("roles", role) for role in roles)]
    return principal(*claims, header_id=object_id)


def signing_in(**settings: str) -> InMemory:
    """An app in Azure with sign-in; in memory nothing is reached by the names given here."""
    return InMemory(
        {
            "AOS_AUTH": "easyauth",
            "AZURE_FUNCTIONS_ENVIRONMENT": "Production",
            "WEBSITE_AUTH_ENABLED": "True",
            "AZURE_STORAGE_CONNECTION_STRING__accountName": "staos",
            "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace": "aos.example",
            **settings,
        }
    )


@pytest.fixture
async def portal() -> InMemory:
    apps = signing_in()
    await apps.put(CEO)
    return apps


async def owner_of(apps: InMemory, headers: dict[str, str]) -> str:
    """Whose a run is that is asked for with these headers."""
    async with apps.pumping():
        run = await apps.ask({"message": "Hello"}, headers=headers)
    assert run.status == 200, run.body
    stored = await apps.world.requests.find(run.body["run_id"])
    assert stored is not None
    return stored.request.owner


def test_with_sign_in_the_host_asks_for_no_key() -> None:
    apps = signing_in()
    assert apps.main.caller_level is func.AuthLevel.ANONYMOUS


async def test_with_sign_in_every_route_but_health_and_status_needs_a_principal(
    portal: InMemory,
) -> None:
    main = portal.main
    for headers in ({}, key("k"), {"authorization": "Bearer x"}):
        for route, method in list_guarded(main):
            reply = await call(route, method, headers=headers)
            assert (reply.status, reply.code) == (401, "unauthorized")
            assert "Bearer" in reply.message
    assert (await call(main.about.health)).status == 200
    status = await call(main.about.status)
    assert status.body == {"version": "2.0.0", "environment": "dev"}


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        (user(ALICE), ALICE),
        (principal(("oid", ALICE), ("sub", "pairwise"), header_id="other"), ALICE),
        (principal(("sub", "pairwise"), header_id=BOB), BOB),
        (principal(("sub", ALICE)), ALICE),
        (principal((NAME_ID, ALICE)), ALICE),
        (principal((OBJECT_ID, ALICE), ("oid", ALICE)), ALICE),
        ({"x-ms-client-principal-id": BOB}, BOB),
        ({"X-MS-CLIENT-PRINCIPAL-ID": BOB}, BOB),
    ],
    ids=["Entra", "oid", "the header", "B2C", "B2C mapped", "twice", "id alone", "other case"],
)
async def test_who_signs_in_owns_as_the_object_id(
    portal: InMemory, headers: dict[str, str], owner: str
) -> None:
    assert await owner_of(portal, headers) == owner


async def test_who_signs_in_sees_only_what_is_theirs(portal: InMemory) -> None:
    async with portal.pumping():
        run = await portal.ask({"message": "Hello"}, headers=user(ALICE))
    parts = {"run_id": run.body["run_id"]}
    for who, status in (
        (user(ALICE), 200),
        (user(BOB), 404),
        (user(BOB, "AOS.Approver"), 404),
        (user(BOB, "AOS.Admin"), 200),
    ):
        assert (await call(portal.main.runs.get, parts=parts, headers=who)).status == status


@pytest.mark.parametrize("claim", ["roles", ROLE])
async def test_the_role_admin_makes_an_admin_under_either_name_of_the_claim(
    portal: InMemory, claim: str
) -> None:
    versions, parts = portal.main.agents.versions, {"agent_id": "ceo"}
    boss = principal((OBJECT_ID, BOB), (claim, "Other"), (claim, "AOS.Admin"))
    assert (await call(versions, parts=parts, headers=boss)).status == 200
    assert "catalog_version" in (await call(portal.main.about.status, headers=boss)).body
    for role in ("aos.admin", "AOS.Admin,AOS.Approver", "AOS.Approver"):
        other = principal((OBJECT_ID, BOB), (claim, role), ("groups", "AOS.Admin"))
        reply = await call(versions, parts=parts, headers=other)
        assert (reply.status, reply.code) == (403, "forbidden")
        assert "app role AOS.Admin" in reply.message


def test_the_role_approver_goes_with_the_caller() -> None:
    assert read_principal(user(ALICE, "AOS.Approver")) == Caller(owner=ALICE, is_approver=True)
    assert read_principal(user(ALICE)) == Caller(owner=ALICE)


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("%%%", "not base64"),
        ("a", "not base64"),
        ("é", "not base64"),
        (encoded(b"{"), "ends too early"),
        (encoded(b"\xff\xfe"), "UTF-8"),
        (encoded(b"[]"), "no list of claims"),
        (encoded(b"7"), "no list of claims"),
        (encoded(b'{"claims": {}}'), "no list of claims"),
        (encoded(b'{"claims": []}'), "neither an object id nor a subject"),
        (encoded(b'{"claims": [7, {"typ": "oid", "val": 7}, {}]}'), "neither an object id"),
        (encoded(b'{"claims": [{"typ": "oid", "val": ""}]}'), "its id"),
        (encoded(b'{"claims": [{"typ": "oid", "val": "key:1"}]}'), "its id"),
        (encoded(b'{"claims": [{"typ": "oid", "val": "' + b"a" * 129 + b'"}]}'), "its id"),
        (
            encoded(b'{"claims": [{"typ": "oid", "val": "a"}, {"typ": "oid", "val": "b"}]}'),
            "it has 2 different object ids",
        ),
        (encoded(b'{"claims": ' + b"[" * 9000 + b"]" * 9000 + b"}"), "level"),
        (encoded(b" " * 50_000), "characters, the limit is 65,536"),
    ],
    ids=lambda value: value[:24],
)
async def test_a_principal_that_is_none_is_refused_in_words_and_open_routes_stay_open(
    portal: InMemory, header: str, why: str
) -> None:
    headers = {"x-ms-client-principal": header}
    reply = await call(portal.main.runs.list, headers=headers)
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert why in reply.message
    assert len(reply.message) < 400
    status = await call(portal.main.about.status, headers=headers)
    assert status.body == {"version": "2.0.0", "environment": "dev"}


@pytest.mark.parametrize(
    "settings",
    [
        {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"},
        {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "WEBSITE_AUTH_ENABLED": ""},
        {"WEBSITE_AUTH_ENABLED": ""},
        {"WEBSITE_AUTH_ENABLED": "False"},
    ],
    ids=["laptop that lies", "laptop", "Azure without sign-in", "sign-in switched off"],
)
async def test_where_no_platform_signs_in_nobody_gets_in_whatever_the_headers(
    settings: dict[str, str],
) -> None:
    apps = signing_in(**settings)
    forged = {**user(ALICE, "AOS.Admin"), "x-functions-key": "k"}
    reply = await call(apps.main.runs.list, headers=forged)
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert "App Service Authentication" in reply.message
    status = await call(apps.main.about.status, headers=forged)
    assert status.body == {"version": "2.0.0", "environment": "dev"}
    assert (await call(apps.main.about.health)).status == 200


async def test_with_keys_a_principal_means_nothing() -> None:
    apps = signing_in(AOS_AUTH="keys")
    assert (await call(apps.main.runs.list, headers=user(ALICE, "AOS.Admin"))).status == 401
