"""Gives the demonstration access to the running system: blobs, a queue, HTTP. Entry point:
`LiveDoors`."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from devhost.errors import LaptopError

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage, ServiceBusReceiver
    from azure.storage.blob import BlobClient

REQUESTS = "aos-requests"
REPLIES = "businessinfinity-responses"
ANSWER_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: the run object, the correlation id of the reply, and the time it took."""

    run: dict[str, Any]
    milliseconds: float
    correlation_id: str = ""

    @property
    def text(self) -> str:
        """The output, or the code and message of the error."""
        error = self.run.get("error")
        if error:
            return f"{error.get('code')}: {error.get('message')}"
        return str(self.run.get("output") or "").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The blob of a card: its bytes and ETag."""

    body: bytes
    etag: str


class Doors(Protocol):
    """The operations that the demonstration needs."""

    def read_card(self, agent_id: str) -> Card | None:
        """Return the card's blob, or None."""

    def write_card(self, agent_id: str, body: bytes, *, over: str | None) -> str:
        """Replace the blob with that ETag, or (None) create it; return the new ETag."""

    def status(self, agent_id: str) -> dict[str, Any] | None:
        """Return the status file, or None."""

    def ask_queue(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        """Send a request through the queue; return the reply with its correlation id."""

    def ask_http(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        """Send a request over HTTP."""


class LiveDoors:
    """The operations on a running laptop. All methods raise LaptopError if they fail."""

    def __init__(self, *, main_url: str, storage: str, bus: str, key: str | None) -> None:
        self._main_url = main_url
        self._storage = storage
        self._bus = bus
        self._key = key

    def read_card(self, agent_id: str) -> Card | None:
        """Return the card's blob, or None."""
        return self._read(f"agents/{agent_id}.json")

    def write_card(self, agent_id: str, body: bytes, *, over: str | None) -> str:
        """Replace the blob with that ETag, or (None) create it; return the new ETag."""
        from azure.core import MatchConditions
        from azure.core.exceptions import AzureError

        if over is None:
            condition: dict[str, Any] = {"overwrite": False}
        else:
            condition = {
                "overwrite": True,
                "etag": over,
                "match_condition": MatchConditions.IfNotModified,
            }
        try:
            with self._open_blob(f"agents/{agent_id}.json") as blob:
                return str(blob.upload_blob(body, **condition)["etag"])
        except AzureError as error:
            raise LaptopError(
                f"agents/{agent_id}.json cannot be written: {_take_first_line(error)}"
            ) from error

    def status(self, agent_id: str) -> dict[str, Any] | None:
        """Return the status file, or None."""
        found = self._read(f"status/agents/{agent_id}.json")
        return None if found is None else dict(json.loads(found.body))

    def ask_queue(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        """Send a request through the queue; return the reply with its correlation id."""
        from azure.servicebus import ServiceBusClient, ServiceBusMessage
        from azure.servicebus.exceptions import ServiceBusError

        correlation_id = f"demo-{uuid.uuid4().hex[:8]}"
        body = {
            "version": 1,
            "agent_id": agent_id,
            "message": message,
            "conversation_id": conversation_id,
        }
        request = ServiceBusMessage(
            json.dumps(body),
            content_type="application/json",
            message_id=correlation_id,
            correlation_id=correlation_id,
        )
        try:
            with (
                ServiceBusClient.from_connection_string(self._bus) as client,
                client.get_queue_receiver(REPLIES, max_wait_time=1) as replies,
                client.get_queue_sender(REQUESTS) as requests,
            ):
                # opens the link, so that the measured time does not include it
                replies.peek_messages()
                began = time.monotonic()
                requests.send_messages(request)
                run = wait_for_reply(replies, correlation_id)
        except ServiceBusError as error:
            raise LaptopError(f"Service Bus: {_take_first_line(error)}") from error
        return Answer(
            run=run, milliseconds=_count_milliseconds(began), correlation_id=correlation_id
        )

    def ask_http(self, agent_id: str, message: str, conversation_id: str) -> Answer:
        """Send a request over HTTP."""
        body = json.dumps({"message": message, "conversation_id": conversation_id}).encode()
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["x-functions-key"] = self._key
        request = urllib.request.Request(
            f"{self._main_url}/api/agents/{agent_id}/run", data=body, headers=headers
        )
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise LaptopError(f"HTTP {error.code}: {error.read()[:300].decode()}") from error
        except (OSError, ValueError) as error:
            raise LaptopError(f"main did not answer over HTTP: {error}") from error
        return Answer(run=answer, milliseconds=_count_milliseconds(began))

    def _read(self, name: str) -> Card | None:
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        try:
            with self._open_blob(name) as blob:
                download = blob.download_blob()
                return Card(body=download.readall(), etag=download.properties.etag)
        except ResourceNotFoundError:
            return None
        except AzureError as error:
            raise LaptopError(f"{name} cannot be read: {_take_first_line(error)}") from error

    def _open_blob(self, name: str) -> BlobClient:
        from azure.storage.blob import BlobClient

        return BlobClient.from_connection_string(
            self._storage, "aos-config", name, connection_timeout=5, read_timeout=20, retry_total=2
        )


def wait_for_reply(replies: ServiceBusReceiver, correlation_id: str) -> dict[str, Any]:
    """Complete the reply with this correlation id.

    Other replies are kept locked until then: given back at once, they would come again at once, and
    after ten deliveries they are dead letters.
    """
    from azure.servicebus.exceptions import ServiceBusError

    others: list[ServiceBusReceivedMessage] = []
    deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
    try:
        while time.monotonic() < deadline:
            for message in replies.receive_messages(max_message_count=10, max_wait_time=1):
                if message.correlation_id == correlation_id:
                    replies.complete_message(message)
                    return dict(json.loads(b"".join(message.body)))
                others.append(message)
    finally:
        for message in others:
            # its lock ended, so the queue has it back already
            with contextlib.suppress(ServiceBusError):
                replies.abandon_message(message)
    raise LaptopError(f"no reply came on {REPLIES} within {ANSWER_TIMEOUT_SECONDS:g} s")


def _count_milliseconds(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _take_first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
