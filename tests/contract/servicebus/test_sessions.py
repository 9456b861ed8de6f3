"""Does the unmodified SDK find sessions and topics as Azure has them?"""

from __future__ import annotations

import asyncio
import datetime

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusSession,
)
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from tests.contract.servicebus.conftest import SdkClient

WAIT = 10.0


def message(body: str, session_id: str) -> ServiceBusMessage:
    return ServiceBusMessage(body, session_id=session_id)


def session_of(receiver: object) -> ServiceBusSession:
    session = receiver.session  # type: ignore[attr-defined]
    assert isinstance(session, ServiceBusSession)
    return session


def bodies(messages: list[ServiceBusReceivedMessage]) -> list[str]:
    return [str(each) for each in messages]


def test_named_sessions_have_their_messages_alone_and_in_order(
    client: SdkClient, session_queue: str
) -> None:
    with client.get_queue_sender(session_queue) as sender:
        sender.send_messages([message(f"{s}{n}", s) for n in range(3) for s in "ab"])
    with client.get_queue_receiver(session_queue, session_id="b") as receiver:
        assert session_of(receiver).session_id == "b"
        got = receiver.receive_messages(max_message_count=9, max_wait_time=WAIT)
        assert bodies(got) == ["b0", "b1", "b2"]
        for each in got:
            receiver.complete_message(each)
        with (
            pytest.raises(SessionCannotBeLockedError),
            client.get_queue_receiver(session_queue, session_id="b"),
        ):
            pass


def test_the_next_available_session_is_given_or_the_wait_ends(
    client: SdkClient, session_queue: str
) -> None:
    with (
        pytest.raises(OperationTimeoutError),
        client.get_queue_receiver(
            session_queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1
        ),
    ):
        pass
    with client.get_queue_sender(session_queue) as sender:
        sender.send_messages(message("x", "only"))
    with client.get_queue_receiver(
        session_queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5
    ) as receiver:
        assert session_of(receiver).session_id == "only"
        (got,) = receiver.receive_messages(max_wait_time=WAIT)
        receiver.complete_message(got)


def test_state_renewal_and_deferred_messages_belong_to_the_session(
    client: SdkClient, session_queue: str
) -> None:
    with client.get_queue_sender(session_queue) as sender:
        sender.send_messages(message("x", "s"))
    with client.get_queue_receiver(session_queue, session_id="s") as receiver:
        session = session_of(receiver)
        assert session.get_state() is None
        session.set_state(b"half-way")
        assert session.get_state() == b"half-way"
        before = session.locked_until_utc
        assert before is not None
        assert session.renew_lock() >= before
        (got,) = receiver.receive_messages(max_wait_time=WAIT)
        number = got.sequence_number
        assert number is not None
        receiver.defer_message(got)
        (back,) = receiver.receive_deferred_messages([number])
        receiver.complete_message(back)
    with client.get_queue_receiver(session_queue, session_id="s") as receiver:
        assert session_of(receiver).get_state() == b"half-way"


def test_a_session_lock_that_ends_is_lost_and_the_next_gets_the_message(client: SdkClient) -> None:
    with client.get_queue_sender("brief") as sender:
        sender.send_messages(message("x", "s"))
    with client.get_queue_receiver("brief", session_id="s") as receiver:
        (lost,) = receiver.receive_messages(max_wait_time=WAIT)
        with client.get_queue_receiver(
            "brief", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT
        ) as other:
            (again,) = other.receive_messages(max_wait_time=WAIT)
            assert (str(again), again.delivery_count) == ("x", 1)
            with pytest.raises(SessionLockLostError):
                receiver.complete_message(lost)
            other.complete_message(again)


def test_sessions_and_plain_receivers_do_not_mix(
    client: SdkClient, queue: str, session_queue: str
) -> None:
    with pytest.raises(ServiceBusError), client.get_queue_receiver(session_queue) as receiver:
        receiver.receive_messages(max_wait_time=1)
    with pytest.raises(ServiceBusError), client.get_queue_receiver(queue, session_id="s"):
        pass
    with (
        pytest.raises(ServiceBusError),
        client.get_queue_sender(session_queue) as sender,
    ):
        sender.send_messages(ServiceBusMessage("no session"))


async def test_many_sessions_at_once_are_each_served_in_order(
    async_client: AsyncClient, session_queue: str
) -> None:
    async def serve(seen: dict[str, list[str]]) -> None:
        async with async_client.get_queue_receiver(
            session_queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=5
        ) as receiver:
            session_id = receiver.session.session_id
            for each in await receiver.receive_messages(3, max_wait_time=WAIT):
                seen.setdefault(session_id, []).append(str(each))
                await receiver.complete_message(each)

    seen: dict[str, list[str]] = {}
    async with async_client.get_queue_sender(session_queue) as sender:
        names = [f"c{n}" for n in range(8)]
        await sender.send_messages([message(str(n), name) for n in range(3) for name in names])
    await asyncio.gather(*(serve(seen) for _ in names))
    assert seen == {name: ["0", "1", "2"] for name in names}


def test_topics_copy_by_rule(client: SdkClient) -> None:
    with client.get_topic_sender("t") as sender:
        sender.send_messages(
            [
                ServiceBusMessage("plain"),
                ServiceBusMessage("ours", application_properties={"aos_app": "main"}),
                ServiceBusMessage("red", subject="y", application_properties={"color": "red"}),
                ServiceBusMessage("x3", subject="x", application_properties={"size": 3}),
            ]
        )
        due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
        sender.schedule_messages(ServiceBusMessage("later"), due)
    expected = {
        "all": ["plain", "ours", "red", "x3", "later"],
        "null": ["plain", "red", "x3", "later"],
        "red": ["red"],
        "label": ["x3"],
    }
    for name, wanted in expected.items():
        got: list[str] = []
        with client.get_subscription_receiver("t", name) as receiver:
            while len(got) < len(wanted):
                batch = receiver.receive_messages(max_message_count=9, max_wait_time=WAIT)
                assert batch
                for each in batch:
                    got.append(str(each))
                    assert each.enqueued_sequence_number is not None
                    receiver.complete_message(each)
            assert receiver.peek_messages() == []
        assert got == wanted
