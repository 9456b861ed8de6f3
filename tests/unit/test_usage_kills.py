"""What ended runs used is counted once, wherever main dies while it delivers their ends."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from aos.adapters.memory import ManualClock, MemoryBroker, MemoryTables, MemoryTelemetry, SeededIds
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.envelope import RESPONSES_QUEUE, RunEnded
from aos.domain.runs.run import ReplyAddress, Run, Usage
from aos.errors import OutcomeUnknown
from aos.services.bookkeeping import Bookkeeping
from aos.services.replies import Replies
from aos.testing import ScriptedModel
from aos.testing.adapters import make_world
from aos.wiring.world import World
from tests.samples import a_pending, a_request, an_ended_run

T = TypeVar("T")
SPENT = Usage(input_tokens=11, output_tokens=5, cached_tokens=7, reasoning_tokens=3)
MOST_CALLS = 40


class Dying:
    """Fails one call: before it took effect, or after. `calls` counts those that were made."""

    def __init__(self, fails_at: int, *, takes_effect: bool) -> None:
        self.calls = 0
        self._fails_at = fails_at
        self._takes_effect = takes_effect

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls != self._fails_at:
            return act()
        if self._takes_effect:
            act()
        raise OutcomeUnknown(f"{operation} of {key}: main died")


@dataclass(frozen=True, slots=True)
class Instance:
    """What delivers and records ends in one instance of main."""

    replies: Replies
    books: Bookkeeping


class Instances:
    """Instances of main, each with a memory of its own, on the same rows."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self._clock = ManualClock()
        self._broker = MemoryBroker(clock=self._clock)

    def open(self, dying: Dying) -> World:
        """The adapters of a new instance."""
        blobs = MemoryBlobStore(clock=self._clock)
        return make_world(
            tables=self.tables,
            broker=self._broker,
            config=blobs,
            data=blobs,
            logs=blobs,
            model=ScriptedModel(),
            clock=self._clock,
            ids=SeededIds(random.Random(1)),
            intercept=dying,
        )

    def start(self, dying: Dying) -> Instance:
        """A new instance."""
        world = self.open(dying)
        books = Bookkeeping(
            index=world.index,
            ledger=world.ledger,
            pending=world.pending,
            bus=world.bus,
            pause=self._clock.sleep,
            telemetry=MemoryTelemetry(),
        )
        replies = Replies(
            ledger=world.ledger,
            books=books,
            requests=world.requests,
            bus=world.bus,
            clock=self._clock,
            order_transcript=_no_transcript,
            has_receivers=_has_none,
        )
        return Instance(replies, books)

    async def admit(self, ended: RunEnded) -> None:
        """The pending row of a run, as its admission wrote it."""
        row = a_pending(run_id=ended.run.run_id)
        self.tables.pending[row.run_id] = row

    async def count(self) -> tuple[int, Usage]:
        """The runs and tokens that the usage rows hold."""
        world = self.open(Dying(0, takes_effect=False))
        found = await world.usage.read(
            first="2030-01-01", last="2030-01-02", agent_id=None, owner=None, most=999
        )
        runs = sum(row.runs for row in found.rows)
        return runs, sum((row.usage for row in found.rows), Usage())


async def _has_none(run_id: str) -> bool:
    """No task of A2A has a receiver."""
    return False


def _end(*, reply: ReplyAddress | None = None) -> RunEnded:
    request = a_request(agent_id="ceo", owner="ann", reply=reply)
    return RunEnded.of(request, replace(an_ended_run(request), usage=SPENT))


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("survives", [False, True])
async def test_a_run_is_counted_once_wherever_its_delivery_dies(
    *, takes_effect: bool, survives: bool
) -> None:
    """Before and after every call; then the mender of the same instance, or of a new one, delivers
    what still has a pending row."""
    for fails_at in range(1, MOST_CALLS):
        instances = Instances()
        ends = [_end(), _end(), _end(reply=ReplyAddress(entity=RESPONSES_QUEUE))]
        for ended in ends:
            await instances.admit(ended)
        dying = Dying(fails_at, takes_effect=takes_effect)
        first = instances.start(dying)
        with contextlib.suppress(OutcomeUnknown):
            for ended in ends:
                await first.replies.deliver(ended)
            await first.books.flush()
        again = first if survives else instances.start(Dying(0, takes_effect=False))
        for ended in ends:
            if ended.run.run_id in instances.tables.pending:
                await again.replies.mend(ended)
        await again.books.flush()
        assert instances.tables.pending == {}, f"call {fails_at} failed"
        assert instances.tables.index.keys() == {ended.run.run_id for ended in ends}
        assert await instances.count() == (3, SPENT + SPENT + SPENT), f"call {fails_at} failed"
        if dying.calls < fails_at:
            return
    raise AssertionError("a delivery makes more calls than expected")


async def test_instances_that_count_for_one_row_by_turns_lose_nothing() -> None:
    instances = Instances()
    mains = [instances.start(Dying(0, takes_effect=False)) for _ in range(3)]
    ends = [_end() for _ in range(60)]
    for number, ended in enumerate(ends):
        await mains[number % 3].replies.deliver(ended)
        await mains[(number + 1) % 3].replies.deliver(ended)  # delivered again elsewhere
        if number % 4 == 0:
            for main in mains:
                await main.books.flush()
    for main in mains:
        await main.books.flush()
    runs, usage = await instances.count()
    assert (runs, usage.input_tokens, usage.cached_tokens) == (60, 60 * 11, 60 * 7)


async def _no_transcript(run: Run) -> None:
    """Transcripts are off."""
