"""Repeats steps of runs that a crash or an outage has skipped. Entry point: `Mender.mend`.

A pending row stands until its run's end is delivered. The mender reads the rows that are due and
repeats what may be missing: the StartRun (a nudge to a run that realm knows), the CancelRun, the
delivery of the end. Its writes carry If-Match: an admission of the same run may be under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from aos.domain.envelope import CancelRun, RunEnded, StartRun, to_realm
from aos.domain.runs.run import Run
from aos.errors import AosError, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun, PendingStore, RequestStore, StoredRequest
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
ORPHAN_AGE = timedelta(hours=1)
ROWS_A_TICK = 200
AT_ONCE = 10
"""A reply that cannot be sent takes 20 s, and others are looked at meanwhile."""


class Mender:
    """Main's use case: follow up the pending rows."""

    def __init__(
        self,
        *,
        requests: RequestStore,
        pending: PendingStore,
        conversations: ConversationStore,
        list_run: Callable[[IndexedRun], None],
        deliver: Callable[[RunEnded], Awaitable[None]],
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        see: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._see = see
        self._requests = requests
        self._pending = pending
        self._conversations = conversations
        self._list_run = list_run
        self._deliver_end = deliver
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry

    async def mend(self) -> int:
        """Follow up the rows that are due and return their number.

        An error of one row does not stop the others. An unexpected error is raised at the end.
        """
        rows = await self._pending.list_due(self._clock.now(), limit=ROWS_A_TICK)
        broken: list[BaseException | None] = []
        for start in range(0, len(rows), AT_ONCE):
            some = map(self._mend_safely, rows[start : start + AT_ONCE])
            broken += await asyncio.gather(*some, return_exceptions=True)
        for error in filter(None, broken):
            raise error
        return len(rows)

    async def _mend_safely(self, row: PendingRun) -> None:
        try:
            await self._mend(row)
        except StaleWrite:
            return
        except TransientError as error:
            self._telemetry.log(
                "mending_postponed", level="warning", run_id=row.run_id, reason=str(error)
            )
            await self._postpone(row)
        except AosError as error:
            self._telemetry.log(
                "mending_failed", level="error", run_id=row.run_id, reason=str(error)
            )
            await self._postpone(row)

    async def _postpone(self, row: PendingRun) -> None:
        """Look at the row later, unless it was moved. Ends that cannot be delivered would otherwise
        be looked at first in each tick, and fill it."""
        with contextlib.suppress(TransientError, StaleWrite):
            await self._pending.move(row, next_check=self._clock.now() + _choose_pause(row))

    async def _mend(self, row: PendingRun) -> None:
        stored = await self._requests.find(row.run_id)
        if stored is None:
            await self._check_orphan(row)
            return
        request = stored.request
        if request.refusal is not None:  # a repeated command left this row
            await self._pending.drop(row.run_id, etag=row.etag)
            return
        run = await self._conversations.find_run(request.conversation_id, request.run_id)
        if run is not None:
            self._see(run)
        if run is not None and run.status.has_ended:
            await self._deliver(stored, run)
            return
        await self._pending.move(row, next_check=self._clock.now() + _choose_pause(row))
        self._list_run(IndexedRun.of(request, owner=request.owner))
        await self._nudge(stored)

    async def _check_orphan(self, row: PendingRun) -> None:
        """Drop the row of an admission that died; after an hour, for it may be under way."""
        now = self._clock.now()
        if now - row.created_at >= ORPHAN_AGE:
            await self._pending.drop(row.run_id, etag=row.etag)
        else:
            await self._pending.move(row, next_check=now + _choose_pause(row))

    async def _nudge(self, stored: StoredRequest) -> None:
        request = stored.request
        self._telemetry.log(
            "run_nudged",
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
            cancelling=stored.cancel_requested_at is not None,
        )
        if stored.cancel_requested_at is not None:
            await self._bus.send(to_realm(CancelRun(request=request, reason=stored.cancel_reason)))
        else:
            await self._bus.send(to_realm(StartRun(request=request)))

    async def _deliver(self, stored: StoredRequest, run: Run) -> None:
        await self._deliver_end(RunEnded.of(stored.request, run))


def _choose_pause(row: PendingRun) -> timedelta:
    """30 s, then doubling to 15 min."""
    return min(FIRST_PAUSE * (1 << min(row.checks + 1, 10)), LONGEST_PAUSE)
