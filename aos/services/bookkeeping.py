"""Writes in batches what no caller waits for. Entry point: `Bookkeeping`.

The lists of runs, the events and the usage of ended runs, and the removal of pending rows wait for
a moment in this process, so that several runs share each write. An end is recorded only after its
event was published. A pending row is removed only after the run is in the lists and its end is
recorded. So what a killed process had not written is found by the
mender of another one. A list that is read in this process is written first.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aos.domain.envelope import Event, RunEnded
from aos.domain.runs.run import Run
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.index import IndexedRun, RunIndex
from aos.ports.ledger import CountedRun, Ledger, SeenRun
from aos.ports.requests import PendingStore
from aos.ports.telemetry import Telemetry

LIST_SECONDS = 0.25
"""How long a run waits for others before the lists are written."""
REMOVAL_SECONDS = 2.0
"""How long a pending row waits for others before it is removed. Nobody reads it meanwhile."""
MOST_WAITING = 2000
"""Runs that wait for their batch, while storage does not answer."""
RETRY_SECONDS = 5.0
MOST_FAILURES = 12
"""After so many failures an end is left to the mender: as long as a message is tried again."""
RECORD_TRIES = 8
MOST_ENDS = 40
"""Ends that one transaction records: each takes one row, and at most one more for the usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """An ended run that waits for its batch, and the trace that its end was delivered in.

    `event` is what its batch publishes. `failures` counts the batches that failed with it.
    """

    counted: CountedRun
    trace: contextvars.Context
    event: Event | None = None
    is_recorded: bool = False
    failures: int = 0

    @property
    def run(self) -> Run:
        """The run."""
        return self.counted.run


