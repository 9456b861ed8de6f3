"""How do the end-to-end tests drive a running laptop? As its users do: blobs, a queue, HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from azure.servicebus import (
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiver,
    ServiceBusSender,
    ServiceBusSubQueue,
)
from azure.storage.blob import BlobServiceClient

from devhost.laptop import Laptop

T = TypeVar("T")
REQUESTS = "aos-requests"
REPLIES = "businessinfinity-responses"
PLAN_CARD = Path(__file__).parents[1] / "fixtures" / "plan" / "ceo.json"
HTTP_SECONDS = 110.0


def eventually(
    look: Callable[[], T | None], *, seconds: float, every: float = 0.05, what: str = "it"
) -> T:
    """What `look` returns once it is neither None nor False; AssertionError when time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer: status, headers in lower case, the JSON body (None: there is none)."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The error code of the body."""
        return str(self.body["error"]["code"])


class Road:
    """One laptop's doors."""

    def __init__(self, laptop: Laptop, *, key: str | None = None) -> None:
        self.laptop = laptop
        self.key = key
        self.main = laptop.urls["main"]
        self.blobs = BlobServiceClient.from_connection_string(laptop.storage_connection_string)
        self.config = self.blobs.get_container_client("aos-config")
        self.bus = ServiceBusClient.from_connection_string(laptop.servicebus_connection_string)
        self._sender: ServiceBusSender | None = None
        self._receiver: ServiceBusReceiver | None = None
        self._held: dict[str, list[ServiceBusReceivedMessage]] = {}

    def close(self) -> None:
        """Close the clients."""
        self.bus.close()
        self.blobs.close()

    # cards

    def upload(self, name: str, body: bytes | Mapping[str, Any]) -> str:
        """Upload a blob to aos-config: its ETag."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return str(self.config.upload_blob(name, raw, overwrite=True).get_blob_properties().etag)

    def status(self, name: str) -> dict[str, Any] | None:
        """The status file of `agents/<id>` or `mcp-servers/<id>`, None if there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            raw = self.config.download_blob(f"status/{name}.json").readall()
        except ResourceNotFoundError:
            return None
        found: dict[str, Any] = json.loads(raw)
        return found

    def judged(self, name: str, etag: str, *, seconds: float = 10.0) -> dict[str, Any]:
        """The status file once it speaks of the upload with this ETag."""

        def look() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status and status["source_etag"] == etag else None

        return eventually(look, seconds=seconds, what=f"the status of {name}")

    def live(self, agent_id: str, **card: Any) -> str:
        """Publish a card over HTTP, which waits for no timer; the agent's id."""
        body = {"agent_id": agent_id, "purpose": "Answer.", **card}
        answer = self.call("PUT", f"/api/agents/{agent_id}", body)
        assert (answer.status, answer.body["state"]) == (200, "active"), answer
        return agent_id

    def live_server(self, server_id: str, **card: Any) -> str:
        """Publish a server's card over HTTP, wait until its tools are listed; the server's id."""
        body = {"server_id": server_id, **card}
        answer = self.call("PUT", f"/api/mcp-servers/{server_id}", body)
        assert (answer.status, answer.body["state"]) == (200, "active"), answer
        self.listed(server_id)
        return server_id

    def listed(self, server_id: str) -> None:
        """Wait until the server is ready, which is when its tools are listed."""

        def look() -> bool:
            items = self.call("GET", "/api/tools?limit=100").body["items"]
            (found,) = [item for item in items if item["server_id"] == server_id] or [None]
            assert found is None or found["state"] != "failed", found
            return found is not None and found["state"] == "ready"

        eventually(look, seconds=30, every=0.1, what=f"the tools of {server_id}")

    # HTTP

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        app: str = "main",
        timeout: float = HTTP_SECONDS,
    ) -> Answer:
        """One HTTP call; an iterator is sent in chunks, what else is not bytes as JSON."""
        raw = body if isinstance(body, bytes | Iterator | None) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if raw is not None else {}
        if self.key:
            sent["x-functions-key"] = self.key
        request = urllib.request.Request(
            f"{self.laptop.urls[app]}{path}",
            data=raw,
            method=method,
            headers={**sent, **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.headers, error.read())

    def ask(self, agent_id: str, message: str, **body: Any) -> Answer:
        """POST a run and wait for it."""
        return self.call("POST", f"/api/agents/{agent_id}/run", {"message": message, **body})

    def ended(self, run_id: str, *, seconds: float = 30.0) -> dict[str, Any]:
        """The run once it has ended."""

        def look() -> dict[str, Any] | None:
            try:
                run = self.call("GET", f"/api/runs/{run_id}", timeout=10)
            except OSError:
                return None
            over = run.status == 200 and run.body["ended_at"] is not None
            return dict(run.body) if over else None

        return eventually(look, seconds=seconds, every=0.1, what=f"the end of run {run_id}")

    # the queue

    def send(self, body: Any, *, entity: str = REQUESTS, **properties: Any) -> str:
        """Send a request; a body that is not bytes is sent as JSON. The message id."""
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        properties.setdefault("message_id", f"m-{uuid.uuid4().hex}")
        message = ServiceBusMessage(raw, **properties)
        if entity != REQUESTS:
            with self.bus.get_queue_sender(entity) as sender:
                sender.send_messages(message)
        else:
            if self._sender is None:
                self._sender = self.bus.get_queue_sender(REQUESTS)
            try:
                self._sender.send_messages(message)
            except ValueError:  # closed by a broker that was killed
                self._sender = self.bus.get_queue_sender(REQUESTS)
                self._sender.send_messages(message)
        return str(properties["message_id"])

    def request(self, agent_id: str, message: str, **fields: Any) -> str:
        """Send a run request: its message id, which is also its correlation id."""
        return self.send({"version": 1, "agent_id": agent_id, "message": message, **fields})

    def replies_to(
        self, correlation_id: str, *, seconds: float = 20.0
    ) -> list[tuple[ServiceBusReceivedMessage, dict[str, Any]]]:
        """The replies with that correlation id: waits for the first, takes what is there."""

        def look() -> list[ServiceBusReceivedMessage] | None:
            self._drain()
            return self._held.pop(correlation_id, None)

        found = eventually(look, seconds=seconds, every=0.01, what=f"the reply to {correlation_id}")
        return [(message, json.loads(b"".join(message.body))) for message in found]

    def reply_to(self, correlation_id: str, *, seconds: float = 20.0) -> dict[str, Any]:
        """The body of the one reply with that correlation id."""
        ((_, body),) = self.replies_to(correlation_id, seconds=seconds)
        return body

    def no_more_replies(self, correlation_id: str, *, seconds: float = 1.0) -> bool:
        """True when nothing with that correlation id comes within the time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._drain()
            if correlation_id in self._held:
                return False
        return True

    def _drain(self) -> None:
        from azure.servicebus.exceptions import ServiceBusError

        try:
            if self._receiver is None:
                self._receiver = self.bus.get_queue_receiver(REPLIES)
                self._receiver.peek_messages()  # opens the link, which takes a second
            for message in self._receiver.receive_messages(max_message_count=50, max_wait_time=0.2):
                self._receiver.complete_message(message)
                self._held.setdefault(str(message.correlation_id), []).append(message)
        except (ServiceBusError, ValueError):  # the broker was killed: open another link
            self._receiver = None

    def dead_letters(self, entity: str = REQUESTS) -> list[ServiceBusReceivedMessage]:
        """What lies in the entity's dead-letter queue now."""
        with self.bus.get_queue_receiver(
            entity, sub_queue=ServiceBusSubQueue.DEAD_LETTER
        ) as receiver:
            return list(receiver.peek_messages(max_message_count=250))


def _answer(status: int, headers: Any, raw: bytes) -> Answer:
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = raw.decode(errors="replace")
    return Answer(status=status, headers=lower, body=body)
