"""Do annotated messages of the unmodified SDK, with every AMQP section, pass through our queues?"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.amqp import (
    AmqpAnnotatedMessage,
    AmqpMessageBodyType,
    AmqpMessageHeader,
    AmqpMessageProperties,
)

from tests.contract.servicebus.conftest import SdkClient

WAIT = 10.0
BODIES: dict[AmqpMessageBodyType, dict[str, Any]] = {
    AmqpMessageBodyType.DATA: {"data_body": [b"one", b"two"]},
    AmqpMessageBodyType.SEQUENCE: {"sequence_body": [[1, "two"], [b"three"]]},
    AmqpMessageBodyType.VALUE: {"value_body": {"key": [1, 2]}},
}
SEEN: dict[AmqpMessageBodyType, Any] = {
    AmqpMessageBodyType.DATA: [b"one", b"two"],
    AmqpMessageBodyType.SEQUENCE: [[1, b"two"], [b"three"]],
    AmqpMessageBodyType.VALUE: {b"key": [1, 2]},
}


def annotated(kind: AmqpMessageBodyType) -> AmqpAnnotatedMessage:
    """A message with all sections that AMQP knows."""
    return AmqpAnnotatedMessage(
        header=AmqpMessageHeader(priority=5, durable=True),
        delivery_annotations={"x-opt-hop": "first"},
        annotations={"x-opt-own": "annotation"},
        properties=AmqpMessageProperties(message_id=f"m-{kind.name}", subject="label"),
        application_properties={"color": "red"},
        footer={"x-opt-sum": "footer"},
        **BODIES[kind],
    )


def all_kinds() -> list[AmqpAnnotatedMessage]:
    return [annotated(kind) for kind in AmqpMessageBodyType]


def check(got: ServiceBusReceivedMessage, kind: AmqpMessageBodyType) -> None:
    """The message as `annotated` made it; delivery annotations end at the first hop."""
    raw = got.raw_amqp_message
    assert (got.message_id, got.subject) == (f"m-{kind.name}", "label")
    assert raw.body_type == kind
    body = raw.body if kind is AmqpMessageBodyType.VALUE else list(raw.body)
    assert body == SEEN[kind]
    assert raw.header is not None
    assert (raw.header.priority, raw.header.durable) == (5, True)
    assert (raw.annotations or {})[b"x-opt-own"] == b"annotation"
    assert got.application_properties == {b"color": b"red"}
    assert raw.footer == {b"x-opt-sum": b"footer"}
    assert b"x-opt-hop" not in (raw.delivery_annotations or {})


def check_all(messages: list[ServiceBusReceivedMessage]) -> None:
    assert len(messages) == len(AmqpMessageBodyType)
    for message, kind in zip(messages, AmqpMessageBodyType, strict=True):
        check(message, kind)


def receive(receiver: Any, count: int) -> list[ServiceBusReceivedMessage]:
    """So many messages, however many calls of the SDK they take."""
    got: list[ServiceBusReceivedMessage] = []
    while len(got) < count:
        more = receiver.receive_messages(max_message_count=count - len(got), max_wait_time=WAIT)
        assert more, f"only {len(got)} of {count} messages came"
        got += more
    return got


def send_one_by_one(sender: Any) -> None:
    for message in all_kinds():
        sender.send_messages(message)


def send_as_a_list(sender: Any) -> None:
    sender.send_messages(all_kinds())


def send_as_a_batch(sender: Any) -> None:
    batch = sender.create_message_batch()
    for message in all_kinds():
        batch.add_message(message)
    sender.send_messages(batch)


def schedule_one_by_one(sender: Any) -> None:
    for message in all_kinds():
        sender.schedule_messages(message, soon())


def schedule_as_a_list(sender: Any) -> None:
    assert len(sender.schedule_messages(all_kinds(), soon())) == len(AmqpMessageBodyType)


def soon() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.3)


@pytest.mark.parametrize(
    "send",
    [send_one_by_one, send_as_a_list, send_as_a_batch, schedule_one_by_one, schedule_as_a_list],
    ids=lambda send: send.__name__,
)
def test_annotated_messages_arrive_with_all_their_sections(
    client: SdkClient, queue: str, send: Callable[[Any], None]
) -> None:
    with client.get_queue_sender(queue) as sender:
        send(sender)
    with client.get_queue_receiver(queue) as receiver:
        got = receive(receiver, len(AmqpMessageBodyType))
        check_all(got)
        for message in got:
            receiver.complete_message(message)
        assert receiver.peek_messages() == []


def test_annotated_messages_are_peeked_deferred_and_fetched(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages(all_kinds())
    with client.get_queue_receiver(queue) as receiver:
        check_all(receiver.peek_messages(max_message_count=9))
        got = receive(receiver, len(AmqpMessageBodyType))
        for message in got:
            receiver.defer_message(message)
        deferred = receiver.receive_deferred_messages(
            [message.sequence_number for message in got if message.sequence_number is not None]
        )
        check_all(deferred)
        for message in deferred:
            receiver.complete_message(message)
        assert receiver.peek_messages() == []


def test_scheduled_annotated_messages_are_seen_and_taken_back(
    client: SdkClient, queue: str
) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with client.get_queue_sender(queue) as sender:
        numbers = sender.schedule_messages(all_kinds(), later)
        with client.get_queue_receiver(queue) as receiver:
            check_all(receiver.peek_messages(max_message_count=9))
            sender.cancel_scheduled_messages(numbers)
            assert receiver.peek_messages() == []


def test_annotated_messages_pass_through_a_session_and_a_topic(
    client: SdkClient, session_queue: str
) -> None:
    message = annotated(AmqpMessageBodyType.VALUE)
    assert message.properties is not None
    message.properties.group_id = "conversation"
    with client.get_queue_sender(session_queue) as sender:
        sender.send_messages(message)
    with client.get_queue_receiver(session_queue, session_id="conversation") as receiver:
        (got,) = receive(receiver, 1)
        check(got, AmqpMessageBodyType.VALUE)
        assert got.session_id == "conversation"
        receiver.complete_message(got)
    with client.get_topic_sender("annotated") as sender:
        sender.send_messages(all_kinds())
    with client.get_subscription_receiver("annotated", "red") as receiver:
        check_all(receive(receiver, len(AmqpMessageBodyType)))


async def test_the_asynchronous_client_round_trips_annotated_messages(
    async_client: AsyncClient, queue: str
) -> None:
    async with async_client.get_queue_sender(queue) as sender:
        batch = await sender.create_message_batch()
        for message in all_kinds():
            batch.add_message(message)
        await sender.send_messages(batch)
        await sender.schedule_messages(all_kinds(), soon())
    async with async_client.get_queue_receiver(queue, prefetch_count=9) as receiver:
        got: list[ServiceBusReceivedMessage] = []
        while len(got) < 2 * len(AmqpMessageBodyType):
            more = await receiver.receive_messages(max_message_count=9, max_wait_time=WAIT)
            assert more, f"only {len(got)} messages came"
            got += more
        check_all(got[:3])
        check_all(got[3:])
        for message in got[:3]:
            await receiver.defer_message(message)
        check_all(
            await receiver.receive_deferred_messages(
                [m.sequence_number for m in got[:3] if m.sequence_number is not None]
            )
        )
