"""Does the process keep what it accepted, stop when asked, and say why it cannot start?"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceiveMode,
)
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import ServiceBusError

from tests.contract.servicebus.process import BusProcess, running_bus

WAIT = 10.0
# The SDK leaves its socket to the garbage collector when the other end dies.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What the SDK left is collected in the test that left it."""
    yield
    gc.collect()


async def _send_until_killed(bus: BusProcess, *, at_least: int) -> set[str]:
    """The bodies whose send was acknowledged before the process was killed, in full flight."""
    acknowledged: set[str] = set()
    enough = asyncio.Event()

    async def send(client: AsyncClient, worker: int) -> None:
        async with client.get_queue_sender("q0") as sender:
            n = 0
            while True:
                body = f"{worker}-{n}"
                await sender.send_messages(ServiceBusMessage(body))
                acknowledged.add(body)
                n += 1
                if len(acknowledged) == at_least:
                    enough.set()

    async with AsyncClient.from_connection_string(bus.connection_string, retry_total=0) as client:
        tasks = [asyncio.create_task(send(client, worker)) for worker in range(2)]
        await asyncio.wait_for(enough.wait(), timeout=30)
        bus.kill()
        await asyncio.wait(tasks, timeout=WAIT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return acknowledged


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with running_bus(tmp_path) as bus:
        acknowledged = await _send_until_killed(bus, at_least=500)
        bus.start()
        got: list[str] = []
        async with (
            AsyncClient.from_connection_string(bus.connection_string) as client,
            client.get_queue_receiver(
                "q0", receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE
            ) as receiver,
        ):
            while batch := await receiver.receive_messages(500, max_wait_time=1):
                got += [str(message) for message in batch]
    assert acknowledged <= set(got)
    assert len(got) == len(set(got))


def test_after_a_kill_locks_are_gone_and_their_deliveries_count(tmp_path: Path) -> None:
    with running_bus(tmp_path) as bus:
        with (
            ServiceBusClient.from_connection_string(bus.connection_string, retry_total=0) as client,
            client.get_queue_sender("s0") as sender,
            client.get_queue_receiver("s0", session_id="s") as receiver,
        ):
            sender.send_messages([ServiceBusMessage(n, session_id="s") for n in "12"])
            first, _ = receiver.receive_messages(2, max_wait_time=WAIT)
            receiver.abandon_message(first)
            (first,) = receiver.receive_messages(1, max_wait_time=WAIT)
            bus.kill()
        bus.start()
        with (
            ServiceBusClient.from_connection_string(bus.connection_string) as client,
            client.get_queue_receiver(
                "s0", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=3
            ) as receiver,
        ):
            got = receiver.receive_messages(2, max_wait_time=WAIT)
            assert [(str(message), message.delivery_count) for message in got] == [
                ("1", 2),
                ("2", 1),
            ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_two_seconds_with_clients_connected(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_bus(tmp_path) as bus:
        client = ServiceBusClient.from_connection_string(bus.connection_string, retry_total=0)
        with contextlib.suppress(ServiceBusError), client:
            sender = client.get_queue_sender("q0")
            sender.send_messages(ServiceBusMessage("x"))
            started = time.monotonic()
            assert bus.stop(number) == 0
            assert time.monotonic() - started < 2


def test_health_is_answered_on_the_http_port(bus: BusProcess) -> None:
    url = f"http://127.0.0.1:{bus.http_port}"
    with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        assert (answer.status, json.load(answer)) == (200, {"status": "healthy"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/other", timeout=5)
    with refused.value as error:
        assert error.code == 401  # the administration interface, without a token


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "devhost.servicebus", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_a_busy_port_or_a_wrong_file_is_one_line(bus: BusProcess, tmp_path: Path) -> None:
    config = tmp_path / "Config.json"
    config.write_text('{"UserConfig": {}}')
    busy = _run("--config", str(config), "--port", str(bus.port), "--http-port", "0")
    assert (busy.returncode, busy.stderr.count("\n")) == (1, 1)
    assert str(bus.port) in busy.stderr
    config.write_text("[]")
    wrong = _run("--config", str(config), "--port", "0", "--http-port", "0")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert str(config) in wrong.stderr


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x01\x00\x00" + b"\xff" * 64, b"AMQP\x09\x09\x09\x09"],
    ids=["http", "frames", "version"],
)
def test_strangers_are_hung_up_on(bus: BusProcess, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bus.port), timeout=5) as stranger:
        stranger.sendall(data)
        while stranger.recv(4096):
            pass
