"""How is a function called with one delivery, and the delivery settled?

Success completes and failure abandons, as in Azure; the broker counts deliveries and
dead-letters in the end. A call goes on though the connection dies: then it cannot be settled, and
the message comes again.
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
from devhost.functions.log import brief, say, say_failed

KeepLock = Callable[[Delivery, BusMessage], LockKeeper]


class Work:
    """The calls of one function with messages of one entity."""

    def __init__(
        self, function: LoadedFunction, invoker: Invoker, *, entity: str, auto_complete: bool
    ) -> None:
        self._function = function
        self._invoker = invoker
        self._auto_complete = _auto_complete(function.trigger, otherwise=auto_complete)
        self._binary = str(function.trigger.get("dataType", "")).upper() == "BINARY"
        self.entity = entity

    @property
    def function_name(self) -> str:
        """For log lines."""
        return self._function.name

    async def handle(self, delivery: Delivery, keep_lock: KeepLock | None = None) -> None:
        """Call the function and settle; never raises but for cancellation, which abandons."""
        try:
            message = BusMessage.read(delivery.payload, delivery.tag)
        except DecodeError as error:
            say_failed(self._function.name, error, entity=self.entity)
            self._settle(delivery, Modified(True, False), message_id=None)
            return
        keeper = keep_lock(delivery, message) if keep_lock is not None else None
        done = False
        try:
            done = await self._call(message)
        finally:
            if keeper is not None:
                keeper.stop()
            if self._auto_complete:
                outcome = Accepted() if done else Modified(True, False)
                self._settle(delivery, outcome, message_id=message.message_id)

    def give_back(self, delivery: Delivery) -> None:
        """Return a message that was not looked at; its delivery count stays."""
        delivery.link.settle(delivery, Released(), lambda _: None)

    async def _call(self, message: BusMessage) -> bool:
        try:
            data, metadata = message.bound(binary=self._binary)
            await self._invoker.call(self._function, data, metadata)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._say_failed(message, error)  # the function's own
            return False
        except Exception as error:
            self._say_failed(message, error)
            return False
        return True

    def _say_failed(self, message: BusMessage, error: BaseException) -> None:
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
        def answered(error: BusError | None) -> None:
            if error is not None:
                self._say_unsettled(message_id, error)

        if not delivery.link.settle(delivery, outcome, answered):
            self._say_unsettled(message_id, delivery.link.error)

    def _say_unsettled(self, message_id: str | None, error: BusError | None) -> None:
        say(
            "warning",
            "bus.unsettled",
            function=self._function.name,
            entity=self.entity,
            message_id=message_id,
            error=brief(error),
        )


def _auto_complete(trigger: Mapping[str, object], *, otherwise: bool) -> bool:
    """What the trigger says goes before host.json; the library has had two names for it."""
    for name in ("autoCompleteMessages", "autoComplete"):
        if isinstance(trigger.get(name), bool):
            return bool(trigger[name])
    return otherwise
