"""What a page in the laptop's browser gets from apps that ask for no key: nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from aos.entrypoints.http.laptop import is_loopback
from tests.unit.entrypoints.laptop_in_memory import InMemory, call

CARD = {"agent_id": "spy", "purpose": "Spy."}
FROM_ELSEWHERE: dict[str, dict[str, str]] = {
    "a name that was bound anew": {"host": "evil.example:7071"},
    "localhost as a part of a name": {"host": "localhost.evil.example"},
    "a name of all zeros": {"host": "0.0.0.0:7071"},
    "a number": {"host": "2130706433"},
    "a page from elsewhere": {"origin": "https://evil.example"},
    "a page in a sandbox": {"origin": "null"},
    "a file": {"origin": "file://"},
    "an extension": {"origin": "chrome-extension://abcdef"},
    "a name that begins like ours": {"origin": "http://localhost.evil.example"},
    "a user named like us": {"origin": "http://localhost:80@evil.example"},
    "another site": {"sec-fetch-site": "cross-site"},
    "a word of tomorrow": {"sec-fetch-site": "cross-origin"},
    "an empty origin": {"origin": ""},
}
OF_THIS_MACHINE: dict[str, dict[str, str]] = {
    "a program": {},
    "a name": {"host": "localhost:7071"},
    "a name with a dot": {"host": "LOCALHOST.:7071"},
    "another address": {"host": "127.8.9.10"},
    "the sixth version": {"host": "[::1]:7071"},
    "the sixth version at length": {"host": "[0:0:0:0:0:0:0:1]"},
    "a page of ours": {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    "the person at the browser": {"sec-fetch-site": "none"},
}


@pytest.mark.parametrize("who", FROM_ELSEWHERE)
async def test_a_page_from_elsewhere_reads_and_starts_nothing(apps: InMemory, who: str) -> None:
    headers = FROM_ELSEWHERE[who]
    main = apps.main
    replies = [
        await call(main.runs.list, "GET", headers=headers),
        await call(main.about.health, "GET", headers=headers),
        await call(main.contract.not_found, "GET", headers=headers),
        await apps.ask({"message": "Hello", "wait_seconds": 0}, headers=headers),
        await call(main.agents.put, "PUT", body=CARD, parts={"agent_id": "spy"}, headers=headers),
        await call(main.mcp_servers.put, "PUT", body={}, parts={"server_id": "s"}, headers=headers),
        await call(apps.realm.about.status, "GET", headers=headers),
    ]
    assert [(reply.status, reply.code) for reply in replies] == [(403, "forbidden")] * 7
    assert "AOS_AUTH" in replies[0].message
    listed = await call(main.runs.list, "GET")
    assert listed.body["items"] == []


@pytest.mark.parametrize("who", OF_THIS_MACHINE)
async def test_this_machine_is_served(apps: InMemory, who: str) -> None:
    headers = OF_THIS_MACHINE[who]
    assert (await call(apps.main.runs.list, "GET", headers=headers)).status == 200
    asked = await apps.ask({"message": "Hello", "wait_seconds": 0}, headers=headers)
    assert asked.status == 202


@pytest.mark.parametrize("media", ["", " ", ";charset=utf-8"])
async def test_a_body_without_a_type_is_415(apps: InMemory, media: str) -> None:
    reply = await apps.ask({"message": "Hello"}, headers={"content-type": media})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in reply.message


@pytest.mark.parametrize(
    "page",
    [{"origin": "http://localhost:3000"}, {"sec-fetch-site": "same-site"}],
    ids=["origin", "site"],
)
async def test_a_page_cannot_send_a_text_that_needs_no_preflight(
    apps: InMemory, page: Mapping[str, str]
) -> None:
    typed = {"content-type": "Text/Plain;application/json"}
    reply = await apps.ask(b"Hello", headers={**typed, **page})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    by_program = await apps.ask(b"Hello", headers={**typed, "prefer": "respond-async"})
    assert by_program.status == 202


async def test_with_keys_the_browser_is_not_asked_where_it_is_from() -> None:
    apps = InMemory({"AOS_AUTH": "keys"})
    headers = {"origin": "https://app.example", "host": "aos.example", "x-functions-key": "k"}
    assert (await call(apps.main.runs.list, "GET", headers=headers)).status == 200
    body = json.dumps({"message": "Hello"}).encode()
    reply = await apps.ask(body, headers={**headers, "content-type": ""})
    assert reply.code == "agent_not_found"


@pytest.mark.parametrize(
    "authority",
    [
        "", ":7071", "localhost:", "localhost:123456", "127.0.0.1:x", "127.1", "127.0.0.01", "::1",
        "[::1", "[::2]", "[::ffff:127.0.0.1]", "[::1%25lo]", "user@localhost", "localhost,evil",
        "localhost/..", "localhost\\.evil", "localhost evil", "evil#localhost", "128.0.0.1",
        "①27.0.0.1", "app.localhost", "local\u212aost",
    ],
)  # fmt: skip
def test_only_what_is_parsed_as_loopback_is_loopback(authority: str) -> None:
    assert is_loopback(authority) is (authority == "localhost:")
