"""Does the unmodified SDK find in our queues what it finds in Azure's?"""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusReceiver,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import (
    MessageAlreadySettled,
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    ServiceBusAuthenticationError,
    ServiceBusError,
)

from tests.contract.servicebus.conftest import SdkClient

WAIT = 10.0


def one(receiver: ServiceBusReceiver, *, wait: float = WAIT) -> ServiceBusReceivedMessage:
    (message,) = receiver.receive_messages(max_message_count=1, max_wait_time=wait)
    return message


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_a_message_arrives_with_all_that_its_sender_said(client: SdkClient, queue: str) -> None:
    own: dict[str | bytes, Any] = {
        "text": "x",
        "whole": 5,
        "real": 0.5,
        "yes": True,
        "id": uuid.UUID(int=7),
    }
    sent = ServiceBusMessage(
        b"body",
        message_id="m-1",
        subject="label",
        correlation_id="c-1",
        content_type="text/plain",
        reply_to="answers",
        reply_to_session_id="r-1",
        to="somebody",
        session_id="s-1",
        partition_key="s-1",
        time_to_live=datetime.timedelta(seconds=100),
        application_properties=own,
    )
    with client.get_queue_sender(queue) as sender:
        sender.send_messages(sent)
    with client.get_queue_receiver(queue) as receiver:
        got = one(receiver)
        assert b"".join(got.body) == b"body"
        assert (got.message_id, got.subject, got.correlation_id) == ("m-1", "label", "c-1")
        assert (got.content_type, got.reply_to, got.to) == ("text/plain", "answers", "somebody")
        assert (got.session_id, got.reply_to_session_id) == ("s-1", "r-1")
        assert got.partition_key == "s-1"
        assert got.time_to_live == datetime.timedelta(seconds=100)
        assert got.application_properties == {str(key).encode(): own[key] for key in own} | {
            b"text": b"x"
        }
        assert (got.delivery_count, got.sequence_number) == (0, 1)
        assert got.enqueued_time_utc is not None
        assert abs(got.enqueued_time_utc - utc_now()) < datetime.timedelta(seconds=10)
        assert isinstance(got.lock_token, uuid.UUID)
        receiver.complete_message(got)
        assert receiver.peek_messages() == []


