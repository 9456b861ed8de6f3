"""Defines a run's events and their ids. Entry points: `RunEvent`, `EventId`, `EventRow`.

Ids are 1, 2, 3 … per run; 1 is `run.queued`, which is made from the request and never stored. What
a model has written so far is told by provisional events, whose ids `<saved>.<attempt>.<part>` come
after the saved event. docs/contracts/run-events.md lists the types and their data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.codec import OMITTED
from aos.domain.runs.run import AdmittedRequest, RunStatus

MAX_SHOWN_TEXT = 2_000
"""Characters of a question, of a tool's arguments and of its result in an event; the messages hold
all of them."""
RunEventType: TypeAlias = Literal[
    "run.queued",
    "run.started",
    "turn.started",
    "attempt.started",
    "message.delta",
    "message.completed",
    "tool.called",
    "tool.completed",
    "approval.requested",
    "approval.decided",
    "input.requested",
    "input.answered",
    "run.waiting",
    "run.retrying",
    "run.completed",
    "run.failed",
    "run.cancelled",
    "run.timed_out",
]
ENDS: Mapping[RunStatus, RunEventType] = {
    RunStatus.COMPLETED: "run.completed",
    RunStatus.FAILED: "run.failed",
    RunStatus.CANCELLED: "run.cancelled",
    RunStatus.TIMED_OUT: "run.timed_out",
}
QUEUED_ID = 1
TRACE_ID_LENGTH = 32
_ID = re.compile(r"([0-9]{1,8})(?:\.([0-9]{1,3})\.([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """The id of an event. Ids grow in the order of the events, for every reader alike."""

    saved: int = 0
    attempt: int = 0
    part: int = 0

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Read an id as events carry it; None for another text."""
        found = _ID.fullmatch(text)
        return None if found is None else cls(*(int(number or 0) for number in found.groups()))

    @property
    def is_provisional(self) -> bool:
        """Whether the event tells of what is not saved yet."""
        return bool(self.attempt)

    @property
    def key(self) -> str:
        """The id as the end of a row key: keys sort as ids do."""
        key = f"{self.saved:08d}"
        return f"{key}.{self.attempt:03d}.{self.part:05d}" if self.is_provisional else key

    def __str__(self) -> str:
        if self.is_provisional:
            return f"{self.saved}.{self.attempt}.{self.part}"
        return str(self.saved)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One event of a run. `turn` counts from 1; `data` depends on the type (docs/contracts)."""

    id: str
    type: RunEventType
    time: datetime
    turn: int | None = field(default=None, metadata=OMITTED)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def event_id(self) -> EventId:
        """The id, read."""
        read = EventId.parse(self.id)
        assert read is not None
        return read

    @property
    def is_end(self) -> bool:
        """Whether no event of the run follows."""
        return self.type in ENDS.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """The events of a run that are stored together, oldest first; the row has the last one's id."""

    run_id: str
    events: tuple[RunEvent, ...]

    @property
    def last_id(self) -> EventId:
        """The id of the last event."""
        return self.events[-1].event_id


def make_queued_event(request: AdmittedRequest) -> RunEvent:
    """The first event of every run. It tells the question, which is in the history later."""
    told = {
        "message": request.message[:MAX_SHOWN_TEXT],
        "trace_id": find_trace_id(request.traceparent),
    }
    return RunEvent(
        id=str(QUEUED_ID),
        type="run.queued",
        time=request.admitted_at,
        data={name: value for name, value in told.items() if value},
    )


def find_trace_id(traceparent: str | None) -> str | None:
    """The trace id of a W3C traceparent, which Application Insights calls `operation_Id`."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == TRACE_ID_LENGTH else None
