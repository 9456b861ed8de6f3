"""Rubbish gets a typed error or a dead letter at every door; the next good request is served."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from azure.servicebus.amqp import AmqpAnnotatedMessage

from tests.e2e.road import REQUESTS, Road, eventually

BIG = "x" * (1024 * 1024 + 1)
RUN: dict[str, Any] = {"version": 1, "agent_id": "AGENT", "message": "Hello"}


@pytest.fixture(scope="module")
def agent(road: Road) -> str:
    return road.live(f"rubbish-{uuid.uuid4().hex[:8]}")


HTTP: dict[str, tuple[str, str, Any, dict[str, str], int, str]] = {
    "not JSON": ("POST", "/run", b"{", {}, 400, "invalid_request"),
    "no body": ("POST", "/run", b"", {}, 400, "invalid_request"),
    "a list": ("POST", "/run", [], {}, 400, "invalid_request"),
    "not UTF-8": ("POST", "/run", b'{"message": "\xff"}', {}, 400, "invalid_request"),
    "no message": ("POST", "/run", {}, {}, 400, "invalid_request"),
    "null message": ("POST", "/run", {"message": None}, {}, 400, "invalid_request"),
    "empty message": ("POST", "/run", {"message": ""}, {}, 400, "invalid_request"),
    "a number as message": ("POST", "/run", {"message": 7}, {}, 400, "invalid_request"),
    "parts of no known type": (
        "POST",
        "/run",
        {"message": [{"type": "image"}]},
        {},
        400,
        "invalid_request",
    ),
    "no parts": ("POST", "/run", {"message": []}, {}, 400, "invalid_request"),
    "duplicate keys": (
        "POST",
        "/run",
        b'{"message": "a", "message": "b"}',
        {},
        400,
        "invalid_request",
    ),
    "NaN": (
        "POST",
        "/run",
        b'{"message": "a", "metadata": {"x": NaN}}',
        {},
        400,
        "invalid_request",
    ),
    "a lone surrogate": ("POST", "/run", b'{"message": "\\ud800"}', {}, 400, "invalid_request"),
    "deep nesting": (
        "POST",
        "/run",
        b'{"message": "a", "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        {},
        400,
        "invalid_request",
    ),
    "metadata of no object": (
        "POST",
        "/run",
        {"message": "a", "metadata": []},
        {},
        400,
        "invalid_request",
    ),
    "a conversation id with a slash": (
        "POST",
        "/run",
        {"message": "a", "conversation_id": "a/b"},
        {},
        400,
        "invalid_request",
    ),
    "a conversation id of 129": (
        "POST",
        "/run",
        {"message": "a", "conversation_id": "c" * 129},
        {},
        400,
        "invalid_request",
    ),
    "wait_seconds of text": (
        "POST",
        "/run",
        {"message": "a", "wait_seconds": "10"},
        {},
        400,
        "invalid_request",
    ),
    "wait_seconds below nothing": (
        "POST",
        "/run",
        {"message": "a", "wait_seconds": -1},
        {},
        400,
        "invalid_request",
    ),
    "wait_seconds of 231": (
        "POST",
        "/run",
        {"message": "a", "wait_seconds": 231},
        {},
        400,
        "invalid_request",
    ),
    "a reply_to of nobody": (
        "POST",
        "/run",
        {"message": "a", "reply_to": "aos-realm"},
        {},
        400,
        "invalid_request",
    ),
    "more than a megabyte": ("POST", "/run", {"message": BIG}, {}, 413, "too_large"),
    "XML": (
        "POST",
        "/run",
        b"<a/>",
        {"Content-Type": "application/xml"},
        415,
        "unsupported_media_type",
    ),
    "an endless idempotency key": (
        "POST",
        "/run",
        {"message": "a"},
        {"Idempotency-Key": "k" * 2000},
        400,
        "invalid_request",
    ),
}
PATHS = {
    "/api/runs/no-such-run": "run_not_found",
    "/api/runs/%00": "run_not_found",
    "/api/conversations/no-such": "conversation_not_found",
    "/api/conversations/a%2Fb/messages": "conversation_not_found",
    "/api/agents/NO%20SUCH": "agent_not_found",
    "/api/schemas/none.json": "schema_not_found",
    "/api/no/such/path": "not_found",
    "/api/not-there": "not_found",
}
QUERIES = [
    "/api/runs?status=sleeping",
    "/api/runs?since=yesterday",
    "/api/runs?limit=0",
    "/api/runs?limit=many",
    "/api/runs?after=%ff%fe",
]
MESSAGES: dict[str, Any] = {
    "no agent": {"version": 1, "message": "a"},
    "no message": {"version": 1, "agent_id": "AGENT"},
    "an empty message": {**RUN, "message": ""},
    "a number as message": {**RUN, "message": 1},
    "a number as agent": {**RUN, "agent_id": 1},
    "version 2": {**RUN, "version": 2},
    "version true": {**RUN, "version": True},
    "an unknown type": {**RUN, "type": "run.dance"},
    "a bad conversation id": {**RUN, "conversation_id": "a b"},
    "metadata of text": {**RUN, "metadata": "x"},
    "a cancel of nothing": {"version": 1, "type": "run.cancel"},
    "a cancel of nobody": {"version": 1, "type": "run.cancel", "run_id": "nobody"},
    "duplicate keys": b'{"version": 1, "agent_id": "a", "agent_id": "b", "message": "x"}',
    "a lone surrogate": b'{"version": 1, "agent_id": "a", "message": "\\udfff"}',
}
DEAD: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"hello",
    "a list": b"[1]",
    "a text": b'"hello"',
    "not UTF-8": b'{"agent_id": "\xff\xfe"}',
    "UTF-16": json.dumps(RUN).encode("utf-16"),
}


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_malformed_run_request_is_refused(road: Road, agent: str, kind: str) -> None:
    method, path, body, headers, status, code = HTTP[kind]
    answer = road.call(method, f"/api/agents/{agent}{path}", body, headers=headers)
    assert (answer.status, answer.code) == (status, code)
    error = answer.body["error"]
    assert set(error) == {"code", "message", "type", "retryable", "details"}
    assert len(error["message"]) > 10


@pytest.mark.parametrize(
    ("app", "method", "path"),
    [
        ("main", "POST", "/api/agents/AGENT/run"),
        ("main", "PUT", "/api/agents/AGENT"),
        ("mcp", "POST", "/api/mcp/any"),
    ],
)
def test_a_body_without_its_length_is_refused_and_with_it_taken(
    road: Road, agent: str, app: str, method: str, path: str
) -> None:
    body = iter([json.dumps({"message": "Hello"}).encode()])
    answer = road.call(method, path.replace("AGENT", agent), body, app=app)
    assert (answer.status, answer.code) == (411, "length_required")
    assert road.ask(agent, "Hello").status == 200


def test_unknown_paths_and_ids_are_not_found(road: Road) -> None:
    for path, code in PATHS.items():
        answer = road.call("GET", path)
        assert (answer.status, answer.code) == (404, code), path


def test_malformed_queries_are_refused(road: Road) -> None:
    for path in QUERIES:
        answer = road.call("GET", path)
        assert (answer.status, answer.code) == (400, "invalid_request"), path


def test_malformed_messages_are_refused_with_a_reply(road: Road, agent: str) -> None:
    dead_before = len(road.dead_letters())
    for kind, body in MESSAGES.items():
        raw = body if isinstance(body, bytes) else json.dumps(body).replace("AGENT", agent).encode()
        key = road.send(raw)
        reply = road.reply_to(key)
        assert reply["type"] == "run.refused", kind
        assert reply["status"] == "refused", kind
        assert reply["error"]["code"] in {"invalid_request", "run_not_found"}, (kind, reply)
    assert len(road.dead_letters()) == dead_before


def test_a_forged_property_in_the_body_changes_nothing(road: Road, agent: str) -> None:
    """Without bytes the host would let body fields overwrite the message's own properties."""
    forged = {
        **RUN,
        "agent_id": agent,
        "MessageId": "forged",
        "correlationId": "forged",
        "replyTo": "aos-realm",
        "deliveryCount": "x",
        "applicationProperties": {"aos_owner": "somebody"},
    }
    key = road.send(forged)
    reply = road.reply_to(key)
    assert reply["type"] == "run.completed"


