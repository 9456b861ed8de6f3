"""What does a handler hold while it works on one conversation?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aos.domain.envelope import Event
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import Run


@dataclass(slots=True, kw_only=True)
class Work:
    """One handler's hold on one conversation: what it read, and what it has not saved yet.

    `not_before` is a moment that the broker's clock has reached, whatever ours says.
    """

    conversation: Conversation
    etag: str | None
    known: Run | None
    catalog_version: int
    deadline: float
    not_before: datetime | None = None
    unsaved: Step | None = None
    events: tuple[Event, ...] = ()

    def add(self, step: Step) -> None:
        """Take a rule's step on; one that changes nothing leaves nothing to save."""
        if step.conversation == self.conversation and not step.runs and not step.messages:
            return
        self.unsaved = step if self.unsaved is None else self.unsaved.then(step)
        self.conversation = step.conversation
