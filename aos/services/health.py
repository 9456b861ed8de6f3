"""Does what this app depends on answer?

Checks run side by side, each within a time limit, and what they said is kept for 5 s: a probe
every second costs nothing, and of many at once one asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from aos.domain.wire_time import to_wire_time
from aos.errors import AosError
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Raises TransientError when its dependency does not answer."""

KEPT_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """How each dependency is doing, as of `at`; `facts` are said, but make nobody unhealthy."""

    at: datetime
    healthy: bool
    checks: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The answer of `GET /api/health`."""
        return {
            "status": "healthy" if self.healthy else "unhealthy",
            "timestamp": to_wire_time(self.at),
            **self.checks,
            **self.facts,
        }


class Health:
    """The use case behind `GET /api/health`, in all three apps."""

    def __init__(
        self,
        *,
        checks: Mapping[str, Check],
        facts: Mapping[str, Callable[[], str]],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._checks = checks
        self._facts = facts
        self._clock = clock
        self._telemetry = telemetry
        self._turn = asyncio.Lock()
        self._report: HealthReport | None = None
        self._looked_at = 0.0

    async def report(self) -> HealthReport:
        """How things stand, at most 5 s old. Never raises for what is away."""
        async with self._turn:
            fresh = self._clock.monotonic() - self._looked_at < KEPT_SECONDS
            if self._report is None or not fresh:
                self._report = await self._look()
                self._looked_at = self._clock.monotonic()
            return self._report

    async def _look(self) -> HealthReport:
        names = list(self._checks)
        answers = await asyncio.gather(*(self._try(name) for name in names))
        return HealthReport(
            at=self._clock.now(),
            healthy=all(answers),
            checks={
                name: "healthy" if fine else "unavailable"
                for name, fine in zip(names, answers, strict=True)
            },
            facts={name: fact() for name, fact in self._facts.items()},
        )

    async def _try(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._checks[name]()
        except (AosError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
            self._telemetry.log("dependency_away", level="warning", check=name, reason=reason)
            return False
        return True