def test_values_and_sequences_pass_as_they_are(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages([ServiceBusMessage("text"), ServiceBusMessage("")])
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with client.get_queue_receiver(queue, receive_mode=mode) as receiver:
        got = receiver.receive_messages(max_message_count=2, max_wait_time=WAIT)
        assert [str(message) for message in got] == ["text", ""]
        assert receiver.peek_messages() == []


def test_batches_arrive_whole_and_in_order(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        batch = sender.create_message_batch()
        assert batch.max_size_in_bytes == 262_144
        for n in range(200):
            batch.add_message(ServiceBusMessage(str(n)))
        sender.send_messages(batch)
    got: list[str] = []
    with client.get_queue_receiver(queue, prefetch_count=50) as receiver:
        while len(got) < 200:
            for message in receiver.receive_messages(max_message_count=200, max_wait_time=WAIT):
                got.append(str(message))
                receiver.complete_message(message)
    assert got == [str(n) for n in range(200)]


def test_large_messages_cross_many_frames_and_too_large_ones_are_refused(
    client: SdkClient, queue: str
) -> None:
    body = bytes(n % 251 for n in range(255_000))
    with client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage(body))
        with pytest.raises(MessageSizeExceededError):
            sender.send_messages(ServiceBusMessage(b"x" * 300_000))
        sender.send_messages(ServiceBusMessage("after"))
    with client.get_queue_receiver(queue) as receiver:
        first = one(receiver)
        assert b"".join(first.body) == body
        receiver.complete_message(first)
        assert str(one(receiver)) == "after"


def test_abandon_defer_and_dead_letter_do_what_they_say(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages([ServiceBusMessage(name) for name in ("abandon", "defer", "dead")])
    with client.get_queue_receiver(queue) as receiver:
        got = receiver.receive_messages(max_message_count=3, max_wait_time=WAIT)
        abandoned, deferred, dead = got
        receiver.abandon_message(abandoned)
        receiver.defer_message(deferred)
        receiver.dead_letter_message(dead, reason="why", error_description="because")
        again = one(receiver)
        assert (str(again), again.delivery_count) == ("abandon", 1)
        receiver.complete_message(again)
        number = deferred.sequence_number
        assert number is not None
        (back,) = receiver.receive_deferred_messages([number])
        assert (str(back), back.state.name) == ("defer", "DEFERRED")
        receiver.complete_message(back)
        with pytest.raises(MessageNotFoundError):
            receiver.receive_deferred_messages([number])
    with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        letter = one(receiver)
        assert str(letter) == "dead"
        assert letter.dead_letter_reason == "why"
        assert letter.dead_letter_error_description == "because"
        assert letter.sequence_number == dead.sequence_number
        receiver.complete_message(letter)


def test_the_third_delivery_in_vain_is_a_dead_letter(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("poison"))
    with client.get_queue_receiver(queue) as receiver:
        for count in range(3):
            message = one(receiver)
            assert message.delivery_count == count
            receiver.abandon_message(message)
        assert receiver.receive_messages(max_wait_time=0.5) == []
    with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        assert one(receiver).dead_letter_reason == "MaxDeliveryCountExceeded"


def test_what_expires_is_a_dead_letter_with_its_reason(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        ttl = datetime.timedelta(seconds=1)
        sender.send_messages(ServiceBusMessage("late", time_to_live=ttl))
    with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        letter = one(receiver)
        assert (str(letter), letter.dead_letter_reason) == ("late", "TTLExpiredException")


def test_scheduled_messages_come_in_time_and_can_be_cancelled(
    client: SdkClient, queue: str
) -> None:
    due = utc_now() + datetime.timedelta(seconds=2)
    with client.get_queue_sender(queue) as sender:
        numbers = sender.schedule_messages(
            [ServiceBusMessage("kept"), ServiceBusMessage("cancelled")], due
        )
        sender.cancel_scheduled_messages(numbers[1])
        with pytest.raises(MessageNotFoundError):
            sender.cancel_scheduled_messages(numbers[1])
        sender.send_messages(ServiceBusMessage("property", scheduled_enqueue_time_utc=due))
    with client.get_queue_receiver(queue) as receiver:
        peeked = receiver.peek_messages(max_message_count=9)
        assert [message.state.name for message in peeked] == ["SCHEDULED", "SCHEDULED"]
        got = [one(receiver), one(receiver)]
        assert sorted(str(message) for message in got) == ["kept", "property"]
        for message in got:
            assert message.enqueued_time_utc is not None
            assert message.enqueued_time_utc >= due - datetime.timedelta(milliseconds=2)
            receiver.complete_message(message)


def test_duplicates_are_accepted_and_dropped(client: SdkClient) -> None:
    with client.get_queue_sender("once") as sender:
        for body in ("first", "second"):
            sender.send_messages(ServiceBusMessage(body, message_id="same"))
        sender.send_messages(ServiceBusMessage("third", message_id="other"))
    with client.get_queue_receiver("once") as receiver:
        got = [one(receiver), one(receiver)]
        assert [str(message) for message in got] == ["first", "third"]


def test_a_renewed_lock_holds_and_one_that_ended_is_lost(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages([ServiceBusMessage("renewed"), ServiceBusMessage("lost")])
    with (
        client.get_queue_receiver(queue) as receiver,
        client.get_queue_receiver(queue) as other,
    ):
        renewed, lost = receiver.receive_messages(max_message_count=2, max_wait_time=WAIT)
        before = renewed.locked_until_utc
        assert before is not None
        assert other.receive_messages(max_wait_time=3) == []
        assert receiver.renew_message_lock(renewed) > before
        again = one(other)
        assert (str(again), again.delivery_count) == ("lost", 1)
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(lost)
        receiver.complete_message(renewed)
        with pytest.raises(MessageAlreadySettled):
            receiver.complete_message(renewed)
        other.complete_message(again)
        assert other.peek_messages() == []


def test_peeking_takes_nothing(client: SdkClient, queue: str) -> None:
    with client.get_queue_sender(queue) as sender:
        sender.send_messages([ServiceBusMessage(str(n)) for n in range(5)])
    with client.get_queue_receiver(queue) as receiver:
        assert [str(m) for m in receiver.peek_messages(max_message_count=2)] == ["0", "1"]
        seen = receiver.peek_messages(max_message_count=9, sequence_number=3)
        assert [str(message) for message in seen] == ["2", "3", "4"]
        assert str(one(receiver)) == "0"


def test_unknown_entities_are_named_as_such_and_case_does_not_matter(
    client: SdkClient,
) -> None:
    with pytest.raises(ServiceBusAuthenticationError), client.get_queue_sender("nope") as sender:
        sender.send_messages(ServiceBusMessage("x"))
    with client.get_queue_sender("mixed/case.queue_1") as sender:
        sender.send_messages(ServiceBusMessage("x"))
    with client.get_queue_receiver("MIXED/CASE.QUEUE_1") as receiver:
        receiver.complete_message(one(receiver))


def test_a_dead_letter_queue_cannot_be_sent_to(client: SdkClient, queue: str) -> None:
    with (
        pytest.raises(ServiceBusError),
        client.get_queue_sender(f"{queue}/$DeadLetterQueue") as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))


async def test_the_asynchronous_sdk_sends_receives_and_settles(
    async_client: AsyncClient, queue: str
) -> None:
    async with (
        async_client.get_queue_sender(queue) as sender,
        async_client.get_queue_receiver(queue) as receiver,
    ):
        for n in range(20):
            await sender.send_messages(ServiceBusMessage(str(n)))
        got: list[str] = []
        while len(got) < 20:
            for message in await receiver.receive_messages(20, max_wait_time=WAIT):
                got.append(str(message))
                await receiver.complete_message(message)
        assert got == [str(n) for n in range(20)]
        assert await receiver.peek_messages() == []


async def test_two_receivers_share_a_queue_and_each_message_comes_once(
    async_client: AsyncClient, queue: str
) -> None:
    async with (
        async_client.get_queue_sender(queue) as sender,
        async_client.get_queue_receiver(queue) as one_end,
        async_client.get_queue_receiver(queue) as other_end,
    ):
        await sender.send_messages([ServiceBusMessage(str(n)) for n in range(40)])
        got: list[str] = []
        while len(got) < 40:
            for receiver in (one_end, other_end):
                for message in await receiver.receive_messages(5, max_wait_time=WAIT):
                    got.append(str(message))
                    await receiver.complete_message(message)
        assert sorted(got, key=int) == [str(n) for n in range(40)]
