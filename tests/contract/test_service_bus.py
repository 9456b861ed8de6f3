"""The Bus port on the real adapter: the unmodified Azure SDK against the local Service Bus."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from aos.adapters.bus.client import BusAccount
from aos.adapters.bus.dead_letters import AzureDeadLetters
from aos.adapters.bus.service_bus import AzureBus
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.system import SystemClock
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    REALM_QUEUE,
    SYSTEM_EVENTS,
    Event,
    Outgoing,
    Reply,
    RunEnded,
    StartRun,
    read_command,
    to_realm,
)
from aos.errors import ConfigurationError, RunFailed, TransientError
from aos.ports.bus import ReceivedMessage
from aos.ports.dead_letters import DeadLetterQueues
from tests.contract.bus_suite import BusSuite
from tests.contract.dead_letter_suite import DeadLetterSuite, Undertaker
from tests.contract.local_bus import PROBE_SUBSCRIPTION, LocalBus, running_bus
from tests.samples import TRACE, a_request, an_ended_run, an_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Probe:
    """The outside, with receivers of the SDK, kept open."""

    def __init__(self, connection_string: str) -> None:
        self._client = ServiceBusClient.from_connection_string(connection_string)
        self._receivers: dict[tuple[str, str | None], ServiceBusReceiver] = {}

    async def take(
        self, entity: str, *, session_id: str | None = None, seconds: float = 5.0
    ) -> ReceivedMessage | None:
        """Receive and complete the next message; None when none came in time."""
        receiver = await self._receiver(entity, session_id)
        received = await receiver.receive_messages(max_message_count=1, max_wait_time=seconds)
        if not received:
            return None
        await receiver.complete_message(received[0])
        return _received(entity, received[0])

    async def close(self) -> None:
        """Close all receivers; to a broker that was killed this takes a moment."""
        receivers, self._receivers = self._receivers, {}
        await asyncio.gather(*(receiver.close() for receiver in receivers.values()))

    async def _receiver(self, entity: str, session_id: str | None) -> ServiceBusReceiver:
        key = (entity, session_id)
        if key not in self._receivers:
            topic, _, subscription = entity.partition("/Subscriptions/")
            if subscription:
                receiver = self._client.get_subscription_receiver(topic, subscription)
            elif session_id is None:
                receiver = self._client.get_queue_receiver(entity)
            else:
                receiver = self._client.get_queue_receiver(entity, session_id=session_id)
            self._receivers[key] = await receiver.__aenter__()
        return self._receivers[key]


def _received(entity: str, message: ServiceBusReceivedMessage) -> ReceivedMessage:
    raw: Mapping[Any, Any] = message.application_properties or {}
    properties = {_text(name): _text(value) for name, value in raw.items()}
    traceparent = properties.get("traceparent")
    return ReceivedMessage(
        entity=entity,
        body=b"".join(message.body),
        message_id=message.message_id,
        sequence_number=message.sequence_number or 0,
        delivery_count=(message.delivery_count or 0) + 1,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        content_type=message.content_type,
        expires_at=message.expires_at_utc,
        traceparent=traceparent if isinstance(traceparent, str) else None,
        properties=properties,
    )


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBus]:
    with running_bus(tmp_path_factory.mktemp("bus")) as broker:
        yield broker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(broker: LocalBus) -> AsyncIterator[AzureBus]:
    bus = AzureBus(BusAccount(connection_string=broker.connection_string), payloads=blobs())
    yield bus
    await bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probe(broker: LocalBus) -> AsyncIterator[Probe]:
    probe = Probe(broker.connection_string)
    yield probe
    await probe.close()


def blobs() -> MemoryBlobStore:
    return MemoryBlobStore(clock=SystemClock())


class TestAzureBus(BusSuite):
    """The suite that the fake passes as well."""


class _Undertaker:
    """Makes dead letters through the SDK."""

    def __init__(self, connection_string: str) -> None:
        self._client = ServiceBusClient.from_connection_string(connection_string)

    async def send(
        self, entity: str, body: bytes, *, ttl_seconds: float | None = None, **given: Any
    ) -> None:
        properties = given.pop("properties", None)
        ttl = None if ttl_seconds is None else timedelta(seconds=ttl_seconds)
        is_topic = entity in (AGENT_EVENTS, SYSTEM_EVENTS)
        make = self._client.get_topic_sender if is_topic else self._client.get_queue_sender
        async with make(entity) as sender:
            await sender.send_messages(
                ServiceBusMessage(
                    body, time_to_live=ttl, application_properties=properties, **given
                )
            )

    async def bury(self, entity: str, message_id: str, *, session_id: str | None = None) -> None:
        topic, _, subscription = entity.partition("/Subscriptions/")
        if subscription:
            receiver = self._client.get_subscription_receiver(topic, subscription)
        else:
            receiver = self._client.get_queue_receiver(entity, session_id=session_id)
        async with receiver:
            for _ in range(10):
                (message,) = await receiver.receive_messages(1, max_wait_time=5)
                assert message.message_id == message_id
                await receiver.abandon_message(message)

    async def close(self) -> None:
        await self._client.close()


class TestAzureDeadLetters(DeadLetterSuite):
    @pytest_asyncio.fixture(loop_scope="module")
    async def queues(self, broker: LocalBus, bus: AzureBus) -> AsyncIterator[DeadLetterQueues]:
        account = BusAccount(connection_string=broker.connection_string)
        queues = AzureDeadLetters(account, send=bus.send_message)
        yield queues
        await queues.close()

    @pytest_asyncio.fixture(loop_scope="module")
    async def undertaker(self, broker: LocalBus) -> AsyncIterator[Undertaker]:
        undertaker = _Undertaker(broker.connection_string)
        yield undertaker
        await undertaker.close()


async def test_a_broker_that_is_away_hides_its_dead_letters() -> None:
    account = BusAccount(
        connection_string="Endpoint=sb://127.0.0.1:9;SharedAccessKeyName=n;SharedAccessKey=k;"
        "UseDevelopmentEmulator=true;"
    )

    async def send(message: object) -> None:
        raise AssertionError("nothing is sent")

    queues = AzureDeadLetters(account, send=send)
    with pytest.raises(TransientError, match="'aos-main' did not answer"):
        await queues.peek(MAIN_QUEUE, start=0, limit=1)
    await queues.close()


async def test_a_command_larger_than_the_bus_takes_travels_through_storage(
    broker: LocalBus, probe: Probe
) -> None:
    payloads = blobs()
    bus = AzureBus(BusAccount(connection_string=broker.connection_string), payloads=payloads)
    start = StartRun(request=dataclasses.replace(a_request(), message="x" * 900_000))
    await bus.send(to_realm(start))
    got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
    assert got is not None
    assert len(got.body) < 1000
    assert read_command(await bus.read_whole_body(got)) == start
    (blob,) = await payloads.list(f"payloads/{start.conversation_id}/")
    assert blob.size > 900_000
    await bus.close()


async def test_a_command_names_run_agent_and_trace_in_its_properties(
    bus: AzureBus, probe: Probe
) -> None:
    start = StartRun(request=dataclasses.replace(a_request(), traceparent=TRACE))
    await bus.send(to_realm(start))
    got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
    assert got is not None
    assert got.properties == {
        "run_id": start.run_id,
        "agent_id": start.request.agent_id,
        "traceparent": TRACE,
        "Diagnostic-Id": TRACE,
    }


async def test_an_event_reaches_subscriptions_as_a_cloud_event_but_does_not_wake_us(
    bus: AzureBus, probe: Probe
) -> None:
    while await probe.take(f"{AGENT_EVENTS}/Subscriptions/{PROBE_SUBSCRIPTION}", seconds=0.3):
        pass  # what other tests have published
    event = Event(
        topic=AGENT_EVENTS,
        id=an_id(),
        type="run.completed",
        source="aos/agents/ceo",
        time=datetime(2030, 1, 1, tzinfo=UTC),
        data={"run_id": "r"},
    )
    await bus.publish(event)
    got = await probe.take(f"{AGENT_EVENTS}/Subscriptions/{PROBE_SUBSCRIPTION}")
    assert got is not None
    assert (got.message_id, got.content_type) == (event.id, "application/cloudevents+json")
    assert got.properties == {"aos_app": "aos"}
    assert json.loads(got.body)["type"] == "run.completed"
    assert await probe.take(f"{AGENT_EVENTS}/Subscriptions/wake", seconds=0.3) is None


async def test_many_tasks_at_once_lose_and_double_nothing(bus: AzureBus, probe: Probe) -> None:
    requests = [a_request() for _ in range(64)]
    await asyncio.gather(
        *(
            bus.send(Outgoing(queue=MAIN_QUEUE, command=RunEnded(run=an_ended_run(r), owner="o")))
            for r in requests
        )
    )
    got = [await probe.take(MAIN_QUEUE) for _ in requests]
    ids = Counter(message.message_id for message in got if message is not None)
    assert ids == Counter(f"{request.run_id}:ended" for request in requests)


async def test_a_message_larger_than_the_bus_takes_is_too_large_at_once(bus: AzureBus) -> None:
    reply = Reply(
        entity=MAIN_QUEUE,
        message_id=an_id(),
        correlation_id=None,
        session_id="s",
        body={"output": "x" * 300_000},
    )
    started = asyncio.get_running_loop().time()
    with pytest.raises(RunFailed) as caught:
        await bus.reply(reply)
    assert caught.value.code == "too_large"
    assert asyncio.get_running_loop().time() - started < 5


async def test_senders_are_warmed_side_by_side_and_stay_open(
    broker: LocalBus, probe: Probe
) -> None:
    bus = AzureBus(BusAccount(connection_string=broker.connection_string), payloads=blobs())
    await bus.warm([REALM_QUEUE, MAIN_QUEUE, AGENT_EVENTS, SYSTEM_EVENTS])
    start = StartRun(request=a_request())
    began = asyncio.get_running_loop().time()
    await bus.send(to_realm(start))
    assert asyncio.get_running_loop().time() - began < 0.4, "opening a sender takes longer"
    assert await probe.take(REALM_QUEUE, session_id=start.conversation_id) is not None
    await bus.close()


async def test_a_bus_that_is_away_is_transient_and_named() -> None:
    address = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0;"
    account = BusAccount(connection_string=f"{address}UseDevelopmentEmulator=true;")
    bus = AzureBus(account, payloads=blobs())
    await bus.warm([REALM_QUEUE])
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1 "):
        await bus.check()
    await bus.close()
    assert "c2VjcmV0" not in repr(account)


@pytest.mark.parametrize("text", [None, "nonsense", "SharedAccessKey=c2VjcmV0;"])
async def test_without_a_usable_address_the_setting_is_named(text: str | None) -> None:
    bus = AzureBus(BusAccount(connection_string=text), payloads=blobs())
    with pytest.raises(ConfigurationError, match="AZURE_SERVICEBUS_CONNECTION_STRING") as caught:
        await bus.send(to_realm(StartRun(request=a_request())))
    assert "c2VjcmV0" not in str(caught.value)
    await bus.close()


async def test_importing_the_adapter_loads_no_sdk() -> None:
    code = (
        "import sys; import aos.adapters.bus.service_bus as s;"
        " s.AzureBus(s.BusAccount(), payloads=None);"
        " print([n for n in ('azure', 'aiohttp') if n in sys.modules])"
    )
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.stdout.strip() == "[]"


async def _first_check_that(bus: AzureBus, *, passes: bool) -> float:
    """Seconds until `check` says so; raises TimeoutError."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(15):
        while True:
            try:
                await bus.check()
            except TransientError:
                if not passes:
                    return loop.time() - started
            else:
                if passes:
                    return loop.time() - started
            await asyncio.sleep(0.05)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestTrouble:
    """With a broker of its own, for it is killed and frozen.

    The SDK leaves the sockets of a broker that died to the garbage collector, which warns of them.
    """

    @pytest.fixture
    def broker(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBus]:
        with running_bus(tmp_path_factory.mktemp("trouble")) as broker:
            yield broker

    @pytest_asyncio.fixture(loop_scope="module")
    async def bus(self, broker: LocalBus) -> AsyncIterator[AzureBus]:
        bus = AzureBus(BusAccount(connection_string=broker.connection_string), payloads=blobs())
        yield bus
        await bus.close()
        gc.collect()

    async def test_the_first_send_after_a_restart_of_the_broker_succeeds(
        self, broker: LocalBus, bus: AzureBus
    ) -> None:
        first, second = StartRun(request=a_request()), StartRun(request=a_request())
        await bus.send(to_realm(first))
        broker.kill()
        await asyncio.to_thread(broker.start)
        await bus.send(to_realm(second))
        probe = Probe(broker.connection_string)
        for start in (first, second):
            got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
            assert got is not None, "what was accepted is kept"
        await probe.close()

    async def test_a_send_waits_for_a_broker_that_comes_back(
        self, broker: LocalBus, bus: AzureBus
    ) -> None:
        await bus.send(to_realm(StartRun(request=a_request())))
        broker.kill()
        late = StartRun(request=a_request())
        sending = asyncio.create_task(bus.send(to_realm(late)))
        done, _ = await asyncio.wait({sending}, timeout=1)
        assert not done
        await asyncio.to_thread(broker.start)
        await asyncio.wait_for(sending, 20)

    async def test_check_sees_a_broker_die_and_come_back(
        self, broker: LocalBus, bus: AzureBus
    ) -> None:
        await bus.check()
        broker.kill()
        assert await _first_check_that(bus, passes=False) < 5
        await asyncio.to_thread(broker.start)
        assert await _first_check_that(bus, passes=True) < 5

    async def test_check_sees_a_broker_that_is_frozen(
        self, broker: LocalBus, bus: AzureBus
    ) -> None:
        await bus.check()
        with broker.frozen():
            assert await _first_check_that(bus, passes=False) < 5
        assert await _first_check_that(bus, passes=True) < 5
