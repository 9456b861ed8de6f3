"""Calls a function with one delivery and settles it. Entry point: `MessageHandler.handle`.

Success completes and failure abandons, as in Azure; the broker counts deliveries and dead-letters
the message in the end. A call goes on when the connection is lost: its message cannot be settled
then and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from devhost.amqp.errors import DecodeError
from devhost.amqp.performatives import Accepted, Modified, Released
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.links import Delivery
from devhost.functions.bus.locks import LockKeeper
from devhost.functions.bus.message import BusMessage
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import describe_briefly, say, say_failed

KeepLock = Callable[[Delivery, BusMessage], LockKeeper]


class MessageHandler:
    """Calls one function with messages of one entity."""

    def __init__(
        self, function: LoadedFunction, invoker: Invoker, *, entity: str, auto_complete: bool
    ) -> None:
        self._function = function
        self._invoker = invoker
        self._auto_complete = _read_auto_complete(function.trigger, otherwise=auto_complete)
        self._binary = str(function.trigger.get("dataType", "")).upper() == "BINARY"
        self.entity = entity

    async def handle(self, delivery: Delivery, keep_lock: KeepLock | None = None) -> None:
        """Call the function and settle the message. A cancellation is raised and abandons it."""
        try:
            message = BusMessage.read(delivery.payload, delivery.tag)
        except DecodeError as error:
            say_failed(self._function.name, error, entity=self.entity)
            self._settle(delivery, Modified(True, False), message_id=None)
            return
        keeper = keep_lock(delivery, message) if keep_lock is not None else None
        succeeded = False
        try:
            succeeded = await self._call(message)
        finally:
            if keeper is not None:
                keeper.stop()
            if self._auto_complete:
                outcome = Accepted() if succeeded else Modified(True, False)
                self._settle(delivery, outcome, message_id=message.message_id)

    def release(self, delivery: Delivery) -> None:
        """Return a message without a call; its delivery count does not change."""
        delivery.link.settle(delivery, Released(), lambda _: None)

    async def _call(self, message: BusMessage) -> bool:
        try:
            data, metadata = message.bind(binary=self._binary)
            await self._invoker.call(self._function, data, metadata)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._log_failure(message, error)  # raised by the function
            return False
        except Exception as error:
            self._log_failure(message, error)
            return False
        return True

    def _log_failure(self, message: BusMessage, error: BaseException) -> None:
        say_failed(
            self._function.name,
            error,
            entity=self.entity,
            message_id=message.message_id,
            delivery_count=message.delivery_count,
            session_id=message.session_id,
        )

    def _settle(
        self, delivery: Delivery, outcome: Accepted | Modified, *, message_id: str | None
    ) -> None:
        def on_settled(error: BusError | None) -> None:
            if error is not None:
                self._log_unsettled(message_id, error)

        link = delivery.link
        if not link.settle(delivery, outcome, on_settled):
            self._log_unsettled(message_id, link.ended.result() if link.ended.done() else None)

    def _log_unsettled(self, message_id: str | None, error: BusError | None) -> None:
        say(
            "warning",
            "bus.unsettled",
            function=self._function.name,
            entity=self.entity,
            message_id=message_id,
            error=describe_briefly(error),
        )


def _read_auto_complete(trigger: Mapping[str, object], *, otherwise: bool) -> bool:
    """The trigger's own setting wins over host.json's; the library has had two names for it."""
    for name in ("autoCompleteMessages", "autoComplete"):
        if isinstance(trigger.get(name), bool):
            return bool(trigger[name])
    return otherwise
