"""Fixtures: one Service Bus for all tests of the SDK, and queues that no other test uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

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


@pytest.fixture
def client(bus: BusProcess) -> Iterator[ServiceBusClient]:
    """The SDK's synchronous client; without retries, so that refusals are seen at once."""
    with ServiceBusClient.from_connection_string(bus.connection_string, retry_total=0) as connected:
        yield connected


@pytest.fixture
async def async_client(bus: BusProcess) -> AsyncIterator[AsyncClient]:
    """The SDK's asynchronous client."""
    async with AsyncClient.from_connection_string(
        bus.connection_string, retry_total=0
    ) as connected:
        yield connected
