"""How do tests of the pump run the local Service Bus, kill it, and look into it?"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSender

from tests.contract.functions.hosting import REPOSITORY, free_port

START_SECONDS = 15.0
STOP_SECONDS = 10.0


def queue(name: str, *, sessions: bool = False, lock: str = "PT1M", tries: int = 10) -> dict:
    """A queue as Config.json has it."""
    properties = {
        "DeadLetteringOnMessageExpiration": False,
        "DefaultMessageTimeToLive": "PT1H",
        "LockDuration": lock,
        "MaxDeliveryCount": tries,
        "RequiresDuplicateDetection": False,
        "RequiresSession": sessions,
    }
    return {"Name": name, "Properties": properties}


class LocalBus:
    """The broker as a process on a port of its own, its messages on disk."""

    def __init__(self, folder: Path, queues: list[dict], topics: list[dict]) -> None:
        self._folder = folder
        namespace = {"Name": "sbemulatorns", "Queues": queues, "Topics": topics}
        document = {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}
        (folder / "Config.json").write_text(json.dumps(document), "utf-8")
        self._port, self._http_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}

    @property
    def connection_string(self) -> str:
        """What the app's setting holds."""
        return (
            f"Endpoint=sb://127.0.0.1:{self._port};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs now."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start it and wait until it listens."""
        options = {
            "--config": self._folder / "Config.json",
            "--port": self._port,
            "--http-port": self._http_port,
            "--data": self._folder / "bus.db",
        }
        arguments = [str(part) for pair in options.items() for part in pair]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devhost.servicebus", *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        said = self.process.stdout.readline() if ready and self.process.stdout else b""
        if not said.startswith(b"Service Bus listens on"):
            raise AssertionError(f"no Service Bus: {said!r}, exit {self.process.poll()}")

    def kill(self) -> None:
        """kill -9."""
        self.disconnect()
        self.process.kill()
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        self.process.wait(STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_for_attempts(self, count: int) -> None:
        """Hang up on so many clients that try to connect while the broker is away."""
        with socket.create_server(("127.0.0.1", self._port)) as listener:
            listener.settimeout(START_SECONDS)
            for _ in range(count):
                listener.accept()[0].close()

    def stop(self) -> None:
        """SIGTERM, if it runs."""
        self.disconnect()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._wait_for_end()

    def send(self, entity: str, *messages: ServiceBusMessage) -> None:
        """Send by the SDK; a sender stays open, for opening one takes it a second."""
        for message in messages:
            self._sender(entity).send_messages(message, timeout=10)

    def _sender(self, entity: str) -> ServiceBusSender:
        if self._client is None:
            self._client = ServiceBusClient.from_connection_string(self.connection_string)
        if entity not in self._senders:
            make = (
                self._client.get_topic_sender
                if entity.startswith("topic")
                else self._client.get_queue_sender
            )
            self._senders[entity] = make(entity)
        return self._senders[entity]

    def received(self, entity: str, *, sub_queue: Any = None, wait: float = 5.0) -> list[Any]:
        """Take what a queue holds, at most ten messages."""
        with (
            ServiceBusClient.from_connection_string(self.connection_string) as client,
            client.get_queue_receiver(entity, sub_queue=sub_queue) as receiver,
        ):
            messages = receiver.receive_messages(max_message_count=10, max_wait_time=wait)
            for message in messages:
                receiver.complete_message(message)
            return list(messages)

    def disconnect(self) -> None:
        """Close the SDK's connections."""
        client, self._client, self._senders = self._client, None, {}
        if client is not None:
            client.close()


@contextlib.contextmanager
def local_bus(
    folder: Path, queues: list[dict], topics: list[dict] | None = None
) -> Iterator[LocalBus]:
    """A broker that runs, and is gone in the end."""
    bus = LocalBus(folder, queues, topics or [])
    bus.start()
    try:
        yield bus
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            bus.stop()
        if bus.process.poll() is None:
            bus.process.kill()
            bus.process.wait(STOP_SECONDS)