class Bookkeeping:
    """Main's writes that can wait. `pause` waits so many seconds, less if the process ends."""

    def __init__(
        self,
        *,
        index: RunIndex,
        ledger: Ledger,
        pending: PendingStore,
        bus: Bus,
        pause: Callable[[float], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        self._index = index
        self._bus = bus
        self._ledger = ledger
        self._pending = pending
        self._telemetry = telemetry
        self._runs: dict[str, IndexedRun] = {}
        self._ends: dict[str, Closing] = {}
        self._removable: dict[str, None] = {}
        self._closing: set[str] = set()
        self._told: set[str] = set()
        self._writing = asyncio.Lock()
        self._removing = asyncio.Lock()
        self._lists = _Later(self._write, seconds=LIST_SECONDS, pause=pause)
        self._removals = _Later(self._remove, seconds=REMOVAL_SECONDS, pause=pause)

    def list_run(self, run: IndexedRun) -> None:
        """Have an admitted run added to the lists, by its end if too many wait."""
        if len(self._runs) < MOST_WAITING:
            self._runs[run.run_id] = run
            self._lists.start()

    def close_run(self, ended: RunEnded, *, is_recorded: bool, event: Event | None = None) -> None:
        """Have the run of a delivered end listed, its event published, its end recorded unless it
        is, and its pending row removed. If too many wait, the mender does it later."""
        if len(self._ends) >= MOST_WAITING:
            return
        run_id = ended.run.run_id
        self._closing.add(run_id)
        self._runs[run_id] = IndexedRun.of(ended.run, owner=ended.owner)
        self._ends[run_id] = _close(ended, is_recorded=is_recorded, event=event)
        self._lists.start()

    def remove_row(self, run_id: str) -> None:
        """Have the pending row of a run removed that was refused, and that nobody can admit."""
        self._removable[run_id] = None
        self._removals.start()

    def is_closing(self, run_id: str) -> bool:
        """Whether this process is about to remove the run's pending row."""
        return run_id in self._closing

    async def flush(self) -> None:
        """Write and remove everything that waits."""
        await self.write_lists()
        await self._removals.do_now()

    async def write_lists(self) -> None:
        """Write the lists and the usage now, if anything waits. What fails is logged."""
        if self._runs or self._writing.locked():
            await self._lists.do_now()

    async def record(self, ended: RunEnded, *, told: bool) -> None:
        """Record one end now; `told`: its event was published too. Raises TransientError."""
        await self._record([_close(ended, told=told)])

    async def _write(self) -> None:
        """Write the lists and the usage. An end whose batch fails is tried again for a minute."""
        async with self._writing:
            runs, self._runs = self._runs, {}
            ends, self._ends = self._ends, {}
            if not runs:
                return
            closed: set[str] = set()
            try:
                listed, recorded = await asyncio.gather(
                    self._list(runs), self._record_all(ends.values())
                )
                closed = listed & recorded
                for run_id in ends.keys() - closed - self._ends.keys():
                    self._try_again(ends[run_id], runs[run_id], is_recorded=run_id in recorded)
            finally:
                self._closing -= ends.keys() - closed - self._ends.keys()
                self._told -= ends.keys() - self._ends.keys()
            self._removable |= dict.fromkeys(sorted(closed))
        if closed:
            self._removals.start()

    def _try_again(self, end: Closing, run: IndexedRun, *, is_recorded: bool) -> None:
        """Keep an end for a later batch, unless too many have failed."""
        if end.failures < MOST_FAILURES:
            failures = end.failures + 1
            self._ends[run.run_id] = replace(end, is_recorded=is_recorded, failures=failures)
            self._runs.setdefault(run.run_id, run)
            self._lists.start(seconds=RETRY_SECONDS)

    async def _remove(self) -> None:
        """Remove the pending rows of runs that are listed and recorded."""
        async with self._removing:
            removable, self._removable = self._removable, {}
            try:
                if removable:
                    await self._pending.drop_all(list(removable))
            except AosError as error:
                self._log("pending_rows_left", removable, error)
            finally:
                self._closing -= removable.keys() - self._ends.keys()

    async def _list(self, runs: Mapping[str, IndexedRun]) -> set[str]:
        """Add the runs to the lists; return the ids of those that are in them."""
        try:
            await self._index.add(*runs.values())
        except AosError as error:
            if len(runs) > 1 and not isinstance(error, TransientError):
                alone = ({run_id: run} for run_id, run in runs.items())
                return set().union(*await asyncio.gather(*map(self._list, alone)))
            self._log("runs_not_listed", runs, error)
            return set()
        return set(runs)

    async def _record_all(self, ends: Iterable[Closing]) -> set[str]:
        """Publish and record the ends, each agent's in transactions; return the runs that are
        recorded."""
        by_agent = defaultdict(list)
        known = set()
        for end in ends:
            if end.is_recorded:
                known.add(end.run.run_id)
            else:
                by_agent[end.run.agent_id].append(end)
        groups = [
            mine[start : start + MOST_ENDS]
            for mine in by_agent.values()
            for start in range(0, len(mine), MOST_ENDS)
        ]
        done = await asyncio.gather(*map(self._try_to_record, groups))
        return known.union(*done)

    async def _try_to_record(self, ends: Sequence[Closing]) -> set[str]:
        run_ids = {end.run.run_id for end in ends}
        try:
            await self._tell(ends)
            await self._record(ends)
        except AosError as error:
            if len(ends) > 1 and not isinstance(error, TransientError):
                alone = ([end] for end in ends)
                return set().union(*await asyncio.gather(*map(self._try_to_record, alone)))
            self._log("ends_not_recorded", run_ids, error)
            return set()
        return run_ids

    async def _tell(self, ends: Sequence[Closing]) -> None:
        """Publish the events of ends, unless an earlier batch did. Raises what one of them raised,
        when all were tried."""
        untold = {
            end.run.run_id: end.event
            for end in ends
            if end.event is not None and end.run.run_id not in self._told
        }
        told = await asyncio.gather(
            *map(self._bus.publish, untold.values()), return_exceptions=True
        )
        outcomes = dict(zip(untold, told, strict=True))
        self._told |= {run_id for run_id, error in outcomes.items() if error is None}
        for error in filter(None, told):
            raise error

    async def _record(self, ends: Sequence[Closing]) -> None:
        """Record the ends of one agent, except those that were recorded before."""
        for _ in range(RECORD_TRIES):
            try:
                await self._ledger.record(*(end.counted for end in ends))
            except (StaleWrite, OutcomeUnknown):
                found = await asyncio.gather(*(self._ledger.find(end.run) for end in ends))
                pairs = zip(ends, found, strict=True)
                ends = [
                    _follow(end, seen) for end, seen in pairs if seen is None or not seen.counted
                ]
                if not ends:
                    return
            else:
                for end in ends:
                    end.trace.run(self._report, end.run)
                return
        agent_id = ends[0].run.agent_id
        raise OutcomeUnknown(f"the usage row of agent {agent_id!r} changes too often")

    def _report(self, run: Run) -> None:
        self._telemetry.custom_event(
            "AgentOperation",
            agentId=run.agent_id,
            operation=f"run.{run.status.value}",
            run_id=run.run_id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            error_code=None if run.error is None else run.error.code,
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
        )

    def _log(self, event: str, run_ids: Collection[str], error: AosError) -> None:
        """Log a failed batch. The pending rows of its runs stay until it succeeds, here or in the
        mender."""
        self._telemetry.log(
            event, level="warning", runs=len(run_ids), run_id=min(run_ids), reason=str(error)
        )


def _follow(end: Closing, seen: SeenRun | None) -> Closing:
    """The end as it is to be recorded over the row that was found."""
    return replace(end, counted=replace(end.counted, etag=None if seen is None else seen.etag))


def _close(
    ended: RunEnded, *, is_recorded: bool = False, told: bool = True, event: Event | None = None
) -> Closing:
    counted = CountedRun(run=ended.run, owner=ended.owner, told=told)
    trace = contextvars.copy_context()
    return Closing(counted=counted, trace=trace, event=event, is_recorded=is_recorded)


class _Later:
    """Does something once, some seconds after the first `start`."""

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        seconds: float,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._pause = pause
        self._waiter: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, *, seconds: float | None = None) -> None:
        """Begin to wait, unless a task waits already; `seconds` instead of the usual ones."""
        if self._waiter is None:
            self._waiter = self._begin(self._run(seconds or self._seconds))

    async def do_now(self) -> None:
        """Do it now. It goes on if the caller is cancelled."""
        if self._waiter is not None:
            self._waiter.cancel()
            self._waiter = None
        await asyncio.shield(self._begin(self._work()))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task that belongs to no request, so it is in the trace of none."""
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, seconds: float) -> None:
        await self._pause(seconds)
        self._waiter = None
        await self._work()
