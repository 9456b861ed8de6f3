"""Do the events of a run tell what happened, without a gap and once? Entry point: `Events`.

After each save of a conversation a reader looks, as one that polls does: it takes what comes after
the last id that it has seen. At the end what it read is what stands: ids 1, 2, 3 …, no event twice,
and one end, which is the last one and the run's own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from aos.adapters.memory.tables import ConversationRows
from aos.domain.runs.run import RunStatus
from aos.domain.runs.run_events import ENDS, QUEUED_ID, RunEvent

if TYPE_CHECKING:
    from tests.simulation.world import World


class Events:
    """Reads the events of all runs of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read: dict[str, list[RunEvent]] = defaultdict(list)
        self._seen: dict[str, tuple[int, object]] = {}

    def written(self, operation: str, key: str) -> None:
        """A row was written."""
        if operation != "conversations.save":
            return
        rows = self._world.tables.conversations[key]
        newest = len(rows.events), next(reversed(rows.events), None)
        if newest == self._seen.get(key):
            return
        self._seen[key] = newest
        for run_id, stored in _list_events(rows).items():
            read = self._read[run_id]
            last = int(read[-1].id) if read else QUEUED_ID
            new = [event for event in stored if int(event.id) > last]
            numbers = [int(event.id) for event in new]
            if numbers != list(range(last + 1, last + 1 + len(new))):
                self._world.checks.fail(f"events {numbers} of {run_id} came after {last}")
            read += new

    def verdict(self) -> None:
        """What was read is what stands, and each run that ended tells its end once."""
        for key, rows in self._world.tables.conversations.items():
            stored = _list_events(rows)
            for run_id, run in rows.runs.items():
                if not self._world.checks.is_scrubbed(run_id):
                    self._of_a_run(key, run_id, stored.get(run_id, []), run.status)

    def _of_a_run(self, key: str, run_id: str, stored: list[RunEvent], status: RunStatus) -> None:
        fail = self._world.checks.fail
        if stored != self._read[run_id]:
            fail(f"a reader of {run_id} in {key} got {self._read[run_id]}, what stands is {stored}")
        ends = [event.type for event in stored if event.is_end]
        if ends != [ENDS[status]] or not stored[-1].is_end:
            fail(f"{run_id} ended {status}, its events are {[event.type for event in stored]}")
        turns = [event.turn for event in stored if event.type == "message.completed"]
        if turns != list(range(1, len(turns) + 1)):
            fail(f"the events of {run_id} tell the turns {turns}")


def _list_events(rows: ConversationRows) -> dict[str, list[RunEvent]]:
    """The saved events of each run, in the order of their ids."""
    found: dict[str, list[RunEvent]] = defaultdict(list)
    for place in sorted(rows.events):
        row = rows.events[place]
        if not row.last_id.is_provisional:
            found[row.run_id] += row.events
    return found
