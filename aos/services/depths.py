"""Shows admins how many messages wait. Entry point: `Depths.read`.

A reading is used again for ten seconds and takes three at most, so `/api/status` never fails or
hangs because of the bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aos.errors import AosError
from aos.ports.depths import EntityDepth, QueueDepths
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

READING_SECONDS = 10.0
LIMIT_SECONDS = 3.0


class Depths:
    """The depths of the entities that an app is about."""

    def __init__(
        self,
        depths: QueueDepths,
        *,
        entities: Sequence[str],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._depths = depths
        self._entities = tuple(entities)
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()
        self._known: tuple[EntityDepth, ...] = ()
        self._read_at: float | None = None

    async def read(self) -> tuple[EntityDepth, ...]:
        """The depth of every entity, at most ten seconds old. Does not raise."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= READING_SECONDS:
                self._known = tuple(
                    await asyncio.gather(*(self._count(name) for name in self._entities))
                )
                self._read_at = self._clock.monotonic()
            return self._known

    async def _count(self, entity: str) -> EntityDepth:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                return await self._depths.count(entity)
        except (AosError, TimeoutError) as error:
            self._telemetry.log(
                "depth_not_read", level="warning", entity=entity, reason=str(error) or "time-out"
            )
            return EntityDepth(entity=entity, error="unavailable")
