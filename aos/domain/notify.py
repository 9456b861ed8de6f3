"""Defines where the events of a run are sent. Entry points: `Notify`, `notify_from_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from aos.domain.codec import OMITTED

NotifyEvent: TypeAlias = Literal[
    "run.completed",
    "run.failed",
    "run.cancelled",
    "run.timed_out",
    "approval.requested",
    "input.requested",
]
"""The types of the events that can be sent to a receiver."""
NOTIFY_EVENTS: tuple[str, ...] = get_args(NotifyEvent)
MAX_URL = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """A receiver of events: a URL, or a queue or topic of the operator's list.

    `events` are the types of the events that it gets; none means all of them. `pushes`: the run
    is a task of A2A, and the receivers of its push notifications are told as well.
    """

    url: str | None = field(default=None, metadata=OMITTED)
    queue: str | None = field(default=None, metadata=OMITTED)
    events: tuple[str, ...] = field(default=(), metadata=OMITTED)
    pushes: bool = field(default=False, metadata=OMITTED)

    @property
    def has_receiver(self) -> bool:
        """Whether it names a receiver of its own."""
        return self.url is not None or self.queue is not None

    def wants(self, event_type: str) -> bool:
        """Whether the receiver gets events of this type."""
        return self.has_receiver and event_type in (self.events or NOTIFY_EVENTS)


def notify_from_dict(raw: Mapping[str, Any] | None) -> Notify | None:
    """Build the receiver from its JSON object, which must have been checked before."""
    if raw is None:
        return None
    return Notify(url=raw.get("url"), queue=raw.get("queue"), events=tuple(raw.get("events") or ()))
