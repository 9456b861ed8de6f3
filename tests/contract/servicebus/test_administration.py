"""Does the unmodified administration client read how many messages wait, and only who may?"""

from __future__ import annotations

import datetime
import http.client
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.management import ServiceBusAdministrationClient

from aos.adapters.bus.client import BusAccount
from aos.adapters.bus.depths import AzureDepths
from aos.ports.depths import EntityDepth
from tests.contract.servicebus.process import ROOT_KEY, ROOT_POLICY, BusProcess

WAIT = 10.0


class Plain(RequestsTransport):
    """Sends requests for https URLs over http: the client knows no other scheme."""

    def send(self, request: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **options)


def admin_of(bus: BusProcess, policy: str, key: str) -> ServiceBusAdministrationClient:
    text = bus.connection_of(policy, key).replace(f":{bus.port};", f":{bus.http_port};")
    return ServiceBusAdministrationClient.from_connection_string(
        text, transport=Plain(), retry_total=0
    )


def depths_of(bus: BusProcess, policy: str = ROOT_POLICY, key: str = ROOT_KEY) -> AzureDepths:
    account = BusAccount(connection_string=bus.connection_of(policy, key))
    return AzureDepths(account, local_port=bus.http_port)


async def test_active_scheduled_and_dead_messages_are_counted(bus: BusProcess, queue: str) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    with ServiceBusClient.from_connection_string(bus.connection_string) as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages([ServiceBusMessage(str(number)) for number in range(4)])
            sender.schedule_messages([ServiceBusMessage("later")] * 2, later)
        with client.get_queue_receiver(queue, max_wait_time=WAIT) as receiver:
            first, second, third = receiver.receive_messages(3, max_wait_time=WAIT)
            receiver.dead_letter_message(first)
            receiver.defer_message(second)
            with admin_of(bus, ROOT_POLICY, ROOT_KEY) as admin:
                found = admin.get_queue_runtime_properties(queue)
            assert found.name == queue
            assert found.active_message_count == 2  # one of them under a lock
            assert found.scheduled_message_count == 2
            assert found.dead_letter_message_count == 1
            assert await depths_of(bus).count(queue) == EntityDepth(
                entity=queue, active=2, scheduled=2, dead=1
            )
            receiver.complete_message(third)


async def test_a_subscription_is_counted_by_itself(bus: BusProcess) -> None:
    with (
        ServiceBusClient.from_connection_string(bus.connection_string) as client,
        client.get_topic_sender("t") as sender,
    ):
        before = await depths_of(bus).count("t/Subscriptions/all")
        sender.send_messages(ServiceBusMessage("x"))
        after = await depths_of(bus).count("t/Subscriptions/all")
        for name in ("all", "null", "red", "label"):  # other tests use them too
            with client.get_subscription_receiver("t", name) as receiver:
                for each in receiver.receive_messages(9, max_wait_time=2):
                    receiver.complete_message(each)
    assert before.active is not None
    assert after.active == before.active + 1


@pytest.mark.parametrize(
    ("policy", "key"), [(ROOT_POLICY, "wrong"), ("nobody", ROOT_KEY), ("reader", "reading")]
)
async def test_who_may_not_manage_reads_no_counts(bus: BusProcess, policy: str, key: str) -> None:
    with admin_of(bus, policy, key) as admin, pytest.raises(ClientAuthenticationError):
        admin.get_queue_runtime_properties("q0")
    refused = await depths_of(bus, policy, key).count("q0")
    assert refused == EntityDepth(entity="q0", error="forbidden")


def test_without_a_token_everything_is_401(bus: BusProcess) -> None:
    for path in ("/q0", "/", "/nothing", "/$Resources/queues"):
        connection = http.client.HTTPConnection("127.0.0.1", bus.http_port, timeout=WAIT)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, b"MissingToken" in answer.read()) == (401, True), path
        connection.close()


async def test_an_entity_that_is_not_there_is_told_as_such(bus: BusProcess) -> None:
    for name in ("nothing", "t/Subscriptions/nothing", "q0/$DeadLetterQueue"):
        found = await depths_of(bus).count(name)
        assert found == EntityDepth(entity=name, error="entity_not_found")


def test_what_is_not_built_is_refused_and_says_so(bus: BusProcess) -> None:
    with admin_of(bus, ROOT_POLICY, ROOT_KEY) as admin:
        for ask in (
            lambda: admin.create_queue("new"),
            lambda: admin.delete_queue("q0"),
            lambda: list(admin.list_queues()),
            admin.get_namespace_properties,
        ):
            with pytest.raises(HttpResponseError) as refused:
                ask()
            assert refused.value.status_code == 501
            assert "Config.json" in str(refused.value)
