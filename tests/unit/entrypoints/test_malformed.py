"""Malformed requests: each is refused with one line that says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.entrypoints.laptop_in_memory import InMemory, call

JSON = "application/json"
BODIES: list[tuple[str, object, str]] = [
    ("nothing", b"", "empty"),
    ("blanks", b"  \n ", "empty"),
    ("not JSON", b"{message: hello}", "double quotes"),
    ("cut off", b'{"message": "Hello"', "ends too early"),
    ("two values", b'{"message": "a"} {}', "after the end"),
    ("a list", b'["Hello"]', "must be a JSON object"),
    ("a text", b'"Hello"', "must be a JSON object"),
    ("null", b"null", "must be a JSON object"),
    ("UTF-16", '{"message": "a"}'.encode("utf-16"), "UTF-8"),
    ("Latin-1", b'{"message": "\xfc"}', "UTF-8"),
    ("the same name twice", b'{"message": "a", "message": "b"}', "appears twice"),
    ("NaN", b'{"message": "a", "metadata": {"x": NaN}}', "NaN"),
    ("Infinity", b'{"message": "a", "wait_seconds": Infinity}', "Infinity"),
    ("a number too large", b'{"message": "a", "metadata": {"x": 1e999}}', "too large"),
    (
        "an integer too large",
        b'{"message": "a", "metadata": {"x": ' + b"9" * 400 + b"}}",
        "too large",
    ),
    ("a lone surrogate", b'{"message": "\\ud800"}', "surrogate"),
    ("a lone surrogate in a name", b'{"message": "a", "metadata": {"\\udfff": 1}}', "surrogate"),
    (
        "nested too deep",
        b'{"message": "a", "metadata": ' + b'{"a":' * 50 + b"1" + b"}" * 51,
        "deeper",
    ),
    ("no message", {}, "message is missing; add it"),
    ("null for a message", {"message": None}, "message is null; write a text"),
    ("an empty message", {"message": ""}, 'message is ""; write a text'),
    ("a blank message", {"message": " \n\t "}, "write a text that is not empty"),
    ("a number for a message", {"message": 7}, "message is 7; write a text"),
    ("an object for a message", {"message": {"text": "a"}}, "message is an object; write a text"),
    ("no parts", {"message": []}, "message is a list; write a text"),
    ("a part that is text", {"message": ["a"]}, "message[0]"),
    ("a part without a type", {"message": [{"text": "a"}]}, "message[0].type is missing"),
    ("a part of another type", {"message": [{"type": "video", "text": "a"}]}, "message[0].type"),
    ("a part without text", {"message": [{"type": "text"}]}, "message[0].text is missing"),
    ("a part with an empty text", {"message": [{"type": "text", "text": ""}]}, "message[0].text"),
    ("another version", {"message": "a", "version": 2}, "version is 2; write 1"),
    ("true for a version", {"message": "a", "version": True}, "version is true; write 1"),
    ("a conversation with a slash", {"message": "a", "conversation_id": "a/b"}, "conversation_id"),
    ("a conversation of spaces", {"message": "a", "conversation_id": " "}, "conversation_id"),
    ("an empty conversation", {"message": "a", "conversation_id": ""}, "conversation_id"),
    ("a long conversation", {"message": "a", "conversation_id": "c" * 129}, "129 characters"),
    ("a number for a conversation", {"message": "a", "conversation_id": 7}, "conversation_id is 7"),
    ("a line end in a conversation", {"message": "a", "conversation_id": "a\n"}, "conversation_id"),
    (
        "a list for metadata",
        {"message": "a", "metadata": []},
        "metadata is a list; write an object",
    ),
    ("text for wait_seconds", {"message": "a", "wait_seconds": "10"}, "without quotes"),
    ("true for wait_seconds", {"message": "a", "wait_seconds": True}, "wait_seconds is true"),
    ("less than no wait", {"message": "a", "wait_seconds": -1}, "from 0 to 230"),
    ("too long a wait", {"message": "a", "wait_seconds": 230.5}, "from 0 to 230"),
    ("a reply_to of nobody", {"message": "a", "reply_to": "aos-realm"}, "AOS_REPLY_TO"),
    ("an empty reply_to", {"message": "a", "reply_to": ""}, "reply_to"),
    ("a number for correlation_id", {"message": "a", "correlation_id": 1}, "correlation_id is 1"),
    ("text for waitForResponse", {"message": "a", "waitForResponse": "yes"}, "true or false"),
    ("a sessionId with a space", {"message": "a", "sessionId": "a b"}, "sessionId"),
    (
        "two conversations",
        {"message": "a", "sessionId": "a", "conversation_id": "b"},
        "different conversations",
    ),
]


@pytest.mark.parametrize(("body", "says"), [row[1:] for row in BODIES], ids=[r[0] for r in BODIES])
async def test_a_malformed_body_is_400_and_stores_nothing(
    apps: InMemory, body: object, says: str
) -> None:
    reply = await apps.ask(body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert says in reply.message
    assert "\n" not in reply.message
    assert reply.body["error"]["type"] == "caller"
    assert set(reply.body["error"]) == {"code", "message", "type", "retryable", "details"}
    assert not apps.tables.requests
    assert not apps.tables.pending


@pytest.mark.parametrize(
    "headers",
    [
        {"idempotency-key": ""},
        {"idempotency-key": "k" * 257},
        {"idempotency-key": "naïve"},
        {"idempotency-key": "a\tb"},
        {"x-ms-session-id": "a/b"},
        {"x-ms-session-id": ""},
    ],
)
async def test_a_header_that_cannot_be_used_is_400(apps: InMemory, headers: dict[str, str]) -> None:
    reply = await apps.ask({"message": "Hello"}, headers=headers)
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "media",
    [
        "application/xml",
        "text/html",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        'text/plain; charset="latin-1"',
        "nonsense",
    ],
)
async def test_another_media_type_is_415(apps: InMemory, media: str) -> None:
    reply = await apps.ask(b'{"message": "Hello"}', headers={"content-type": media})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", [JSON, "Application/JSON; charset=UTF-8", "application/ld+json"])
async def test_json_is_taken_under_any_of_its_names(apps: InMemory, media: str) -> None:
    reply = await apps.ask({"message": "Hello", "wait_seconds": 0}, headers={"content-type": media})
    assert reply.status == 202


async def test_a_body_over_the_limit_is_413_before_it_is_parsed(apps: InMemory) -> None:
    reply = await apps.ask(b"x" * (1024 * 1024 + 1))
    assert (reply.status, reply.code) == (413, "too_large")


async def test_a_message_over_the_operators_limit_is_413() -> None:
    apps = InMemory({"AOS_MAX_MESSAGE_BYTES": "1000"})
    for text, status in (("x" * 1001, 413), ("ü" * 501, 413), ("ü" * 500, 404)):
        assert (await apps.ask({"message": text})).status == status


async def test_metadata_over_16_kib_is_413(apps: InMemory) -> None:
    reply = await apps.ask({"message": "a", "metadata": {"x": "y" * 16_384}})
    assert (reply.status, reply.code) == (413, "too_large")
    assert not apps.tables.requests


@pytest.mark.parametrize(
    "query",
    [
        "status=sleeping",
        "status=",
        "status=completed&status=failed",
        "since=yesterday",
        "since=2030-01-01",
        "since=2030-01-01T00:00:00",
        "since=2030-13-01T00:00:00Z",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=1.5",
        "limit=",
        "limit=%D9%A1",
        "agent_id=Not%20An%20Id",
        "after=x",
        "after=%ff%fe",
        "after=AAAAAAAA",
        "after=%F0%9F%98%80",
    ],
)
async def test_a_malformed_query_is_400(apps: InMemory, query: str) -> None:
    reply = await call(apps.main.runs.list, query=query)
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01T00:00:00Z",
        "since=9999-12-31T23:59:60Z",
        "since=2030-01-01t00:00:00z",
        "since=9999-12-31T23:59:59-23:59",
        "since=0001-01-01T00:00:00%2B23:59",
        "since=2030-01-01T00:00:00.123456789Z",
        "colour=red",
        "status=timed_out",
        "limit=100",
        "agent_id=nobody",
    ],
)
async def test_a_query_that_can_be_understood_is_answered(apps: InMemory, query: str) -> None:
    reply = await call(apps.main.runs.list, query=query)
    assert (reply.status, reply.body["next"]) == (200, None)


@pytest.mark.parametrize("agent_id", ["nobody", "CEO", "a b", "x" * 64, "..", "ceo\x00"])
async def test_an_unknown_agent_is_404_even_when_its_id_is_malformed(
    apps: InMemory, agent_id: str
) -> None:
    parts: dict[str, Any] = {"agent_id": agent_id}
    asked = await apps.ask({"message": "Hello"}, parts=parts)
    read = await call(apps.main.agents.get, parts=parts)
    assert {(r.status, r.code) for r in (asked, read)} == {(404, "agent_not_found")}


async def test_the_next_good_request_is_served(apps: InMemory) -> None:
    for body in (b"{", b"\xff", {"message": 7}):
        await apps.ask(body)
    async with apps.pumping():
        assert (await apps.ask({"message": "Hello"})).status == 200


@pytest.mark.parametrize("piece", [b"0,", b"[],", b"{},", b'"",'])
async def test_a_body_of_too_many_values_is_400_before_it_is_taken_apart(
    apps: InMemory, piece: bytes
) -> None:
    reply = await apps.ask(b'{"message": "Hello", "more": [' + piece * 50_001 + b"0]}")
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "more than 50,000 values" in reply.message


async def test_commas_in_a_text_are_no_values(apps: InMemory) -> None:
    text = 'a\\",' * 60_000
    reply = await apps.ask(f'{{"message": "{text}", "wait_seconds": 0}}'.encode())
    assert reply.status == 202
