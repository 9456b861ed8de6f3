"""Asks agents over Service Bus in asyncio. Entry point: `AsyncQueueClient`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aos.client.flows import Awaiting, Flow, Pause, make_methods, run_later
from aos.client.queue import RETRIES, TAKE_SECONDS, BusOptions, explain_away, make_message
from aos.client.queue_operations import PAGE, Abandon, Alone, Complete, Peek, Request, Take
from aos.client.waits import CALL_SECONDS

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

T = TypeVar("T")


@make_methods
class AsyncQueueClient(BusOptions, Awaiting):
    """QueueClient for asyncio: the same methods, awaited. Several tasks may use one client; they
    share its links.

    Close it with `aclose`, or use it as `async with AsyncQueueClient(…) as queue`.
    """

    def __init__(self, **options: Any) -> None:
        """Options as in QueueClient."""
        super().__init__(**options)
        self._client: ServiceBusClient | None = None
        self._credential: Any = None
        self._sender: ServiceBusSender | None = None
        self._receiver: ServiceBusReceiver | None = None
        self._sending = asyncio.Lock()
        self._receiving = asyncio.Lock()

    async def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        from azure.servicebus.exceptions import ServiceBusError

        try:
            return await run_later(flow, self._perform)
        except ServiceBusError as error:
            raise explain_away(error) from error

    async def aclose(self) -> None:
        """Close the connection. The next call opens another."""
        opened = (self._sender, self._receiver, self._client, self._credential)
        self._sender = self._receiver = self._client = self._credential = None
        for one in opened:
            if one is not None:
                await one.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def _perform(self, effect: object) -> Any:
        """Perform an effect; return its answer."""
        match effect:
            case Request():
                async with self._sending:
                    return await self._send(make_message(effect))
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Alone(flow):
                async with self._receiving:
                    try:
                        return await run_later(flow, self._receive)
                    finally:
                        if self._session_id is not None:  # its lock would expire
                            await self._close_receiver()
        async with self._receiving:
            return await self._receive(effect)

    async def _receive(self, effect: object) -> Any:
        """Perform an effect on the replies; return its answer. One at a time."""
        from azure.servicebus.exceptions import ServiceBusError

        if self._receiver is None:
            options = self.receiver_options()
            self._receiver = self._open().get_queue_receiver(self._replies, **options)
        try:
            return await _perform_on(self._receiver, effect)
        except ServiceBusError:
            await self._close_receiver()
            raise

    async def _close_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()

    async def _send(self, message: ServiceBusMessage) -> None:
        from azure.servicebus.exceptions import ServiceBusError

        if self._sender is None:
            self._sender = self._open().get_queue_sender(self._requests)
        try:
            await self._sender.send_messages(message, timeout=CALL_SECONDS)
        except ServiceBusError:
            sender, self._sender = self._sender, None
            await sender.close()
            raise

    def _open(self) -> ServiceBusClient:
        from azure.servicebus.aio import ServiceBusClient

        if self._client is None:
            if self._connection_string:
                self._client = ServiceBusClient.from_connection_string(
                    self._connection_string, retry_total=RETRIES
                )
            else:
                from azure.identity.aio import DefaultAzureCredential

                self._credential = DefaultAzureCredential()
                self._client = ServiceBusClient(
                    str(self._namespace), self._credential, retry_total=RETRIES
                )
        return self._client


async def _perform_on(receiver: ServiceBusReceiver, effect: object) -> Any:
    match effect:
        case Peek(start):
            return await receiver.peek_messages(
                max_message_count=PAGE, sequence_number=start, timeout=CALL_SECONDS
            )
        case Take():
            return await receiver.receive_messages(
                max_message_count=PAGE, max_wait_time=TAKE_SECONDS
            )
        case Complete(message):
            return await receiver.complete_message(message)
        case Abandon(message):
            return await receiver.abandon_message(message)
    raise TypeError(f"{effect!r} is not an effect")
