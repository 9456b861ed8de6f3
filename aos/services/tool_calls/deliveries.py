"""Says how a command came, and whether its call was handled before. Entry points:
`CommandDelivery`, `KnownCalls`, `ScheduledLooks`."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from aos.domain.envelope import CallTool
from aos.domain.tools.questions import TaskWait

CALLS_REMEMBERED = 4096
EARLY = timedelta(seconds=0.5)
"""A message that the broker hands out this much before its time is on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDelivery:
    """How a command came.

    `not_before` is a time that the broker's clock has reached, even if ours has not: a command
    that was scheduled for the end of a hold and has come finds the hold over. `redelivered`: an
    earlier handler of this message has lost it. `is_first`: no handler has had this message, and
    it is not a copy of another, so its call most likely has no row. `sequence_number` is the
    message's at the broker, the same at each delivery; None for a copy that continues another
    message.
    """

    not_before: datetime | None = None
    redelivered: bool = False
    is_first: bool = False
    sequence_number: int | None = None

    def continues(self, task: TaskWait) -> bool:
        """Whether this message must be followed by the next question about the task. Another one
        is, and this is a copy, when a handler of that other one has asked last: it does not
        complete it before the next is sent."""
        known = None not in (task.asked_by, self.sequence_number)
        return not known or task.asked_by == self.sequence_number


UNTOLD = CommandDelivery()
"""Of a call that no message asks for."""


class KnownCalls:
    """The calls that this process has handled lately: a bounded number of them."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, command: CallTool) -> bool:
        """Remember the call; return whether it was unknown."""
        key = (command.run_id, command.row_id)
        is_unknown = key not in self._known
        self._known[key] = None
        while len(self._known) > CALLS_REMEMBERED:
            self._known.popitem(last=False)
        return is_unknown


class ScheduledLooks:
    """The looks at held calls that this process has scheduled: a bounded number of them.

    One look is enough for all copies of a command. Without this, each copy would be followed by the
    next, and each message that is not settled by one more.
    """

    def __init__(self) -> None:
        self._looks: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def add(self, command: CallTool, at: datetime) -> None:
        """Remember that the broker has a message that looks at this time."""
        key = (command.run_id, command.row_id)
        self._looks[key] = max(at, self._looks.pop(key, at))
        while len(self._looks) > CALLS_REMEMBERED:
            self._looks.popitem(last=False)

    def has_one_after(self, command: CallTool, now: datetime) -> bool:
        """Whether another message looks at the call later. `now` is not before the time of the
        message that asks, so that it is never taken for the later one."""
        at = self._looks.get((command.run_id, command.row_id))
        return at is not None and now < at - EARLY
