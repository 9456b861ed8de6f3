"""What each thing that we send looks like on Service Bus."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from aos.adapters.bus.messages import (
    BusMessage,
    build_command_message,
    build_event_message,
    build_postponed_message,
    build_reply_message,
)
from aos.domain.codec import encode
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    REALM_QUEUE,
    ContinueRun,
    Event,
    Outgoing,
    Reply,
    RunEnded,
    StartRun,
    read_command,
    to_realm,
)
from aos.domain.wire_time import to_wire_time
from aos.entrypoints.bus.messages import read_message
from aos.ports.bus import ReceivedMessage
from aos.testing.triggers import make_trigger_message
from tests.samples import TRACE, a_request, an_ended_run

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TRACED = {"traceparent": TRACE, "Diagnostic-Id": TRACE}


def test_a_start_names_run_agent_and_trace() -> None:
    start = StartRun(request=dataclasses.replace(a_request(), traceparent=TRACE))
    request = start.request
    message = build_command_message(to_realm(start, scheduled_at=NOON))
    assert read_command(message.body) == start
    assert (message.entity, message.message_id) == (REALM_QUEUE, start.command_id)
    assert (message.subject, message.session_id) == ("StartRun", request.conversation_id)
    assert (message.scheduled_at, message.content_type) == (NOON, "application/json")
    assert dict(message.properties) == {
        "run_id": request.run_id,
        "agent_id": request.agent_id,
        **TRACED,
    }


def test_an_end_carries_the_trace_on() -> None:
    request = a_request()
    ended = RunEnded(run=an_ended_run(request), owner="o", traceparent=TRACE)
    message = build_command_message(Outgoing(queue=MAIN_QUEUE, command=ended))
    assert json.loads(message.body) == encode(ended)
    assert message.session_id is None
    assert dict(message.properties) == {
        "run_id": request.run_id,
        "agent_id": request.agent_id,
        **TRACED,
    }


def test_a_continue_knows_only_its_run() -> None:
    message = build_command_message(to_realm(ContinueRun(run_id="r", conversation_id="c")))
    assert dict(message.properties) == {"run_id": "r"}


def test_a_reply_is_utf8_json_with_the_askers_correlation() -> None:
    reply = Reply(
        entity="answers",
        message_id="r:reply",
        correlation_id="order-4711",
        session_id="chat",
        body={"type": "run.completed", "output": "Grüß dich \U0001f600"},
        traceparent=TRACE,
    )
    assert build_reply_message(reply) == BusMessage(
        entity="answers",
        body='{"type":"run.completed","output":"Grüß dich \U0001f600"}'.encode(),
        message_id="r:reply",
        subject="run.completed",
        correlation_id="order-4711",
        session_id="chat",
        properties=TRACED,
    )


def test_an_event_is_a_structured_cloud_event_marked_as_ours() -> None:
    event = Event(
        topic=AGENT_EVENTS,
        id="e1",
        type="run.completed",
        source="aos/agents/ceo",
        time=NOON,
        data={"run_id": "r"},
    )
    message = build_event_message(event)
    assert json.loads(message.body) == {
        "specversion": "1.0",
        "id": "e1",
        "type": "run.completed",
        "source": "aos/agents/ceo",
        "time": "2030-01-01T12:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {"run_id": "r"},
    }
    assert message.content_type == "application/cloudevents+json"
    assert dict(message.properties) == {"aos_app": "aos"}


def a_received(**changes: object) -> ReceivedMessage:
    values: dict[str, object] = {
        "entity": "aos-requests",
        "body": b"{}",
        "message_id": "m",
        "sequence_number": 7,
    }
    return ReceivedMessage(**(values | changes))  # type: ignore[arg-type]


def test_a_postponed_copy_lives_as_long_as_its_original_would_have() -> None:
    message = a_received(expires_at=NOON + timedelta(hours=1))
    copy = build_postponed_message(message, at=NOON + timedelta(minutes=15), attempt=2)
    assert copy.time_to_live == timedelta(minutes=45)
    assert copy.scheduled_at == NOON + timedelta(minutes=15)


def test_a_postponed_copy_of_what_expires_meanwhile_still_comes() -> None:
    message = a_received(expires_at=NOON)
    copy = build_postponed_message(message, at=NOON + timedelta(minutes=15), attempt=2)
    assert copy.time_to_live == timedelta(minutes=1)
    assert copy.properties["aos_expires_at"] == to_wire_time(NOON)


def test_a_postponed_copy_is_judged_by_the_expiry_of_the_first_message() -> None:
    """Otherwise each copy would outlive its original by a little, and never expire."""
    copy = build_postponed_message(a_received(expires_at=NOON), at=NOON, attempt=1)
    arrived = ReceivedMessage(
        entity="aos-requests",
        body=b"{}",
        message_id="m",
        sequence_number=8,
        expires_at=NOON + timedelta(minutes=1),
        properties=copy.properties,
    )
    assert read_message(make_trigger_message(arrived), entity="aos-requests").expires_at == NOON


@pytest.mark.parametrize("given", ["soon", 7, "", "9999-01-01T00:00:00Z"])
def test_a_senders_own_expiry_property_makes_no_message_live_longer(given: object) -> None:
    arrived = a_received(expires_at=NOON, properties={"aos_expires_at": given})
    assert read_message(make_trigger_message(arrived), entity="aos-requests").expires_at == NOON


def test_a_twice_postponed_copy_keeps_the_first_key() -> None:
    nameless = a_received(message_id=None)
    once = build_postponed_message(nameless, at=NOON, attempt=1)
    again = build_postponed_message(
        a_received(message_id="made by the broker", properties=once.properties), at=NOON, attempt=2
    )
    assert once.properties["aos_key"] == again.properties["aos_key"] == "aos-requests:7"
    assert (once.properties["attempt"], again.properties["attempt"]) == (1, 2)


def test_properties_that_amqp_has_no_type_for_are_left_out() -> None:
    odd = {"list": [1], "huge": 2**70, "null": None, "text": "t", "flag": True, "number": 1.5}
    copy = build_postponed_message(a_received(properties=odd), at=NOON, attempt=1)
    assert dict(copy.properties) == {
        "text": "t",
        "flag": True,
        "number": 1.5,
        "attempt": 1,
        "aos_key": "m",
    }
