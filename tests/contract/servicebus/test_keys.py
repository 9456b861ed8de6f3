"""Does the unmodified SDK learn that its key is wrong, or that its policy lacks the right?"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import (
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)

from tests.contract.servicebus.process import ROOT_KEY, ROOT_POLICY, BusProcess
from tests.unit.servicebus.sas import sign_token

WAIT = 10.0
WRONG = {
    "wrong key": (ROOT_POLICY, "SAS_KEY_VALUE2"),
    "unknown policy": ("RootManagedSharedAccessKey", ROOT_KEY),
    "policy of another queue": ("own", "of the queue"),
    "key of another policy": ("reader", "writing"),
}


@contextlib.contextmanager
def refused(reason: str) -> Iterator[None]:
    """An authentication error; the SDK keeps Service Bus' own words in the inner one."""
    with pytest.raises(ServiceBusAuthenticationError) as caught:
        yield
    assert reason in str(caught.value.inner_exception)


def client_of(bus: BusProcess, policy: str, key: str) -> ServiceBusClient:
    return ServiceBusClient.from_connection_string(bus.connection_of(policy, key), retry_total=0)


@pytest.mark.parametrize(("policy", "key"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_or_policy_is_an_authentication_error(
    bus: BusProcess, policy: str, key: str
) -> None:
    with client_of(bus, policy, key) as client:
        with refused("InvalidSignature"):
            client.get_queue_sender("q0").__enter__()
        with refused("InvalidSignature"):
            client.get_queue_receiver("s0", session_id="x").__enter__()


async def test_the_asynchronous_client_hears_of_a_wrong_key_too(bus: BusProcess) -> None:
    text = bus.connection_of(ROOT_POLICY, "wrong")
    async with AsyncClient.from_connection_string(text, retry_total=0) as client:
        with refused("Config.json"):
            await client.get_topic_sender("t").__aenter__()


def test_a_token_is_taken_until_it_expires(bus: BusProcess) -> None:
    endpoint = f"Endpoint=sb://127.0.0.1:{bus.port};UseDevelopmentEmulator=true;"
    uri = f"sb://127.0.0.1:{bus.port}/guarded"
    for seconds, is_expired in ((3_600, False), (-60, True)):
        signed = sign_token("own", "of the queue", resource=uri, seconds=seconds)
        text = f"{endpoint}SharedAccessSignature={signed}"
        with ServiceBusClient.from_connection_string(text, retry_total=0) as client:
            sender = client.get_queue_sender("guarded")
            if is_expired:
                with refused("ExpiredToken"):
                    sender.__enter__()
            else:
                with sender:
                    sender.send_messages(ServiceBusMessage("by token"))


def test_a_policy_that_only_sends_sends_schedules_and_receives_nothing(
    bus: BusProcess, queue: str
) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with client_of(bus, "writer", "writing") as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("sent"))
            sender.cancel_scheduled_messages(
                sender.schedule_messages(ServiceBusMessage("later"), later)
            )
        with (
            pytest.raises(ServiceBusAuthorizationError, match="'Listen' claim"),
            client.get_queue_receiver(queue) as receiver,
        ):
            receiver.receive_messages(max_wait_time=1)


def test_a_policy_that_only_listens_receives_peeks_and_sends_nothing(
    bus: BusProcess, queue: str
) -> None:
    with client_of(bus, ROOT_POLICY, "second") as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("to read"))
    with client_of(bus, "reader", "reading") as client:
        with client.get_queue_receiver(queue) as receiver:
            assert [str(seen) for seen in receiver.peek_messages()] == ["to read"]
            (got,) = receiver.receive_messages(max_wait_time=WAIT)
            receiver.complete_message(got)
        with (
            pytest.raises(ServiceBusAuthorizationError, match="'Send' claim"),
            client.get_queue_sender(queue) as sender,
        ):
            sender.send_messages(ServiceBusMessage("refused"))


def test_a_queues_own_policy_opens_that_queue_and_its_dead_letters(bus: BusProcess) -> None:
    with client_of(bus, "own", "of the queue") as client:
        with client.get_queue_sender("guarded") as sender:
            sender.send_messages(ServiceBusMessage("mine"))
        with client.get_queue_receiver("guarded") as receiver:
            (got,) = receiver.receive_messages(max_wait_time=WAIT)
            receiver.dead_letter_message(got)
        with client.get_queue_receiver("guarded", sub_queue="deadletter") as receiver:
            (got,) = receiver.receive_messages(max_wait_time=WAIT)
            receiver.complete_message(got)
        with pytest.raises(ServiceBusError):
            client.get_queue_sender("q0").__enter__()