def test_a_reply_address_that_is_not_listed_is_refused_on_the_default_queue(
    road: Road, agent: str
) -> None:
    key = road.send({**RUN, "agent_id": agent}, reply_to="aos-realm")
    reply = road.reply_to(key)
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", "invalid_request")


def test_what_is_no_json_object_is_dead_lettered_within_thirty_seconds(
    road: Road, agent: str
) -> None:
    keys = {kind: road.send(body) for kind, body in DEAD.items()}
    started = time.monotonic()

    def all_dead() -> bool:
        dead = {str(message.message_id) for message in road.dead_letters()}
        return set(keys.values()) <= dead

    eventually(lambda: all_dead() or None, seconds=30, every=0.5)
    assert time.monotonic() - started < 30
    assert road.reply_to(road.request(agent, "Hello"))["type"] == "run.completed"


def test_value_and_sequence_bodies_are_dead_lettered(road: Road, agent: str) -> None:
    with road.bus.get_queue_sender(REQUESTS) as sender:
        keys = []
        for body in ({"value_body": "hello"}, {"sequence_body": [[1, 2]]}):
            key = f"m-{uuid.uuid4().hex}"
            keys.append(key)
            sender.send_messages(AmqpAnnotatedMessage(**body, properties={"message_id": key}))
    eventually(
        lambda: set(keys) <= {str(m.message_id) for m in road.dead_letters()} or None,
        seconds=30,
        every=0.5,
    )


def test_rubbish_between_the_apps_is_dead_lettered_and_work_goes_on(road: Road, agent: str) -> None:
    for queue, session in (("aos-main", None), ("aos-realm", "s-1")):
        key = road.send(b"rubbish", entity=queue, session_id=session)
        eventually(
            lambda q=queue, k=key: (  # type: ignore[misc]
                k in {str(m.message_id) for m in road.dead_letters(q)} or None
            ),
            seconds=30,
            every=0.5,
        )
    assert road.ask(agent, "Hello").status == 200
