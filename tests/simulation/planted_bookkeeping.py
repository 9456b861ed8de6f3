"""Would the simulation notice? Bugs of what main writes in batches, after its caller's answer, and
of the pending row that it writes while it looks at the request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryLedger
from aos.domain.envelope import RunEnded
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import AosError, OutcomeUnknown, StaleWrite
from aos.ports.conversations import Loaded
from aos.ports.index import IndexedRun
from aos.ports.ledger import CountedRun, SeenRun
from aos.services.admission import Admissions, RunRequest, admissions
from aos.services.admission.admissions import FIRST_CHECK
from aos.services.bookkeeping import Bookkeeping, Closing


def listed_by_admission_alone() -> contextlib.AbstractContextManager[Any]:
    """What an admission died before, its run's end does not make up for."""
    real = Bookkeeping._list

    async def add(self: Bookkeeping, runs: Mapping[str, IndexedRun]) -> set[str]:
        await real(self, {key: run for key, run in runs.items() if key not in self._closing})
        return set(runs)

    return patch.object(Bookkeeping, "_list", add)


def failed_lists_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A batch of the lists that failed is taken for written."""
    real = Bookkeeping._list

    async def add(self: Bookkeeping, runs: Mapping[str, IndexedRun]) -> set[str]:
        await real(self, runs)
        return set(runs)

    return patch.object(Bookkeeping, "_list", add)


def failed_records_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A batch of ends that could not be recorded is taken for recorded."""
    real = Bookkeeping._try_to_record

    async def record(self: Bookkeeping, ends: Sequence[Closing]) -> set[str]:
        await real(self, ends)
        return {end.run.run_id for end in ends}

    return patch.object(Bookkeeping, "_try_to_record", record)


def failed_events_forgotten() -> contextlib.AbstractContextManager[Any]:
    """Ends whose events could not be published are recorded as told."""
    real = Bookkeeping._tell

    async def tell(self: Bookkeeping, ends: Sequence[Closing]) -> None:
        with contextlib.suppress(AosError):
            await real(self, ends)

    return patch.object(Bookkeeping, "_tell", tell)


def recorded_before_told() -> contextlib.AbstractContextManager[Any]:
    """Ends are recorded as told, and their events are published after that."""
    real = Bookkeeping._record

    async def tell(self: Bookkeeping, ends: Sequence[Closing]) -> None:
        """Leave it for later."""

    async def record(self: Bookkeeping, ends: Sequence[Closing]) -> None:
        await real(self, ends)
        for end in ends:
            if end.event is not None:
                await self._bus.publish(end.event)

    return patch.multiple(Bookkeeping, _tell=tell, _record=record)


def conflict_taken_for_recorded() -> contextlib.AbstractContextManager[Any]:
    """A conflict is taken to mean that every end of the batch was recorded before."""
    real = Bookkeeping._record

    async def record(self: Bookkeeping, ends: Sequence[Closing]) -> None:
        with contextlib.suppress(StaleWrite):
            await self._ledger.record(*(end.counted for end in ends))
            return
        await real(self, ends[:1])

    return patch.object(Bookkeeping, "_record", record)


def unknown_record_repeated() -> contextlib.AbstractContextManager[Any]:
    """Ends whose recording had no answer are recorded again without a look, and without the rows
    that would object."""
    real = Bookkeeping._record

    async def record(self: Bookkeeping, ends: Sequence[Closing]) -> None:
        try:
            await self._ledger.record(*(end.counted for end in ends))
        except OutcomeUnknown:
            for end in ends:
                self._ledger._tables.seen.pop(end.run.run_id, None)  # type: ignore[attr-defined]
            await real(self, ends)
        except StaleWrite:
            await real(self, ends)

    return patch.object(Bookkeeping, "_record", record)


def ends_recorded_without_their_rows() -> contextlib.AbstractContextManager[Any]:
    """The insertion of `seen:` does not object to an end that is recorded already."""
    real = MemoryLedger._record

    def record(self: MemoryLedger, runs: Sequence[CountedRun]) -> None:
        for counted in runs:
            self._tables.seen.pop(counted.run.run_id, None)
        real(self, runs)

    return patch.object(MemoryLedger, "_record", record)


def rows_removed_before_the_batch() -> contextlib.AbstractContextManager[Any]:
    """A pending row goes when the end is handed over, before its batch is written."""
    real = Bookkeeping.close_run

    def close_run(self: Bookkeeping, ended: RunEnded, **more: Any) -> None:
        real(self, ended, **more)
        self._removable[ended.run.run_id] = None
        self._removals.start()

    return patch.object(Bookkeeping, "close_run", close_run)


def usage_forgotten_after_the_reply() -> contextlib.AbstractContextManager[Any]:
    """An end whose messages were sent is taken for counted, though its usage could not be
    written."""
    real = MemoryLedger.find

    async def find(self: MemoryLedger, run: Run) -> SeenRun | None:
        seen = await real(self, run)
        return None if seen is None else replace(seen, counted=True)

    return patch.object(MemoryLedger, "find", find)


def rows_never_removed_after_a_failure() -> contextlib.AbstractContextManager[Any]:
    """An instance takes a run for one that it is closing, though its batch failed."""
    closing: dict[int, set[str]] = {}
    real = Bookkeeping.close_run

    def close_run(self: Bookkeeping, ended: RunEnded, **more: Any) -> None:
        closing.setdefault(id(self), set()).add(ended.run.run_id)
        real(self, ended, **more)

    def is_closing(self: Bookkeeping, run_id: str) -> bool:
        return run_id in closing.get(id(self), ())

    return patch.multiple(Bookkeeping, close_run=close_run, is_closing=is_closing)


def early_row_not_awaited() -> contextlib.AbstractContextManager[Any]:
    """An admission inserts the request though its pending row is still being written."""

    async def write_early(
        self: Admissions, admitted: AdmittedRequest, checks: Coroutine[Any, Any, None]
    ) -> None:
        pending = self._make_pending(admitted, delay=FIRST_CHECK)
        writing = asyncio.create_task(self._pending.put(pending))
        self._announcing.add(writing)
        await checks

    return patch.object(Admissions, "_write_early", write_early)


def early_row_of_a_key() -> contextlib.AbstractContextManager[Any]:
    """A refused request with a key has the pending row of its run removed, which a repeat of the
    request may have been admitted with meanwhile."""

    def is_written_early(request: RunRequest, head: Loaded | None) -> bool:
        return request.conversation_id is not None

    return patch.object(admissions, "_is_written_early", is_written_early)


PLANTED_IN_BOOKKEEPING: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "listed_by_admission_alone": listed_by_admission_alone,
    "failed_lists_forgotten": failed_lists_forgotten,
    "failed_records_forgotten": failed_records_forgotten,
    "failed_events_forgotten": failed_events_forgotten,
    "recorded_before_told": recorded_before_told,
    "conflict_taken_for_recorded": conflict_taken_for_recorded,
    "unknown_record_repeated": unknown_record_repeated,
    "ends_recorded_without_their_rows": ends_recorded_without_their_rows,
    "early_row_not_awaited": early_row_not_awaited,
    "early_row_of_a_key": early_row_of_a_key,
    "rows_removed_before_the_batch": rows_removed_before_the_batch,
    "rows_never_removed_after_a_failure": rows_never_removed_after_a_failure,
    "usage_forgotten_after_the_reply": usage_forgotten_after_the_reply,
}
"""Every planted bug of this module by its name on the command line."""
