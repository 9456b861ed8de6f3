"""Asks agents over Service Bus and receives the replies. Entry point: `QueueClient`.

    with QueueClient(connection_string=…) as queue:
        reply = queue.ask("ceo", "What should we do first?", conversation_id="board")

It carries out the flows of `queue_operations`, as `async_queue` does. The first call imports the
SDK, which takes half a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aos.client.errors import AosUnreachable
from aos.client.flows import Blocking, Flow, Pause, make_methods, run
from aos.client.queue_operations import (
    PAGE,
    Abandon,
    Alone,
    Complete,
    Peek,
    QueueOperations,
    Request,
    Take,
)
from aos.client.waits import CALL_SECONDS
from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver

RETRIES = 3
TAKE_SECONDS = 1
T = TypeVar("T")


class BusOptions(QueueOperations):
    """What both clients are made with.

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
        super().__init__(replies=replies, session_id=session_id)
        self._connection_string = connection_string
        self._namespace = namespace
        self._requests = requests

    def receiver_options(self) -> dict[str, Any]:
        """Return how the replies are received."""
        options: dict[str, Any] = {"max_wait_time": TAKE_SECONDS}
        if self._session_id is not None:
            options["session_id"] = self._session_id
        return options


@make_methods
class QueueClient(BusOptions, Blocking):
    """Sends requests and receives the replies that belong to them. Not for several threads at once.

    Raises AosClientError if a request was refused, and AosUnreachable.
    """

    _client: ServiceBusClient | None = None

    def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        from azure.servicebus.exceptions import ServiceBusError

        exchange = _Exchange(self)
        try:
            return run(flow, exchange.perform)
        except ServiceBusError as error:
            raise explain_away(error) from error
        finally:
            exchange.close()

    def close(self) -> None:
        """Close the connection. The next call opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
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


class _Exchange:
    """The links of one flow."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client
        self._receiver: ServiceBusReceiver | None = None

    def perform(self, effect: object) -> Any:
        """Perform an effect; return its answer."""
        match effect:
            case Alone(flow):
                return run(flow, self.perform)
            case Request():
                return self._send(make_message(effect))
            case Peek(start):
                return self._receive().peek_messages(
                    max_message_count=PAGE, sequence_number=start, timeout=CALL_SECONDS
                )
            case Take():
                return self._receive().receive_messages(
                    max_message_count=PAGE, max_wait_time=TAKE_SECONDS
                )
            case Complete(message):
                return self._receive().complete_message(message)
            case Abandon(message):
                return self._receive().abandon_message(message)
            case Pause(seconds):
                return time.sleep(seconds)
        raise TypeError(f"{effect!r} is not an effect")

    def close(self) -> None:
        """Close the link of the replies."""
        if self._receiver is not None:
            self._receiver.__exit__(None, None, None)

    def _send(self, message: ServiceBusMessage) -> None:
        bus = self._client._open()
        with bus.get_queue_sender(self._client._requests) as sender:
            sender.send_messages(message, timeout=CALL_SECONDS)

    def _receive(self) -> ServiceBusReceiver:
        if self._receiver is None:
            options = self._client.receiver_options()
            receiver = self._client._open().get_queue_receiver(self._client._replies, **options)
            self._receiver = receiver.__enter__()
        return self._receiver


def make_message(request: Request) -> ServiceBusMessage:
    """Return the SDK's message of a request."""
    from azure.servicebus import ServiceBusMessage

    return ServiceBusMessage(
        request.body,
        content_type="application/json",
        message_id=request.message_id,
        correlation_id=request.correlation_id,
        reply_to=request.reply_to,
        reply_to_session_id=request.reply_to_session_id,
        application_properties=_write_properties(request),
    )


def _write_properties(request: Request) -> dict[str | bytes, Any] | None:
    if request.on_behalf_of is None:
        return None
    return {"aos_on_behalf_of": request.on_behalf_of}


def explain_away(error: Exception) -> AosUnreachable:
    """Make the error for a bus that does not answer."""
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return AosUnreachable(f"Service Bus does not answer: {first}; start AOS with `make run`")
