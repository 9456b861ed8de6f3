"""Looks into all dead-letter queues: those of Service Bus, and the storage queue `aos-jobs-poison`.
Entry point: `AllDeadLetters`."""

from __future__ import annotations

from aos.domain.dead_letters import POISON_QUEUE
from aos.ports.dead_letters import DeadLetterQueues, DeadMessage


class AllDeadLetters:
    """The dead-letter queues by entity. Implements `DeadLetterQueues`."""

    def __init__(self, *, bus: DeadLetterQueues, jobs: DeadLetterQueues) -> None:
        self._bus = bus
        self._jobs = jobs

    async def peek(self, entity: str, *, start: int, limit: int) -> list[DeadMessage]:
        """Return at most `limit` dead letters with sequence numbers from `start` on."""
        return await self._choose(entity).peek(entity, start=start, limit=limit)

    async def resend(self, dead: DeadMessage, *, message_id: str) -> None:
        """Send a copy to the dead letter's entity."""
        await self._choose(dead.message.entity).resend(dead, message_id=message_id)

    async def remove(self, entity: str, sequence_number: int) -> bool:
        """Remove one dead letter. Return False if it was not found."""
        return await self._choose(entity).remove(entity, sequence_number)

    def _choose(self, entity: str) -> DeadLetterQueues:
        return self._jobs if entity == POISON_QUEUE else self._bus
