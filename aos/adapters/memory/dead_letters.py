"""Keeps dead letters and why they died in memory. Entry points: `MemoryDeadLetters`,
`MemoryFailureStore`.

They implement `DeadLetterQueues` over a `MemoryBroker` and `FailureStore` over the rows of
`MemoryTables`.
"""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.bus.messages import build_replayed_message
from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.memory.bus import MemoryBus
from aos.adapters.memory.entities import Kept
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.dead_letters import MCP_SUBSCRIPTION, POISON_QUEUE, Failure
from aos.domain.envelope import SYSTEM_EVENTS
from aos.ports.dead_letters import DeadMessage


class MemoryDeadLetters:
    """The dead-letter queues of one broker, and its storage queue `aos-jobs-poison`."""

    def __init__(
        self, broker: MemoryBroker, *, bus: MemoryBus, intercept: Interceptor = pass_through
    ) -> None:
        self._broker = broker
        self._bus = bus
        self._intercept = intercept

    async def peek(self, entity: str, *, start: int, limit: int) -> list[DeadMessage]:
        """Return at most `limit` dead letters with sequence numbers from `start` on."""

        def act() -> list[DeadMessage]:
            found = sorted(self._list(entity), key=lambda kept: kept.sequence_number)
            return [_read(entity, kept) for kept in found if kept.sequence_number >= start][:limit]

        return await self._intercept("dead_letters.peek", entity, act)

    async def resend(self, dead: DeadMessage, *, message_id: str) -> None:
        """Send a copy to the dead letter's entity."""
        if dead.message.entity == POISON_QUEUE:
            body = dead.message.body
            await self._intercept(
                "dead_letters.resend", message_id, lambda: self._broker.jobs.append(body)
            )
            return
        await self._bus.send_message(build_replayed_message(dead, message_id=message_id))

    async def remove(self, entity: str, sequence_number: int) -> bool:
        """Remove one dead letter. Return False if it does not exist."""

        def act() -> bool:
            for kept in self._list(entity):
                if kept.sequence_number == sequence_number:
                    self._broker.remove_dead_letter(kept)
                    return True
            return False

        return await self._intercept("dead_letters.remove", f"{entity}:{sequence_number}", act)

    def _list(self, entity: str) -> list[Kept]:
        if entity == POISON_QUEUE:
            return list(self._broker.poison_jobs)
        # mcp's subscription is the topic itself here
        queue = SYSTEM_EVENTS if entity == MCP_SUBSCRIPTION else entity
        return self._broker.dead_letters(queue)


class MemoryFailureStore:
    """Why messages were given up."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def list(self, entity: str, *, first: int, last: int | None) -> list[Failure]:
        """Return the rows with sequence numbers from `first` to `last`, ordered."""

        def act() -> list[Failure]:
            found = [
                row
                for (name, number), row in self._tables.failures.items()
                if name == entity and first <= number and (last is None or number <= last)
            ]
            return sorted(found, key=lambda row: row.sequence_number)

        return await self._intercept("failures.list", entity, act)

    async def put(self, failure: Failure) -> None:
        """Write the row, whether or not it exists."""
        key = (failure.entity, failure.sequence_number)

        def act() -> None:
            self._tables.failures[key] = failure

        await self._intercept("failures.put", f"{key[0]}:{key[1]}", act)

    async def drop(self, entity: str, sequence_number: int) -> None:
        """Delete the row if it exists."""

        def act() -> None:
            self._tables.failures.pop((entity, sequence_number), None)

        await self._intercept("failures.drop", f"{entity}:{sequence_number}", act)


def _read(entity: str, kept: Kept) -> DeadMessage:
    properties = {**kept.properties, "DeadLetterReason": kept.reason}
    received = replace(kept.build_received(), entity=entity, expires_at=None, properties=properties)
    return DeadMessage(
        message=received,
        enqueued_at=kept.visible_at,
        subject=kept.subject,
        broker_reason=kept.reason,
    )
