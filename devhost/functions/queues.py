"""Passes the messages of a storage queue to a function. Entry point: `QueueTrigger`.

It polls every 100 ms while there are messages, and slows down to host.json's maxPollingInterval. A
message is hidden while its function runs, deleted after success, and visible again after a failure.
After maxDequeueCount attempts it is moved to `<queue>-poison`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import importlib.util
import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.functions.meta import Datum

from devhost.functions.binding_data import as_datum, bind_body
from devhost.functions.connections import Connection, resolve_storage
from devhost.functions.errors import LoadError
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import describe_briefly, say, say_failed, watch_task
from devhost.functions.settings import QueueOptions

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

FIRST_DELAY_SECONDS = 0.1
HIDDEN_SECONDS = 600
MOST_PER_POLL = 32
_LIMITS: Mapping[str, Any] = {"connection_timeout": 5, "read_timeout": 15, "retry_total": 0}


class QueueTrigger:
    """One function and its storage queue."""

    def __init__(self, function: LoadedFunction, invoker: Invoker, options: QueueOptions) -> None:
        if importlib.util.find_spec("azure.storage.queue") is None:
            raise LoadError(
                function.name,
                "a queue trigger needs the package azure-storage-queue on this host",
                remedy="install it: pip install azure-storage-queue",
            )
        self._function = function
        self._invoker = invoker
        self._options = options
        self._queue_name = str(function.trigger["queueName"]).lower()
        self._binary = str(function.trigger.get("dataType", "")).upper() == "BINARY"
        self._connection = resolve_storage(
            str(function.trigger.get("connection") or ""), os.environ, function=function.name
        )
        self._stopped = asyncio.Event()
        self._room = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._queue: QueueClient | None = None
        self._poison: QueueClient | None = None
        self._make_credential: Any = None

    async def start(self) -> None:
        """Start to poll."""
        poller = asyncio.create_task(self._poll(), name=f"queue {self._queue_name}")
        self._poller = watch_task(poller)

    async def stop_intake(self) -> None:
        """Stop polling. A poll in progress ends first, because its messages would stay hidden."""
        self._stopped.set()
        if self._poller is not None:
            await asyncio.wait({self._poller}, timeout=2)

    async def close(self) -> None:
        """End the remaining calls; their messages become visible again."""
        tasks = {*self._calls, *([self._poller] if self._poller else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)
        for client in (self._queue, self._poison, self._make_credential):
            if client is not None:
                await client.close()

    async def _poll(self) -> None:
        # The SDK takes half a second to import, which HTTP need not wait for.
        await asyncio.to_thread(importlib.import_module, "azure.storage.queue.aio")
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        self._queue = self._open(self._queue_name)
        delay = FIRST_DELAY_SECONDS
        failing = False
        while not self._stopped.is_set():
            found = 0
            try:
                found = await self._take(self._queue)
                failing = False
            except ResourceNotFoundError:
                failing = False  # as in Azure, a queue that does not exist counts as empty
            except (AzureError, OSError, TimeoutError) as error:
                if not failing:
                    say(
                        "warning",
                        "queue.away",
                        queue=self._queue_name,
                        error=describe_briefly(error),
                    )
                failing = True
            delay = FIRST_DELAY_SECONDS if found else min(delay * 1.5, self._longest)
            await self._pause(0.0 if found else delay)

    @property
    def _longest(self) -> float:
        return max(self._options.max_polling_seconds, FIRST_DELAY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait for the next poll and until at most half a batch is running."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
        while len(self._calls) > self._options.batch_size // 2 and not self._stopped.is_set():
            self._room.clear()
            await self._room.wait()

    async def _take(self, queue: QueueClient) -> int:
        count = min(self._options.batch_size, MOST_PER_POLL)
        pages = queue.receive_messages(
            messages_per_page=count,
            max_messages=count,
            visibility_timeout=HIDDEN_SECONDS,
            timeout=10,
        )
        messages = [message async for message in pages]
        for message in messages:
            if self._stopped.is_set():
                await self._release(queue, message, after_seconds=0)
                continue
            call = asyncio.create_task(self._handle(queue, message))
            self._calls.add(call)
            call.add_done_callback(self._handle_end)
        return len(messages)

    def _handle_end(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._room.set()

    async def _handle(self, queue: QueueClient, message: QueueMessage) -> None:
        from azure.core.exceptions import AzureError

        renewal = asyncio.create_task(_keep_hidden(queue, message))
        try:
            done = await self._call(message)
            renewal.cancel()
            await self._settle(queue, message, done=done)
        except asyncio.CancelledError:
            with contextlib.suppress(AzureError):
                await self._release(queue, message, after_seconds=0)
            raise
        except (AzureError, OSError, TimeoutError) as error:
            say("warning", "queue.unsettled", message_id=message.id, error=describe_briefly(error))
        finally:
            renewal.cancel()

    async def _call(self, message: QueueMessage) -> bool:
        """Call the function; return whether it succeeded."""
        if (message.dequeue_count or 0) > self._options.max_dequeue_count:
            return False
        try:
            body = self._decode(str(message.content))
            data, metadata = bind_body(body, binary=self._binary, metadata=_build_metadata(message))
            await self._invoker.call(self._function, data, metadata)
        except Exception as error:
            say_failed(
                self._function.name,
                error,
                message_id=message.id,
                dequeue_count=message.dequeue_count,
            )
            return False
        return True

    def _decode(self, content: str) -> bytes:
        if self._options.encoding == "none":
            return content.encode()
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(
                "the message is not base64; encode it, or set extensions.queues.messageEncoding "
                'to "none" in host.json'
            ) from error

    async def _settle(self, queue: QueueClient, message: QueueMessage, *, done: bool) -> None:
        if done:
            await queue.delete_message(message, timeout=10)
        elif self._queue_name.endswith("-poison"):
            pass  # as in Azure: the message stays hidden, so that it does not come back at once
        elif (message.dequeue_count or 0) >= self._options.max_dequeue_count:
            await self._move_to_poison(queue, message)
        else:
            await self._release(queue, message, after_seconds=self._options.retry_after_seconds)

    async def _release(
        self, queue: QueueClient, message: QueueMessage, *, after_seconds: float
    ) -> None:
        await queue.update_message(message, visibility_timeout=int(after_seconds), timeout=10)

    async def _move_to_poison(self, queue: QueueClient, message: QueueMessage) -> None:
        from azure.core.exceptions import ResourceExistsError

        name = f"{self._queue_name}-poison"
        if self._poison is None:
            self._poison = self._open(name)
            with contextlib.suppress(ResourceExistsError):
                await self._poison.create_queue(timeout=10)
        await self._poison.send_message(message.content, timeout=10)
        await queue.delete_message(message, timeout=10)
        say("warning", "queue.poison", queue=name, message_id=message.id)

    def _open(self, name: str) -> QueueClient:
        from azure.storage.queue.aio import QueueClient

        connection = self._connection
        plain: dict[str, Any] = {"message_encode_policy": None, "message_decode_policy": None}
        if connection.connection_string:
            return QueueClient.from_connection_string(
                connection.connection_string, name, **_LIMITS, **plain
            )
        if self._make_credential is None:
            self._make_credential = _make_credential(connection)
        return QueueClient(
            str(connection.address), name, credential=self._make_credential, **_LIMITS, **plain
        )


def _make_credential(connection: Connection) -> Any:
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if connection.managed:
        return ManagedIdentityCredential(client_id=connection.client_id)
    return DefaultAzureCredential(managed_identity_client_id=connection.client_id)


async def _keep_hidden(queue: QueueClient, message: QueueMessage) -> None:
    from azure.core.exceptions import AzureError

    while True:
        await asyncio.sleep(HIDDEN_SECONDS / 2)
        with contextlib.suppress(AzureError):
            again = await queue.update_message(
                message, visibility_timeout=HIDDEN_SECONDS, timeout=10
            )
            message.pop_receipt = again.pop_receipt


def _build_metadata(message: QueueMessage) -> dict[str, Datum]:
    return {
        "QueueTrigger": as_datum(str(message.content)),
        "Id": as_datum(str(message.id)),
        "DequeueCount": as_datum(message.dequeue_count),
        "PopReceipt": as_datum(str(message.pop_receipt)),
        "InsertionTime": as_datum(_write_time(message.inserted_on)),
        "ExpirationTime": as_datum(_write_time(message.expires_on)),
        "NextVisibleTime": as_datum(_write_time(message.next_visible_on)),
    }


def _write_time(value: datetime | None) -> str:
    return value.isoformat() if value is not None else ""
