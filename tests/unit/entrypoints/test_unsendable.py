"""Nothing that a caller sends makes a message that Service Bus refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.bus_limits import is_bus_id
from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE, EnvelopeError, Reply, read_command
from aos.domain.runs.run import run_id_for
from aos.errors import RunFailed, TransientError
from aos.ports.bus import ReceivedMessage
from aos.testing.triggers import make_trigger_message
from tests.unit.entrypoints.laptop_in_memory import InMemory

LONG, EMOJI = "x" * 129, "\N{ROCKET}" * 65
ASK = {"agent_id": "ceo", "message": "Hello", "conversation_id": "board"}


async def receive(apps: InMemory, body: object = ASK, **properties: Any) -> Any:
    """Handle a message as a broker that checks nothing would deliver it; return the reply."""
    raw = json.dumps(body).encode()
    message = ReceivedMessage(
        entity=REQUESTS_QUEUE,
        body=raw,
        sequence_number=7,
        **{"message_id": "m-1", **properties},
    )
    await apps.main.requests.handle(make_trigger_message(message))
    await apps.settle()
    (kept,) = apps.replies()
    return kept


@pytest.mark.parametrize(
    "given",
    [
        {"conversation_id": LONG},
        {"conversation_id": "y" * 100_000},
        {"agent_id": LONG},
        {"agent_id": "y" * 100_000},
        {"metadata": {"x": "\N{ROCKET}" * 20_000}},
        {"metadata": {"y" * 100_000: 1}},
        {"type": "y" * 100_000},
        {"version": "y" * 100_000},
        {"message": [{"type": "y" * 100_000}]},
        {"y" * 100_000: {"a": 1e999}},
        {"run_id": "y" * 100_000, "type": "run.cancel"},
        {"run_id": "r", "tool_call_id": LONG, "type": "approval.decide", "decision": "approve"},
        {"reason": "y" * 100_000, "type": "approval.decide", "decision": "deny"},
    ],
    ids=lambda given: str(given)[:40],
)
async def test_a_refusal_of_any_body_is_sent_at_once(apps: InMemory, given: dict[str, Any]) -> None:
    kept = await receive(apps, {**ASK, **given})
    reply = json.loads(kept.body)
    assert (reply["type"], kept.deliveries) == ("run.refused", 0)
    assert kept.correlation_id == "m-1"
    assert is_bus_id(kept.session_id)
    assert len(kept.body) < 24 * 1024


async def test_an_id_that_is_too_long_to_come_back_is_null(apps: InMemory) -> None:
    reply = json.loads((await receive(apps, {**ASK, "conversation_id": LONG})).body)
    assert (reply["conversation_id"], reply["agent_id"]) == (None, "ceo")
    assert reply["error"]["details"]["field"] == "conversation_id"
    assert apps.replies()[0].session_id == reply["run_id"]


@pytest.mark.parametrize("name", ["correlation_id", "reply_to_session_id", "message_id"])
@pytest.mark.parametrize("value", [LONG, EMOJI], ids=["long", "emoji"])
async def test_ids_that_service_bus_would_not_carry_back_are_refused(
    apps: InMemory, name: str, value: str
) -> None:
    kept = await receive(apps, **{name: value})
    reply = json.loads(kept.body)
    assert (reply["error"]["code"], reply["error"]["details"]["field"]) == ("invalid_request", name)
    assert "128" in reply["error"]["message"]
    assert kept.session_id == "board"
    assert kept.correlation_id == (None if name == "message_id" else "m-1")


@pytest.mark.parametrize("name", ["correlation_id", "reply_to_session_id"])
async def test_they_are_refused_over_http_too(apps: InMemory, name: str) -> None:
    answer = await apps.ask({"message": "Hi", "reply_to": RESPONSES_QUEUE, name: EMOJI})
    assert (answer.status, answer.body["error"]["details"]["field"]) == (400, name)


async def test_a_reply_that_would_not_fit_is_fitted_where_it_leaves(apps: InMemory) -> None:
    """The last line of defence, of both buses."""
    await apps.bus.reply(
        Reply(
            entity=RESPONSES_QUEUE,
            message_id="r:reply",
            correlation_id=LONG,
            session_id=LONG,
            body={"type": "run.completed"},
        )
    )
    (kept,) = apps.replies()
    assert kept.message_id == "r:reply"
    assert kept.correlation_id == kept.session_id
    assert len(kept.session_id or "") == 64


async def test_a_postponed_copy_leaves_out_properties_that_have_no_room(apps: InMemory) -> None:
    """The copy has a few properties more than the message, which was full."""
    crowd = {f"p{number}": "x" * 1000 for number in range(63)} | {"aos_owner": "sales"}
    message = ReceivedMessage(
        entity=REQUESTS_QUEUE,
        body=json.dumps(ASK).encode(),
        message_id="m-1",
        sequence_number=7,
        properties=crowd,
    )
    await apps.bus.postpone(message, at=apps.clock.now() + timedelta(minutes=1), attempt=1)
    (kept,) = apps.broker.messages(REQUESTS_QUEUE)
    assert kept.properties == {"aos_owner": "sales", "attempt": 1, "aos_key": "m-1"}


@pytest.mark.parametrize("attempt", [-100, 2**63 - 1, 10**30, True, "7", None])
async def test_a_senders_own_property_attempt_changes_nothing(
    apps: InMemory, attempt: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(run_id: str) -> Any:
        raise TransientError("storage is away")

    message = ReceivedMessage(
        entity=REQUESTS_QUEUE,
        body=json.dumps(ASK).encode(),
        message_id="m-1",
        sequence_number=7,
        properties={"attempt": attempt},
    )
    with monkeypatch.context() as patch:
        patch.setattr(apps.world.requests, "find", away)
        await apps.main.requests.handle(make_trigger_message(message))
    (kept,) = apps.broker.messages(REQUESTS_QUEUE)
    assert kept.properties["attempt"] == (2 if attempt is True else 1)


async def test_a_senders_own_key_of_any_length_is_not_a_key(apps: InMemory) -> None:
    kept = await receive(apps, properties={"aos_key": "k" * 60_000})
    scope = "queue:aos-requests:queue:aos-requests"
    assert json.loads(kept.body)["run_id"] == run_id_for(scope=scope, key="m-1")


def test_an_unknown_command_is_named_briefly() -> None:
    with pytest.raises(EnvelopeError) as caught:
        read_command(json.dumps({"type": "y" * 100_000}).encode())
    assert len(str(caught.value)) < 200


async def test_a_message_that_is_too_full_to_be_postponed_gets_a_reply(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Service Bus counts the properties of a copy in the 256 KiB of a message."""

    async def away(run_id: str) -> Any:
        raise TransientError("storage is away")

    async def full(message: ReceivedMessage, *, at: Any, attempt: int) -> None:
        raise RunFailed("too_large", "a message is larger than the bus accepts")

    monkeypatch.setattr(apps.world.requests, "find", away)
    monkeypatch.setattr(apps.bus, "postpone", full)
    apps.send(ASK)
    await apps.settle()
    (kept,) = apps.replies()
    assert json.loads(kept.body)["error"]["code"] == "internal_error"
    assert not apps.broker.dead_letters(REQUESTS_QUEUE)
