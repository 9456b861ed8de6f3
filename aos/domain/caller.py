"""Says who sends a request. Entry points: `Caller`, `is_door_owner`."""

from __future__ import annotations

import re
from dataclasses import dataclass

# No colon but that of a key's hash, because `agent:` and `queue:` begin owners of other kinds.
_DOOR_OWNER = re.compile(r"[A-Za-z0-9._@|-]{1,128}|key:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of what the request creates, and the caller's rights.

    `is_approver`: may decide about tool calls in anybody's runs. An admin may too. `sent_by`: the
    service on the queue that acts for the owner; None where the owner acts.
    """

    owner: str
    is_admin: bool = False
    is_approver: bool = False
    sent_by: str | None = None

    @property
    def visible_owner(self) -> str | None:
        """The owner whose runs the caller sees; None for an admin, who sees all runs."""
        return None if self.is_admin else self.owner

    @property
    def deciding_owner(self) -> str | None:
        """The owner in whose runs the caller may decide and answer; None means all owners."""
        return None if self.is_approver else self.visible_owner

    @property
    def signature(self) -> str:
        """Who decided or answered, as it is kept and shown."""
        return self.owner if self.sent_by is None else f"{self.sent_by} for {self.owner}"


def is_door_owner(text: str) -> bool:
    """Whether the text is an owner of HTTP: a person, the name of a key, or a key's hash."""
    return _DOOR_OWNER.fullmatch(text) is not None
