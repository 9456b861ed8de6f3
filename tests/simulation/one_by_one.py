"""Does an agent with `on_busy: reject` have one run at a time in a conversation?

Two runs are accepted only where the row of one was written so late that its slot was free again;
realm then ends one of them. Nobody is refused in a conversation that is free.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

AGENT = "single"
LATE = 20.0
"""A request row that is written so long after its slot was taken may lose the slot before."""
FREE_FOR = 20.0
"""An admission may have read what was true so many seconds ago."""
KEPT_FOR = 70.0
"""A slot without a request row is kept so long at most, by clocks that agree."""


class OneByOne:
    """Watches the slots of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._taken: dict[str, float] = {}
        self._inserted: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def written(self, operation: str, key: str) -> None:
        """A row was written."""
        now, tables = self._world.loop.seconds, self._world.tables
        if operation == "slots.take":
            self._taken[tables.slots[key].run_id] = now
        elif operation == "requests.insert":
            self._inserted[key] = now
        elif operation == "conversations.save":
            for run in tables.conversations[key].runs.values():
                if run.status.has_ended:
                    self._ended.setdefault(run.run_id, now)

    def refused(self, run_id: str, code: str) -> None:
        """A run was refused: if for a busy conversation, then it is busy, or was just now."""
        if code != "conversation_busy":
            return
        now, ask = self._world.loop.seconds, self._world.asks[run_id]
        for other in self._runs_in(ask.conversation_id or run_id):
            if now - self._ended.get(other, now) <= FREE_FOR:
                return
        kept_for = KEPT_FOR + 2 * self._world.scenario.skew
        for other, taken in self._taken.items():
            if other not in self._inserted and now - taken <= kept_for:
                return
        self._world.checks.fail(f"{run_id} was refused, and its conversation was free")

    def was_late(self, conversation_id: str) -> bool:
        """Whether some run of the conversation may have lost its slot before it was admitted."""
        return any(
            self._inserted[run] - self._taken.get(run, self._inserted[run]) > LATE
            for run in self._runs_in(conversation_id)
        )

    def verdict(self) -> None:
        """No two runs were admitted at once."""
        for name in sorted(self._world.tables.slots):
            runs = sorted(self._runs_in(name), key=self._inserted.__getitem__)
            for before, after in pairwise(runs):
                overlap = self._ended.get(before, 0.0) - self._inserted[after]
                if overlap > 0 and not self.was_late(name):
                    self._world.checks.fail(
                        f"{after} was admitted {overlap:.1f} s before {before} had ended"
                    )

    def _runs_in(self, conversation_id: str) -> list[str]:
        rows = self._world.tables.requests
        return [
            run_id
            for run_id in self._inserted
            if rows[run_id].request.conversation_id == conversation_id
            and rows[run_id].request.agent_id == AGENT
        ]
