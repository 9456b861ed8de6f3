"""Service Bus messages: what is answered, what is sent on for later, what is given up."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.envelope import MAIN_QUEUE, REALM_QUEUE, REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.domain.runs.conversation import Step
from aos.errors import SessionLost, StaleWrite, TransientError
from aos.testing.triggers import make_trigger_message
from tests.unit.entrypoints.laptop_in_memory import InMemory

ASK = {"version": 1, "agent_id": "ceo", "message": "Hello", "metadata": {"ticket": 7}}


def body_of(apps: InMemory, place: int = -1) -> Any:
    return json.loads(apps.replies()[place].body)


async def test_a_request_gets_one_reply_with_the_contracts_properties(apps: InMemory) -> None:
    apps.model.then("Sell.")
    apps.send(ASK, message_id="order-1", correlation_id="c-1", reply_to_session_id="s-1")
    await apps.settle()
    (kept,) = apps.replies()
    reply = json.loads(kept.body)
    assert kept.message_id == f"{reply['run_id']}:reply"
    assert (kept.correlation_id, kept.session_id) == ("c-1", "s-1")
    assert (reply["version"], reply["type"], reply["output"]) == (1, "run.completed", "Sell.")
    assert reply["metadata"] == {"ticket": 7}
    stored = await apps.world.requests.find(reply["run_id"])
    assert stored is not None
    assert (stored.request.owner, stored.request.door) == ("queue:aos-requests", "queue")


async def test_without_a_correlation_id_the_message_id_correlates(apps: InMemory) -> None:
    apps.send(ASK, message_id="order-1")
    await apps.settle()
    (kept,) = apps.replies()
    assert (kept.correlation_id, kept.session_id) == ("order-1", body_of(apps)["conversation_id"])


async def test_the_property_aos_owner_says_whose_run_it_is(apps: InMemory) -> None:
    apps.send(ASK, properties={"aos_owner": "sales"})
    await apps.settle()
    stored = await apps.world.requests.find(body_of(apps)["run_id"])
    assert stored is not None
    assert stored.request.owner == "queue:sales"


@pytest.mark.parametrize("claimed", ["local", "key:abc", "agent:ceo", "0f8fad5b", "queue:sales"])
async def test_the_queue_cannot_claim_an_owner_of_another_door(
    apps: InMemory, claimed: str
) -> None:
    mine = await apps.ask({"message": "Hello", "conversation_id": "mine", "wait_seconds": 0})
    await apps.settle()
    apps.send({**ASK, "conversation_id": "mine"}, properties={"aos_owner": claimed})
    apps.send(
        {"type": "run.cancel", "run_id": mine.body["run_id"]},
        message_id="m-2",
        properties={"aos_owner": claimed},
    )
    await apps.settle()
    codes = [json.loads(kept.body)["error"]["code"] for kept in apps.replies()]
    assert sorted(codes) == ["conversation_not_found", "run_not_found"]


async def test_a_body_cannot_forge_what_the_broker_says(apps: InMemory) -> None:
    apps.send(
        {**ASK, "aos_owner": "boss", "message_id": "x", "reply_to": "aos-realm", "deliveryCount": 9}
    )
    await apps.settle()
    stored = await apps.world.requests.find(body_of(apps)["run_id"])
    assert stored is not None
    assert stored.request.owner == "queue:aos-requests"


async def test_the_same_message_id_again_is_answered_again_without_a_second_run(
    apps: InMemory,
) -> None:
    apps.send(ASK, message_id="order-1")
    await apps.settle()
    apps.clock.advance(3600)  # the broker's memory for duplicates has ended
    apps.send(ASK, message_id="order-1", correlation_id="another")
    await apps.settle()
    first, second = apps.replies()
    assert (second.message_id, second.body) == (first.message_id, first.body)
    assert second.correlation_id == first.correlation_id
    assert len(apps.model.calls) == 1


REFUSED: list[tuple[str, object, dict[str, Any], str]] = [
    ("no agent", {"message": "a"}, {}, "invalid_request"),
    ("an unknown agent", {**ASK, "agent_id": "nobody"}, {}, "agent_not_found"),
    ("an impossible agent", {**ASK, "agent_id": "No Body"}, {}, "agent_not_found"),
    ("no message", {"agent_id": "ceo"}, {}, "invalid_request"),
    ("an empty message", {**ASK, "message": ""}, {}, "invalid_request"),
    ("another version", {**ASK, "version": 2}, {}, "invalid_request"),
    ("true for a version", {**ASK, "version": True}, {}, "invalid_request"),
    ("an unknown type", {**ASK, "type": "run.dance"}, {}, "invalid_request"),
    ("no text for a type", {**ASK, "type": {"a": 1}}, {}, "invalid_request"),
    ("a decision", {"type": "approval.decide", "run_id": "r"}, {}, "invalid_request"),
    ("a bad conversation", {**ASK, "conversation_id": "a b"}, {}, "invalid_request"),
    ("text for metadata", {**ASK, "metadata": "x"}, {}, "invalid_request"),
    ("an empty object", {}, {}, "invalid_request"),
    ("the same name twice", b'{"agent_id": "a", "agent_id": "b"}', {}, "invalid_request"),
    ("a lone surrogate", b'{"agent_id": "ceo", "message": "\\ud800"}', {}, "invalid_request"),
    ("NaN", b'{"agent_id": "ceo", "message": "a", "metadata": {"x": NaN}}', {}, "invalid_request"),
    ("deep nesting", b'{"metadata": ' + b'{"a":' * 100 + b"1" + b"}" * 101, {}, "invalid_request"),
    ("a reply_to of nobody", ASK, {"reply_to": "aos-realm"}, "invalid_request"),
    ("an owner that is no text", ASK, {"properties": {"aos_owner": 7}}, "invalid_request"),
    ("an owner of two lines", ASK, {"properties": {"aos_owner": "a\nb"}}, "invalid_request"),
    ("an owner with NUL", ASK, {"properties": {"aos_owner": "a\0b"}}, "invalid_request"),
    ("half an owner", ASK, {"properties": {"aos_owner": "\ud800"}}, "invalid_request"),
    ("a cancel of nothing", {"type": "run.cancel"}, {}, "invalid_request"),
    ("a cancel of nobody", {"type": "run.cancel", "run_id": "nobody"}, {}, "run_not_found"),
    ("a cancel of nonsense", {"type": "run.cancel", "run_id": "a/b"}, {}, "run_not_found"),
    ("too much metadata", {**ASK, "metadata": {"x": "y" * 20_000}}, {}, "too_large"),
]


@pytest.mark.parametrize(
    ("body", "properties", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_every_json_object_gets_a_reply(
    apps: InMemory, body: object, properties: dict[str, Any], code: str
) -> None:
    apps.send(body, message_id="m-9", **properties)
    await apps.settle()
    (kept,) = apps.replies()
    reply = json.loads(kept.body)
    assert (reply["type"], reply["status"], reply["error"]["code"]) == (
        "run.refused",
        "refused",
        code,
    )
    assert kept.message_id is not None
    assert kept.message_id.startswith(f"{reply['run_id']}:refused:")
    assert kept.correlation_id == "m-9"
    assert (reply["output"], reply["usage"], reply["created_at"]) == (None, None, None)
    assert not apps.broker.dead_letters(REQUESTS_QUEUE)
    assert not apps.tables.requests


async def test_a_refusal_echoes_ids_and_metadata(apps: InMemory) -> None:
    apps.send({**ASK, "agent_id": "nobody", "conversation_id": "board"})
    await apps.settle()
    reply = body_of(apps)
    assert (reply["agent_id"], reply["conversation_id"]) == ("nobody", "board")
    assert reply["metadata"] == {"ticket": 7}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[1]",
        b'"hello"',
        b"null",
        b'{"agent_id": "\xff"}',
        json.dumps(ASK).encode("utf-16"),
        b'{"agent_id": "ceo"',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_json_object_is_dead_lettered_without_a_reply(
    apps: InMemory, body: bytes
) -> None:
    apps.send(body)
    started = apps.clock.monotonic()
    await apps.settle()
    assert len(apps.broker.dead_letters(REQUESTS_QUEUE)) == 1
    assert apps.clock.monotonic() - started < 30
    assert not apps.replies()
    apps.send(ASK, message_id="good")
    await apps.settle()
    assert body_of(apps)["type"] == "run.completed"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (json.dumps(json.dumps(ASK)).encode(), "not JSON.stringify"),
        (b'"hello"', "not JSON.stringify"),
        (b"[1]", "not a JSON object"),
    ],
)
async def test_the_log_says_what_to_send_instead(apps: InMemory, body: bytes, says: str) -> None:
    """The JavaScript SDK writes a text as a JSON string."""
    apps.send(body)
    await apps.settle()
    reasons = {
        line["reason"] for line in apps.telemetry.lines if line["event"] == "message_unreadable"
    }
    (reason,) = reasons
    assert says in reason


async def test_another_owners_run_and_conversation_are_not_found(apps: InMemory) -> None:
    apps.send({**ASK, "conversation_id": "board"}, properties={"aos_owner": "sales"})
    await apps.settle()
    run_id = body_of(apps)["run_id"]
    apps.send({**ASK, "conversation_id": "board"}, message_id="m-2")
    apps.send({"type": "run.cancel", "run_id": run_id}, message_id="m-3")
    await apps.settle()
    codes = [json.loads(kept.body)["error"]["code"] for kept in apps.replies()[1:]]
    assert sorted(codes) == ["conversation_not_found", "run_not_found"]


async def test_a_cancel_is_taken_without_a_reply_of_its_own(apps: InMemory) -> None:
    apps.send(ASK)
    await apps.settle()
    run_id = body_of(apps)["run_id"]
    apps.send({"type": "run.cancel", "run_id": run_id}, message_id="m-2")
    await apps.settle()
    assert len(apps.replies()) == 1


async def test_a_reply_too_large_for_the_bus_says_where_its_output_is() -> None:
    apps = InMemory({"AOS_PUBLIC_URL": "https://aos.example/"})
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    apps.model.then("x" * 250_000)
    apps.send(ASK)
    await apps.settle()
    reply = body_of(apps)
    assert (reply["type"], reply["output"], reply["output_parts"]) == ("run.completed", None, None)
    assert reply["details"] == {"url": f"https://aos.example/api/runs/{reply['run_id']}"}
    assert all(len(kept.body) < 256 * 1024 for kept in apps.broker.messages("agent-events"))
    apps.clock.advance(3600)  # the broker's memory for duplicates has ended
    apps.send(ASK)
    await apps.settle()
    assert body_of(apps) == reply


async def test_a_short_outage_is_waited_out_in_the_handler(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, failures = apps.world.requests.find, [1, 2, 3]

    async def sometimes(run_id: str) -> Any:
        if failures:
            failures.pop()
            raise TransientError("storage is away")
        return await find(run_id)

    monkeypatch.setattr(apps.world.requests, "find", sometimes)
    apps.send(ASK)
    await apps.settle()
    assert body_of(apps)["type"] == "run.completed"


async def test_a_long_outage_sends_the_message_on_with_a_growing_pause(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(run_id: str) -> Any:
        raise TransientError("storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(apps.world.requests, "find", away)
        apps.send(ASK, message_id="order-1", correlation_id="c", properties={"aos_owner": "sales"})
        pauses = []
        for _ in range(6):
            await apps.settle()
            (copy,) = apps.broker.messages(REQUESTS_QUEUE)
            pauses.append(round((copy.visible_at - apps.clock.now()) / timedelta(minutes=1)))
            apps.clock.advance((copy.visible_at - apps.clock.now()).total_seconds())
    assert pauses == [1, 2, 4, 8, 15, 15]
    assert not apps.broker.dead_letters(REQUESTS_QUEUE)
    await apps.settle()
    (kept,) = apps.replies()
    stored = await apps.world.requests.find(body_of(apps)["run_id"])
    assert stored is not None
    assert (kept.correlation_id, stored.request.owner) == ("c", "queue:sales")


async def test_an_expired_request_is_refused(apps: InMemory) -> None:
    async def be_ready_late() -> None:
        apps.clock.advance(10)

    apps.main = apps.new_main(ready=be_ready_late)
    apps.send(ASK, ttl_seconds=5)
    await apps.settle()
    assert body_of(apps)["error"]["code"] == "request_expired"


async def test_a_bug_is_tried_again_and_then_said_not_dead_lettered(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(run_id: str) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(apps.world.requests, "find", broken)
    apps.send(ASK)
    await apps.settle()
    assert body_of(apps)["error"]["code"] == "internal_error"
    lines = [line for line in apps.telemetry.lines if line["event"] == "message_broken"]
    assert [line["delivery_count"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["traceback"] is not None for line in lines] == [True, *[False] * 5]


async def test_what_a_message_fails_with_says_that_it_is_logged(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(run_id: str) -> Any:
        raise SessionLost("another has it")

    monkeypatch.setattr(apps.world.requests, "find", broken)
    apps.send(ASK)
    kept = apps.broker.receive(REQUESTS_QUEUE)
    assert kept is not None
    with pytest.raises(SessionLost) as raised:
        await apps.main.requests.handle(make_trigger_message(kept.build_received()))
    assert raised.value.__notes__ == ["logged: session_lost"]
    assert [line["event"] for line in apps.telemetry.lines].count("session_lost") == 1


async def test_realm_ends_a_run_that_breaks_every_delivery(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(call: object) -> str:
        raise ZeroDivisionError

    apps.model.then(*[broken] * 20)
    apps.send(ASK)
    await apps.settle()
    reply = body_of(apps)
    assert (reply["type"], reply["error"]["code"]) == ("run.failed", "internal_error")
    assert not apps.broker.dead_letters(REALM_QUEUE)
    assert len(apps.model.calls) == 5, "the sixth delivery ends the run"


async def test_a_lost_session_is_abandoned_not_postponed(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [1, 2]
    save = apps.world.conversations.save

    async def sometimes(step: Any, **more: Any) -> str:
        if lost:
            lost.pop()
            raise StaleWrite("another has written")
        return await save(step, **more)

    monkeypatch.setattr(apps.world.conversations, "save", sometimes)
    apps.send(ASK)
    await apps.settle()
    assert body_of(apps)["type"] == "run.completed"
    events = [line["event"] for line in apps.telemetry.lines]
    assert (events.count("session_lost"), events.count("message_postponed")) == (2, 0)


async def test_realm_tries_a_command_that_it_cannot_give_up_ten_times(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(step: Step, **more: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(apps.world.conversations, "save", broken)
    apps.send(ASK)
    await apps.settle()
    lines = [line for line in apps.telemetry.lines if line["event"] == "message_broken"]
    assert [line["delivery_count"] for line in lines] == list(range(1, 11))
    assert len(apps.broker.dead_letters(REALM_QUEUE)) == 1


BLOB_EVENT = {
    "id": "1",
    "eventType": "Microsoft.Storage.BlobCreated",
    "subject": "/blobServices/default/containers/aos-config/blobs/agents/cfo.json",
    "data": {},
}
CLOUD_EVENT = {"specversion": "1.0", "type": "Microsoft.Storage.BlobDeleted", "id": "2"}


@pytest.mark.parametrize(
    "event", [BLOB_EVENT, [BLOB_EVENT], CLOUD_EVENT, {**CLOUD_EVENT, "type": "x"}]
)
async def test_a_blob_event_means_list_now(apps: InMemory, event: object) -> None:
    await apps.config.write("agents/cfo.json", b'{"agent_id": "cfo", "purpose": "Count."}')
    apps.broker.send(MAIN_QUEUE, json.dumps(event).encode(), message_id="e")
    await apps.settle()
    blob = await apps.config.read("status/agents/cfo.json")
    assert blob is not None
    assert json.loads(blob.body)["state"] == "active"


@pytest.mark.parametrize(
    ("queue", "body"),
    [
        (MAIN_QUEUE, b"hello"),
        (MAIN_QUEUE, b"[]"),
        (MAIN_QUEUE, b"[" * 3000),
        (MAIN_QUEUE, b'{"a":' * 3000),
        (MAIN_QUEUE, b'{"type": "RunEnded"}'),
        (MAIN_QUEUE, b'{"type": "Dance"}'),
        (REALM_QUEUE, b'{"version": 2, "type": "ContinueRun"}'),
        (REALM_QUEUE, b"\xff"),
        (REALM_QUEUE, b"[" * 3000),
        (REALM_QUEUE, b'{"type": "ContinueRun", "attempt": Infinity}'),
    ],
)
async def test_a_command_that_cannot_be_read_is_dead_lettered(
    apps: InMemory, queue: str, body: bytes
) -> None:
    apps.broker.send(queue, body, message_id="x", session_id="s")
    await apps.settle()
    assert len(apps.broker.dead_letters(queue)) == 1
    lines = [line for line in apps.telemetry.lines if line["event"] == "message_unreadable"]
    assert len(lines) == 10
    assert RESPONSES_QUEUE not in {line["entity"] for line in lines}
