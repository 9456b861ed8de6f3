"""Learns how soon an agent's models begin to answer. Entry point: `Beginnings.follow`."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import datetime

from aos.domain.runs.run_events import RunEvent

TURNS_KEPT = 16
TURNS_NEEDED = 4
AGENTS_KEPT = 1000
SHORTEST_SECONDS = 0.05
"""A text that comes sooner was there before it was announced."""


class Beginning:
    """When the answer of one run's next turn can be there at the earliest."""

    def __init__(self, waits: deque[float], *, looked_at: datetime) -> None:
        """`waits` are those of the agent, of all runs; `looked_at` is before the first event."""
        self._waits = waits
        self._looked_at = looked_at
        self._attempt: RunEvent | None = None
        self._asked_at = looked_at

    def take(self, events: Iterable[RunEvent], *, began: datetime) -> None:
        """Take what a read has found that began then.

        Each wait is the difference of two times of one process. When the model was asked is a time
        of another one, but it was between the read before and this one.
        """
        for event in events:
            attempt = self._attempt
            self._attempt = event if event.type == "attempt.started" else None
            if self._attempt is not None:
                self._asked_at = min(max(event.time, self._looked_at), began)
            elif attempt is not None:
                wait = (event.time - attempt.time).total_seconds()
                if wait >= SHORTEST_SECONDS:
                    self._waits.append(wait)
        self._looked_at = began

    @property
    def seconds(self) -> float:
        """From the last read on: the shortest of the agent's last waits, less what of it is over.

        0 where that is not known, or no model is asked.
        """
        if self._attempt is None or len(self._waits) < TURNS_NEEDED:
            return 0.0
        over = (self._looked_at - self._asked_at).total_seconds()
        return max(0.0, min(self._waits) - over)


class Beginnings:
    """The waits for the models of each agent in this process's last runs."""

    def __init__(self) -> None:
        self._waits: OrderedDict[str, deque[float]] = OrderedDict()

    def follow(self, agent_id: str, *, since: datetime) -> Beginning:
        """Begin with a run's events that come after `since`."""
        waits = self._waits.pop(agent_id, None)
        self._waits[agent_id] = waits = deque(maxlen=TURNS_KEPT) if waits is None else waits
        while len(self._waits) > AGENTS_KEPT:
            self._waits.popitem(last=False)
        return Beginning(waits, looked_at=since)
