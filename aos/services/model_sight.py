"""Notes what keeps the model from answering, as the runs say that main reads anyway. Entry points:
`ModelSight.see`, `ModelSight.trouble`.

Realm asks the model, and main's health is what people look at. A run that waits for the model says
why in its row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from aos.domain.runs.absence import find_model_trouble
from aos.domain.runs.run import Run, RunStatus
from aos.ports.system import Clock

STANDS = timedelta(minutes=5)
"""After the time of the next try: if that fails too, the run's row says so by then."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """The code of what was seen, when it was seen, and until when it counts."""

    code: str
    seen_at: datetime
    ends_at: datetime


class ModelSight:
    """What main knows of the model. Makes no call."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._last: _Trouble | None = None

    @property
    def trouble(self) -> str | None:
        """The code of what kept the model from answering lately, as last seen here, or None."""
        last = self._last
        return None if last is None or self._clock.now() > last.ends_at else last.code

    def see(self, run: Run) -> None:
        """Take a state of a run that was read."""
        last, code = self._last, find_model_trouble(run)
        if code is not None and run.waiting is not None:
            now = self._clock.now()
            ends_at = (run.waiting.until or now) + STANDS
            if last is None or ends_at > last.ends_at:
                self._last = _Trouble(code, now, ends_at)
        elif last is not None and run.ended_at is not None and run.ended_at >= last.seen_at:
            self._last = None if run.status is RunStatus.COMPLETED else last
