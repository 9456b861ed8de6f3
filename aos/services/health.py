"""Checks whether an app's dependencies answer. Entry point: `Health.report`.

Checks run concurrently, each with a time limit. A report is reused for 5 s, so a probe every second
costs nothing, and concurrent requests share one check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.codec import OMITTED, encode
from aos.domain.pause import Pause
from aos.errors import AosError
from aos.ports.pause import PauseState
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Raises TransientError when its dependency does not answer."""

REPORT_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 4.0
NOT_PAUSED = Pause(by="")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The state of each dependency at `timestamp`.

    `facts` are shown, but do not make the app unhealthy. `paused` is None in apps that have no
    switch, and while storage is away.
    """

    status: Literal["healthy", "unhealthy"]
    timestamp: datetime
    checks: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)
    paused: bool | None = field(default=None, metadata=OMITTED)
    pause: Pause | None = field(default=None, metadata=OMITTED)

    def make_answer(self, *, for_admin: bool) -> dict[str, Any]:
        """The answer of `GET /api/health`. Who paused AOS, and why, is for admins."""
        hidden = ("checks", "facts") if for_admin else ("checks", "facts", "pause")
        return {**encode(self, without=hidden), **self.checks, **self.facts}


class Health:
    """The use case of `GET /api/health`, in all three apps."""

    def __init__(
        self,
        *,
        checks: Mapping[str, Check],
        facts: Mapping[str, Callable[[], str]],
        clock: Clock,
        telemetry: Telemetry,
        pause: PauseState | None = None,
    ) -> None:
        self._pause = pause
        self._checks = checks
        self._facts = facts
        self._clock = clock
        self._telemetry = telemetry
        self._lock = asyncio.Lock()
        self._report: HealthReport | None = None
        self._checked_at = 0.0

    async def report(self) -> HealthReport:
        """A report that is at most 5 s old. Does not raise when a dependency is away."""
        async with self._lock:
            fresh = self._clock.monotonic() - self._checked_at < REPORT_SECONDS
            if self._report is None or not fresh:
                self._report = await self._check_all()
                self._checked_at = self._clock.monotonic()
            return self._report

    async def _check_all(self) -> HealthReport:
        names = list(self._checks)
        pause, answers = await asyncio.gather(
            self._find_pause(), asyncio.gather(*(self._check(name) for name in names))
        )
        return HealthReport(
            status="healthy" if all(answers) else "unhealthy",
            timestamp=self._clock.now(),
            checks={
                name: "healthy" if fine else "unavailable"
                for name, fine in zip(names, answers, strict=True)
            },
            facts={name: fact() for name, fact in self._facts.items()},
            paused=pause if pause is None else pause is not NOT_PAUSED,
            pause=pause if pause is not NOT_PAUSED else None,
        )

    async def _find_pause(self) -> Pause | None:
        """The pause, or NOT_PAUSED; None when it is not known."""
        if self._pause is None:
            return None
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                return await self._pause.find_pause() or NOT_PAUSED
        except (AosError, TimeoutError):
            return None

    async def _check(self, name: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._checks[name]()
        except (AosError, TimeoutError) as error:
            reason = str(error) or f"it did not answer within {CHECK_TIMEOUT_SECONDS:g} s"
            self._telemetry.log("dependency_away", level="warning", check=name, reason=reason)
            return False
        return True
