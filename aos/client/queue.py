"""Asks agents over Service Bus and receives the replies. Entry point: `QueueClient`.

    with QueueClient(connection_string=…) as queue:
        reply = queue.ask("ceo", "What should we do first?", conversation_id="board")

The correlation id identifies the reply. In a shared reply queue the client looks for it without
locks (peek), so that it does not delay other readers, and takes it once it is there. The first call
imports the SDK, which takes half a second.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.waits import CALL_SECONDS
from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.domain.json_writer import write_json

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage, ServiceBusReceiver

REPLY_SECONDS = 120.0
FIRST_NUMBER = 1
LOOK_EVERY_SECONDS = 0.2
PAGE = 100
TAKE_ROUNDS = 10
RETRIES = 3


class QueueClient:
    """Sends requests and receives the replies that belong to them. Not for several threads at once.

    `replies`: the queue of the replies; if it is not the default, requests name it as `reply_to`,
    and the operator lists it in `AOS_REPLY_TO`. `session_id`: the reply queue has sessions, and
    this session belongs to this client, so that no other reader gets its replies.
    """

    def __init__(
        self,
        *,
        connection_string: str | None = None,
        namespace: str | None = None,
        requests: str = REQUESTS_QUEUE,
        replies: str = RESPONSES_QUEUE,
        session_id: str | None = None,
    ) -> None:
        """Connect by connection string, or by identity (`azure-identity`) to a namespace's host
        name."""
        self._connection_string = connection_string
        self._namespace = namespace
        self._requests = requests
        self._replies = replies
        self._session_id = session_id
        self._client: ServiceBusClient | None = None

    def ask(
        self,
        agent_id: str,
        message: str | list[dict[str, Any]],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        timeout_seconds: float = REPLY_SECONDS,
    ) -> dict[str, Any]:
        """Ask an agent and wait for the reply: the run object, with `type` and `version`.

        `key` is the message id, for example a business key; the default is a new one. Raises
        AosClientError if the request was refused, and AosUnreachable if no reply came in time (the
        run continues).
        """
        from azure.servicebus.exceptions import ServiceBusError

        correlation_id = str(uuid.uuid4())
        end = time.monotonic() + timeout_seconds
        try:
            with self._get_receiver() as receiver:
                start = FIRST_NUMBER if self._session_id else _find_first_number(receiver, end)
                self._send(
                    _write_body(agent_id, message, conversation_id, metadata), correlation_id, key
                )
                reply = self._await_reply(receiver, correlation_id, start, end)
        except ServiceBusError as error:
            raise _explain_away(error) from error
        if reply is None:
            raise AosUnreachable(
                f"no reply came on {self._replies!r} within {timeout_seconds:g} s; does AOS run?"
            )
        if reply.get("type") == "run.refused":
            raise AosClientError(reply.get("error") or {})
        return reply

    def send(
        self,
        agent_id: str,
        message: str | list[dict[str, Any]],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> str:
        """Ask an agent without waiting for the reply; return the correlation id."""
        from azure.servicebus.exceptions import ServiceBusError

        correlation_id = str(uuid.uuid4())
        try:
            self._send(
                _write_body(agent_id, message, conversation_id, metadata), correlation_id, key
            )
        except ServiceBusError as error:
            raise _explain_away(error) from error
        return correlation_id

    def close(self) -> None:
        """Close the connection. The next call opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> ServiceBusClient:
        from azure.servicebus import ServiceBusClient

        if self._client is None:
            if self._connection_string:
                self._client = ServiceBusClient.from_connection_string(
                    self._connection_string, retry_total=RETRIES
                )
            else:
                from azure.identity import DefaultAzureCredential

                self._client = ServiceBusClient(
                    str(self._namespace), DefaultAzureCredential(), retry_total=RETRIES
                )
        return self._client

    def _get_receiver(self) -> ServiceBusReceiver:
        options: dict[str, Any] = {"max_wait_time": 1}
        if self._session_id is not None:
            options["session_id"] = self._session_id
        return self._open().get_queue_receiver(self._replies, **options)

    def _send(self, body: Mapping[str, Any], correlation_id: str, key: str | None) -> None:
        from azure.servicebus import ServiceBusMessage

        addressed = self._session_id is not None or self._replies != RESPONSES_QUEUE
        message = ServiceBusMessage(
            write_json(body),
            content_type="application/json",
            message_id=key or correlation_id,
            correlation_id=correlation_id,
            reply_to=self._replies if addressed else None,
            reply_to_session_id=self._session_id,
        )
        with self._open().get_queue_sender(self._requests) as sender:
            sender.send_messages(message, timeout=CALL_SECONDS)

    def _await_reply(
        self, receiver: ServiceBusReceiver, correlation_id: str, start: int, end: float
    ) -> dict[str, Any] | None:
        """Wait for the reply until `end` and take it off the queue; return None if it has not
        come."""
        while time.monotonic() < end:
            if self._session_id is not None:
                found = _take(receiver, correlation_id, rounds=1)
            else:
                found, start = _peek(receiver, correlation_id, start)
                if found is not None:
                    _take(receiver, correlation_id, rounds=TAKE_ROUNDS)
            if found is not None:
                return found
            time.sleep(LOOK_EVERY_SECONDS)
        return None


def _write_body(
    agent_id: str,
    message: str | list[dict[str, Any]],
    conversation_id: str | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "version": 1,
        "agent_id": agent_id,
        "message": message,
        "conversation_id": conversation_id,
        "metadata": dict(metadata or {}),
    }


def _find_first_number(receiver: ServiceBusReceiver, end: float) -> int:
    """Return the first sequence number that the reply can have; present messages are not it."""
    start = FIRST_NUMBER
    while (found := _peek_page(receiver, start)) and time.monotonic() < end:
        start = _read_number(found[-1]) + 1
    return start


def _peek_page(receiver: ServiceBusReceiver, start: int) -> list[ServiceBusReceivedMessage]:
    return receiver.peek_messages(
        max_message_count=PAGE, sequence_number=start, timeout=CALL_SECONDS
    )


def _peek(
    receiver: ServiceBusReceiver, correlation_id: str, start: int
) -> tuple[dict[str, Any] | None, int]:
    """Look for the reply without taking it; return it, and where to look next."""
    for message in _peek_page(receiver, start):
        start = _read_number(message) + 1
        if message.correlation_id == correlation_id:
            return _read(message), start
    return None, start


def _take(
    receiver: ServiceBusReceiver, correlation_id: str, *, rounds: int
) -> dict[str, Any] | None:
    """Complete the reply; return None if another reader took it or it is too far behind.

    Other replies are locked until it is found and then given back, so each is delivered only once
    more.
    """
    others, mine = [], None
    for _ in range(rounds):
        found = receiver.receive_messages(max_message_count=PAGE, max_wait_time=1)
        for message in found:
            if message.correlation_id == correlation_id:
                mine = _read(message)
                receiver.complete_message(message)
            else:
                others.append(message)
        if mine is not None or not found:
            break
    for message in others:
        receiver.abandon_message(message)
    return mine


def _read_number(message: ServiceBusReceivedMessage) -> int:
    return message.sequence_number or 0


def _read(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    body = message.body
    reply = json.loads(body if isinstance(body, bytes) else b"".join(body))
    return reply if isinstance(reply, dict) else {}


def _explain_away(error: Exception) -> AosUnreachable:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return AosUnreachable(f"Service Bus does not answer: {first}; start AOS with `make run`")
