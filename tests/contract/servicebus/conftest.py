"""Fixtures: one Service Bus for all tests of the SDK, and queues that no other test uses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient
from azure.servicebus.aio import ServiceBusClient as AsyncClient

from tests.contract.servicebus.process import (
    PLAIN_QUEUES,
    SESSION_QUEUES,
    BusProcess,
    running_bus,
)


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusProcess]:
    """A running Service Bus with its messages on disk."""
    with running_bus(tmp_path_factory.mktemp("bus")) as running:
        yield running


@pytest.fixture(scope="session")
def _plain_names() -> Iterator[str]:
    return iter(PLAIN_QUEUES)


@pytest.fixture(scope="session")
def _session_names() -> Iterator[str]:
    return iter(SESSION_QUEUES)


@pytest.fixture
def queue(_plain_names: Iterator[str]) -> str:
    """A queue of this test: locks of 5 s, at most 3 deliveries, dead letters on expiry."""
    return next(_plain_names)


@pytest.fixture
def session_queue(_session_names: Iterator[str]) -> str:
    """The same with sessions."""
    return next(_session_names)


class _ClosedLater:
    """A sender or receiver that a test has done with; closing one takes the SDK half a second."""

    def __init__(self, handler: Any, done: list[Any]) -> None:
        self._handler = handler
        self._done = done

    def __enter__(self) -> Any:
        self._done.append(self._handler)
        return self._handler.__enter__()

    def __exit__(self, *exception: object) -> None:
        """Nothing yet."""


class SdkClient:
    """The SDK's client; it takes half a second to open anything, and again to close it.

    So a sender and a receiver of each queue are opened together at the start, and all that tests
    open is closed together at the end.

    Receivers of sessions are closed when a test leaves them, for this gives the session free.
    """

    def __init__(self, client: ServiceBusClient) -> None:
        self._client = client
        self._done: list[Any] = []
        queues = [*PLAIN_QUEUES, *SESSION_QUEUES]
        with ThreadPoolExecutor(16) as pool:
            senders = pool.map(lambda name: client.get_queue_sender(name).__enter__(), queues)
            receivers = pool.map(
                lambda name: client.get_queue_receiver(name).__enter__(), PLAIN_QUEUES
            )
            self._senders: dict[str, Any] = dict(zip(queues, senders, strict=True))
            self._receivers: dict[str, Any] = dict(zip(PLAIN_QUEUES, receivers, strict=True))
        self._done.extend([*self._senders.values(), *self._receivers.values()])

    def get_queue_sender(self, queue: str) -> Any:
        if queue in self._senders:
            return contextlib.nullcontext(self._senders[queue])
        return _ClosedLater(self._client.get_queue_sender(queue), self._done)

    def get_topic_sender(self, topic: str) -> Any:
        return _ClosedLater(self._client.get_topic_sender(topic), self._done)

    def get_queue_receiver(self, queue: str, **options: Any) -> Any:
        if not options and queue in self._receivers:
            return contextlib.nullcontext(self._receivers.pop(queue))
        receiver = self._client.get_queue_receiver(queue, **options)
        return receiver if "session_id" in options else _ClosedLater(receiver, self._done)

    def get_subscription_receiver(self, topic: str, name: str, **options: Any) -> Any:
        receiver = self._client.get_subscription_receiver(topic, name, **options)
        return _ClosedLater(receiver, self._done)

    def close(self) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda handler: handler.close(), self._done))
        self._client.close()


@pytest.fixture(scope="session")
def client(bus: BusProcess) -> Iterator[SdkClient]:
    """The SDK's synchronous client; without retries, so that refusals are seen at once."""
    sdk = SdkClient(ServiceBusClient.from_connection_string(bus.connection_string, retry_total=0))
    yield sdk
    sdk.close()


@pytest.fixture
async def async_client(bus: BusProcess) -> AsyncIterator[AsyncClient]:
    """The SDK's asynchronous client."""
    async with AsyncClient.from_connection_string(
        bus.connection_string, retry_total=0
    ) as connected:
        yield connected
