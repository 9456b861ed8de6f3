"""What goes wrong in a simulated world, and when?

Every operation of every app instance goes through its `FaultInjector`. The seed decides after how
many operations the next fault comes and of which kind: the instance dies before or after the
operation took effect, the caller sees an error though it did or did not, it happens later than the
caller thinks, it hangs, or the locks of the instance expire while it works. Beside that storage,
bus or model are away for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from tests.simulation.loop import NEVER, VirtualLoop
from tests.simulation.story import Story

T = TypeVar("T")

KINDS = (
    "crash_before",
    "crash_after",
    "fail",
    "unknown_done",
    "unknown_not",
    "unknown_late",
    "hang",
    "lock_lost",
)
READS = frozenset(
    {
        "requests.find",
        "slots.find",
        "spending.read",
        "requests.is_cancel_requested",
        "pending.list_due",
        "pushes.find",
        "pushes.list_all",
        "conversations.load",
        "conversations.read_history",
        "conversations.find_run",
        "run_events.read",
        "ledger.is_recorded",
        "ledger.find",
        "decisions.find",
        "decisions.list_waiting",
        "questions.find",
        "questions.list_waiting",
        "tools.find",
        "tool_calls.find",
        "servers.hold",
        "due.list_due",
        "due.read_windows",
        "cleaner.list_old",
        "cleaner.find_end",
        "eraser.list_runs",
        "blob.read",
        "blob.list",
    }
)
DEADLY = frozenset({"crash_before", "crash_after", "lock_lost"})
PROVISIONAL = "run_events.add"
DIES_SHARE = 0.4
"""So many of the faults that are aimed at a provisional event end its instance."""
MOST_LATE = 240.0
"""A provisional event takes effect so late at most: before those of its run are removed."""
ANSWERS = frozenset({"decisions.answer", "questions.answer"})
MOST_DEATHS = 6
"""More would dead-letter messages that have done nothing wrong (MaxDeliveryCount is 10)."""
DEPENDENCY = {"bus": "bus", "settle": "bus", "model": "model", "webhooks": "receiver"}
"""Which outage an operation suffers from, by its port; all others need storage."""


class Instance(Protocol):
    """What the injector knows of the app instance that it belongs to."""

    name: str
    alive: bool

    def crash(self) -> None:
        """Die now."""

    def lose_locks(self) -> None:
        """Lose every lock it holds, and go on working."""


@dataclass(slots=True)
class Weather:
    """The faults of one seed: the mean number of operations between two, and their kinds.

    `hang_share` of the inserts of request rows hang, half of it of the writes of budgets have no
    answer and a third of their reads fail, `cancel_share` of the CancelRuns and the
    DeleteConversations are not sent, and of people's decisions and answers hang; `stream_share` of
    the provisional events are not written, or are their instance's last act: what these show needs
    a fault just there.
    """

    rng: random.Random
    mean_operations: float
    kinds: tuple[str, ...]
    hang_share: float = 0.0
    cancel_share: float = 0.0
    stream_share: float = 0.0
    operations: int = 0
    next_fault: float = NEVER
    deaths_left: int = MOST_DEATHS
    away: frozenset[str] = frozenset()
    blobs_troubled_at: float = -1e9
    streams_troubled: set[str] = field(default_factory=set)
    saved_late: set[str] = field(default_factory=set)
    """The conversations of which a save took effect after its caller had given it up."""
    copied: Counter[str] = field(default_factory=Counter)
    """How often a message was sent on as a copy, and the copy may be there twice, or beside it."""

    def begin(self) -> None:
        """Choose the first fault."""
        self._choose()

    def calm(self) -> None:
        """No more faults."""
        self.next_fault, self.away = NEVER, frozenset()
        self.hang_share = self.cancel_share = self.stream_share = 0.0

    def fault(self, operation: str, key: str) -> str | None:
        """The fault of this operation, if it is its turn or of a kind that is aimed at."""
        if operation == "requests.insert" and self._aimed(self.hang_share):
            return "hang"
        if operation == "spending.write" and self._aimed(self.hang_share / 2):
            return self.rng.choice(("unknown_done", "unknown_done", "unknown_not"))
        if operation == "spending.read" and self._aimed(self.hang_share / 3):
            return "fail"
        if (key.endswith(":cancel") or ":delete:" in key) and self._aimed(self.cancel_share):
            return self.rng.choice(("fail", "unknown_not", "unknown_late"))
        if operation == PROVISIONAL and self._aimed(self.stream_share):
            dies = self.rng.random() < DIES_SHARE and self.deaths_left > 0
            self.deaths_left -= dies
            return "crash_after" if dies else "fail"
        if operation in ANSWERS and self._aimed(self.cancel_share):
            return "hang"
        self.operations += 1
        if self.operations < self.next_fault:
            return None
        self._choose()
        kind = self.rng.choice(self.kinds)
        if kind in DEADLY:
            self.deaths_left -= 1
            if self.deaths_left < 0:
                return None
        return "fail" if kind.startswith("unknown") and operation in READS else kind

    def _aimed(self, share: float) -> bool:
        return bool(share) and self.rng.random() < share

    def _choose(self) -> None:
        self.next_fault = NEVER
        if self.kinds and self.mean_operations:
            gap = 1 + int(self.rng.expovariate(1.0 / self.mean_operations))
            self.next_fault = self.operations + gap


class FaultInjector:
    """Intercepts the operations of an instance: time passes, faults happen, the dead do nothing."""

    def __init__(
        self, instance: Instance, *, loop: VirtualLoop, weather: Weather, story: Story
    ) -> None:
        self._instance = instance
        self._loop = loop
        self._weather = weather
        self._story = story
        self._random = weather.rng.random

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        """Let one operation through."""
        if not self._instance.alive:
            raise asyncio.CancelledError
        weather = self._weather
        if weather.away:
            port = DEPENDENCY.get(operation.partition(".")[0], "storage")
            if port in weather.away:
                self._note_trouble(operation, key)
                await self._loop.pause(0.1 + 2 * self._random())
                raise TransientError(f"{port} is away")
        fault = weather.fault(operation, key)
        if fault is not None:
            try:
                self._note_trouble(operation, key)
                return await self._faulty(fault, operation, key, act)
            finally:
                self._note_trouble(operation, key)
        await self._loop.pause(0.001 + 0.02 * self._random())
        self._story.events.append((self._loop.seconds, self._instance.name, operation, key))
        return act()

    def _note_trouble(self, operation: str, key: str) -> None:
        """Remember when blobs last were in trouble, and which runs' provisional events."""
        if operation == PROVISIONAL:
            self._weather.streams_troubled.add(key)
        if operation.startswith("blob."):
            self._weather.blobs_troubled_at = self._loop.seconds

    async def _faulty(self, fault: str, operation: str, key: str, act: Callable[[], T]) -> T:
        self._tell(fault, operation, key)
        random_seconds = self._random()
        match fault:
            case "crash_before":
                self._instance.crash()
            case "crash_after":
                await self._loop.pause(0.02 * random_seconds)
                self._quietly(act)
                self._instance.crash()
            case "lock_lost":
                self._instance.lose_locks()
                await self._loop.pause(20 * random_seconds**2)
                return act()
            case "hang":
                longest = 400 if self._random() < 0.15 else 100
                longest = min(longest, MOST_LATE) if operation == PROVISIONAL else longest
                return await self._hang(longest * random_seconds, operation, key, act)
            case _:
                await self._lie(fault, operation, key, act, random_seconds)
        await self._loop.pause(0)
        raise asyncio.CancelledError

    async def _hang(self, seconds: float, operation: str, key: str, act: Callable[[], T]) -> T:
        """Take long; what its caller gives up may still take effect, as a sent request does."""
        ends = self._loop.seconds + seconds
        try:
            await self._loop.pause(seconds)
        except asyncio.CancelledError:
            if self._instance.alive:
                self._loop.call_later(ends - self._loop.seconds, self._late, operation, key, act)
            raise
        return act()

    async def _lie(
        self, fault: str, operation: str, key: str, act: Callable[[], Any], random_seconds: float
    ) -> None:
        await self._loop.pause(0.02 + random_seconds)
        match fault:
            case "fail":
                raise TransientError(f"{operation} failed")
            case "unknown_done":
                self._quietly(act)
            case "unknown_late":
                self._loop.call_later(30 * random_seconds**3, self._late, operation, key, act)
        raise OutcomeUnknown(f"{operation} timed out")

    def _late(self, operation: str, key: str, act: Callable[[], Any]) -> None:
        if self._quietly(act) and operation == "conversations.save":
            self._weather.saved_late.add(key)

    def _quietly(self, act: Callable[[], Any]) -> bool:
        """Let it take effect, if it still can; whether it did."""
        with contextlib.suppress(StaleWrite, TransientError):
            act()
            return True
        return False

    def _tell(self, fault: str, operation: str, key: str) -> None:
        if operation in ("bus.postpone", "settle.complete"):
            self._weather.copied[key] += 1
        event = (self._loop.seconds, self._instance.name, f"✗ {fault}", f"{operation} {key}")
        self._story.events.append(event)
