"""Sends the messages of many tasks to one Service Bus entity through one open sender. Entry point:
`SharedSender.send`.

An SDK sender takes 0.6 to 1 s to open and sends one message at a time. So one task keeps a sender
open and sends the waiting messages in order; a caller that is cancelled does not interrupt a send.
Messages without a session that wait at the same time are sent as one batch, which the service takes
whole or not at all.
A sender that fails is replaced and the message is sent again until the caller's time is over. A
repeat may create a duplicate; all receivers in AOS are idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from aos.errors import AosError, RunFailed, TransientError

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusSender

SEND_SECONDS = 20.0
ATTEMPT_SECONDS = 8.0
CLOSE_SECONDS = 3.0
MOST_TOGETHER = 40
"""Messages of one batch."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# a message without a session where sessions are required; properties that are too large
_FORBIDDEN = ("amqp:not-allowed", "com.microsoft:argument-error")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message, the caller's future, and its deadline in loop time."""

    message: ServiceBusMessage
    done: asyncio.Future[None]
    deadline: float


class SharedSender:
    """One entity and its open sender."""

    def __init__(self, entity: str, make_sender: Callable[[], ServiceBusSender]) -> None:
        self._entity = entity
        self._make_sender = make_sender
        self._sender: ServiceBusSender | None = None
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether a sender is open."""
        return self._sender is not None

    async def open(self) -> None:
        """Open the sender before the first message. Tries once; raises TransientError."""
        try:
            await self._open()
        except _list_sdk_errors() as error:
            raise _translate_error(error, self._entity) from error

    async def send(self, message: ServiceBusMessage) -> None:
        """Send within 20 s, after the messages that wait already.

        Raises TransientError (away, busy or refused; the message may have been sent), RunFailed
        `too_large`, and AosError `internal_error` for a message that this entity can never accept.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(message, loop.create_future(), loop.time() + SEND_SECONDS)
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(SEND_SECONDS + 1):
                await waiting.done
        except TimeoutError as error:
            raise TransientError(_make_timeout(self._entity)) from error

    async def close(self) -> None:
        """Close the sender. Waiting callers get an error."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        self._discard()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _work(self) -> None:
        """Send what waits until nothing does."""
        try:
            while self._waiting:
                count = self._count_together()
                some = [one for one in islice(self._waiting, count) if not one.done.done()]
                await self._send_some(some)
                for _ in range(count):
                    self._waiting.popleft()
        finally:
            self._worker = None
            self._give_up_waiting()

    def _count_together(self) -> int:
        """Return how many of the waiting messages go out next: those before the first one that has
        a session, at least one."""
        plain = takewhile(lambda one: one.message.session_id is None, self._waiting)
        return max(1, sum(1 for _ in islice(plain, MOST_TOGETHER)))

    async def _send_some(self, some: Sequence[_Waiting]) -> None:
        """Send messages and tell their callers. What is refused together is sent one by one."""
        if not some:
            return
        error = await self._deliver([one.message for one in some], some[-1].deadline)
        if len(some) > 1 and error is not None and not isinstance(error, TransientError):
            for one in some:
                await self._send_some([one])
            return
        for one in some:
            if not one.done.done():
                _settle(one.done, error)

    async def _deliver(self, messages: list[ServiceBusMessage], deadline: float) -> AosError | None:
        """Send messages and replace the sender if it fails. Return the last error, or None."""
        sent = messages if len(messages) > 1 else messages[0]
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            left = deadline - loop.time()
            if left <= 0:
                return TransientError(_make_timeout(self._entity))
            try:
                async with asyncio.timeout(min(left, ATTEMPT_SECONDS)):
                    sender = await self._open()
                    await sender.send_messages(sent, timeout=min(left, ATTEMPT_SECONDS))
            except AosError as ours:  # the sender could not be opened
                return ours
            except _list_sdk_errors() as raised:
                error = _translate_error(raised, self._entity)
                if not isinstance(error, TransientError):
                    return error
                if not _is_busy(raised):
                    self._discard()
                if loop.time() + pause >= deadline:
                    return error
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                return None

    async def _open(self) -> ServiceBusSender:
        async with self._opening:
            if self._sender is None:
                sender = self._make_sender()
                try:
                    async with asyncio.timeout(ATTEMPT_SECONDS):
                        await sender.__aenter__()
                except BaseException:
                    self._close_later(sender)
                    raise
                self._sender = sender
            return self._sender

    def _discard(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            self._close_later(sender)

    def _close_later(self, sender: ServiceBusSender) -> None:
        """Close the sender in its own task, because closing takes long if the broker is dead."""
        task = asyncio.create_task(_close(sender))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _give_up_waiting(self) -> None:
        for waiting in self._waiting:
            if not waiting.done.done():
                _settle(
                    waiting.done,
                    TransientError(f"{self._entity!r} got no message: the app is closing"),
                )
        self._waiting.clear()


def _settle(done: asyncio.Future[None], error: AosError | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


async def _close(sender: ServiceBusSender) -> None:
    with contextlib.suppress(*_list_sdk_errors()):
        async with asyncio.timeout(CLOSE_SECONDS):
            await sender.close()


def _make_timeout(entity: str) -> str:
    return f"Service Bus did not accept the message for {entity!r} within {SEND_SECONDS:g} s"


def _list_sdk_errors() -> tuple[type[Exception], ...]:
    """Return what an SDK sender raises: the SDK's own errors, and asyncio's and AMQP's."""
    from azure.core.exceptions import AzureError

    return (AzureError, OSError, TimeoutError, ValueError, TypeError, AttributeError, RuntimeError)


def _is_busy(error: Exception) -> bool:
    """Whether the broker only asks to wait; the sender can still be used."""
    from azure.servicebus.exceptions import ServiceBusServerBusyError

    return isinstance(error, ServiceBusServerBusyError)


def _translate_error(error: Exception, entity: str) -> AosError:
    """Translate an SDK error. Retryable errors become TransientError."""
    from azure.servicebus import exceptions as sdk

    what = f"{entity!r} on Service Bus"
    if isinstance(error, sdk.MessageSizeExceededError):
        return RunFailed("too_large", f"a message for {what} is larger than the bus accepts")
    if isinstance(error, ValueError | TypeError) or any(
        condition in str(error) for condition in _FORBIDDEN
    ):
        return AosError("internal_error", f"{what} cannot accept this message: {error}")
    return TransientError(f"{what}: {_advise(error)}")


def _advise(error: Exception) -> str:
    """Say what is wrong and what to do."""
    from azure.servicebus import exceptions as sdk

    match error:
        case sdk.MessagingEntityNotFoundError():
            return "the entity does not exist; create it (infra/servicebus.json lists ours)"
        case sdk.ServiceBusAuthenticationError() | sdk.ServiceBusAuthorizationError():
            return "access refused; check AZURE_SERVICEBUS_CONNECTION_STRING or the app's role"
        case sdk.MessagingEntityDisabledError():
            return "the entity is disabled; enable it"
        case sdk.ServiceBusQuotaExceededError():
            return "the entity is full; receive its messages, or raise its size"
        case TimeoutError() | sdk.OperationTimeoutError():
            return "the bus did not answer in time"
        case _:
            return f"not sent ({type(error).__name__})"
