"""Says who sends a request. Entry point: `Caller`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of what the request creates, and the caller's rights.

    `is_approver`: may decide about tool calls in anybody's runs. An admin may too.
    """

    owner: str
    is_admin: bool = False
    is_approver: bool = False

    @property
    def visible_owner(self) -> str | None:
        """The owner whose runs the caller sees; None for an admin, who sees all runs."""
        return None if self.is_admin else self.owner

    @property
    def deciding_owner(self) -> str | None:
        """The owner in whose runs the caller may decide and answer; None means all owners."""
        return None if self.is_approver else self.visible_owner
