"""A function sees of a message what it would see in Azure, traps included."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import azure.functions as func
import pytest
from azure.functions import get_binding_registry

from devhost.amqp.message import (
    APPLICATION_PROPERTIES,
    MESSAGE_ANNOTATIONS,
    Header,
    Properties,
    encode_composite_section,
    encode_data_section,
    encode_map_section,
    encode_sequence_section,
    encode_value_section,
)
from devhost.amqp.types import Symbol, Timestamp
from devhost.functions.bus.message import BusMessage, UnfitBody

TAG = bytes(range(16))
ENQUEUED = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def _payload(body: bytes, properties: Properties | None = None) -> bytes:
    annotations = {
        Symbol("x-opt-enqueued-time"): Timestamp(ENQUEUED),
        Symbol("x-opt-locked-until"): Timestamp(ENQUEUED + 60_000),
        Symbol("x-opt-sequence-number"): 7,
        Symbol("x-opt-partition-key"): "p",
        Symbol("x-opt-deadletter-source"): "from",
    }
    custom = {"tenant": "blue", "n": 3, "at": Timestamp(ENQUEUED), "id": uuid.UUID(int=1)}
    return (
        encode_composite_section(Header(ttl=60_000, delivery_count=5))
        + encode_map_section(MESSAGE_ANNOTATIONS, annotations)
        + encode_composite_section(
            properties
            or Properties(
                message_id="m-1",
                to="there",
                subject="StartRun",
                reply_to="answers",
                correlation_id="c-1",
                content_type="application/json",
                group_id="s-1",
                reply_to_group_id="rs-1",
            )
        )
        + encode_map_section(APPLICATION_PROPERTIES, custom)
        + body
    )


def _seen(payload: bytes, *, binary: bool) -> func.ServiceBusMessage:
    data, metadata = BusMessage.read(payload, TAG).bind(binary=binary)
    converter = get_binding_registry().get("serviceBusTrigger")
    message: func.ServiceBusMessage = converter.decode(data, trigger_metadata=metadata)
    return message


def test_properties_arrive_with_their_types() -> None:
    seen = _seen(_payload(encode_data_section(b"\xff\x00")), binary=True)
    assert {
        name: getattr(seen, name)
        for name in (
            "message_id",
            "to",
            "subject",
            "label",
            "reply_to",
            "correlation_id",
            "content_type",
            "session_id",
            "reply_to_session_id",
            "partition_key",
            "dead_letter_source",
            "sequence_number",
            "delivery_count",
            "lock_token",
            "user_properties",
        )
    } == {
        "message_id": "m-1",
        "to": "there",
        "subject": "StartRun",
        "label": "StartRun",
        "reply_to": "answers",
        "correlation_id": "c-1",
        "content_type": "application/json",
        "session_id": "s-1",
        "reply_to_session_id": "rs-1",
        "partition_key": "p",
        "dead_letter_source": "from",
        "sequence_number": 7,
        "delivery_count": 6,
        "lock_token": str(uuid.UUID(bytes_le=TAG)),
        "user_properties": {
            "tenant": "blue",
            "n": 3,
            "at": "2026-01-01T00:00:00Z",
            "id": str(uuid.UUID(int=1)),
        },
    }
    assert seen.application_properties == seen.user_properties
    assert seen.get_body() == b"\xff\x00"


def test_times_have_no_zone_as_in_azure() -> None:
    seen = _seen(_payload(encode_data_section(b"")), binary=True)
    assert (seen.enqueued_time_utc, seen.expires_at_utc, seen.locked_until) == (
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, 0, 1),
        None,
    )


def test_a_message_without_properties_has_none() -> None:
    seen = _seen(_payload(b"", Properties()), binary=True)
    assert (seen.message_id, seen.session_id, seen.get_body()) == (None, None, b"")


def test_an_id_that_is_no_string_becomes_one() -> None:
    seen = _seen(_payload(b"", Properties(message_id=uuid.UUID(int=2))), binary=True)
    assert seen.message_id == str(uuid.UUID(int=2))


def test_a_text_body_overwrites_metadata_of_the_same_name() -> None:
    body = b'{"messageId": "forged", "REPLYTO": 5, "to": true, "subject": null, "label": [1]}'
    seen = _seen(_payload(encode_data_section(body)), binary=False)
    assert (seen.message_id, seen.reply_to, seen.to, seen.subject, seen.label) == (
        "forged",
        "5",
        "True",
        "StartRun",
        "StartRun",
    )
    assert seen.get_body() == body


def test_a_text_body_may_break_the_call_before_the_function_runs() -> None:
    with pytest.raises(ValueError, match="DeliveryCount"):
        _seen(_payload(encode_data_section(b'{"deliveryCount": "x"}')), binary=False)


def test_a_binary_body_overwrites_nothing() -> None:
    seen = _seen(_payload(encode_data_section(b'{"messageId": "forged"}')), binary=True)
    assert seen.message_id == "m-1"


def test_bad_utf_8_is_replaced_in_a_text_body_only() -> None:
    payload = _payload(encode_data_section(b"a\xffb"))
    assert _seen(payload, binary=False).get_body() == "a\ufffdb".encode()
    assert _seen(payload, binary=True).get_body() == b"a\xffb"


def test_several_data_sections_are_one_body() -> None:
    assert (
        _seen(
            _payload(encode_data_section(b"a") + encode_data_section(b"b")), binary=True
        ).get_body()
        == b"ab"
    )


@pytest.mark.parametrize(
    ("body", "binary"),
    [
        (encode_value_section("text"), True),
        (encode_value_section(5), True),
        (encode_value_section(5), False),
        (encode_sequence_section([1]), True),
        (encode_sequence_section([1]), False),
    ],
)
def test_a_body_that_dotnet_cannot_bind_fails_the_call(body: Any, binary: bool) -> None:
    with pytest.raises(UnfitBody, match="cannot be bound"):
        BusMessage.read(_payload(body), TAG).bind(binary=binary)


def test_a_value_that_is_a_string_binds_to_text() -> None:
    assert _seen(_payload(encode_value_section("text")), binary=False).get_body() == b"text"
