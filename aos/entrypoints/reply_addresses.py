"""Checks that a reply may be sent to the named entity. Entry point: `ReplyEntities`.

The operator lists the allowed entities in `AOS_REPLY_TO`; the default queue is always allowed.
"""

from __future__ import annotations

from collections.abc import Iterable

from aos.domain.envelope import RESPONSES_QUEUE
from aos.errors import Refused


class ReplyEntities:
    """The queues and topics that a request may name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name.lower(): name for name in (*names, RESPONSES_QUEUE)}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, ordered."""
        return tuple(sorted(self._names.values()))

    def choose(self, name: str | None) -> str:
        """Return the entity of a refusal: the default queue if `name` is missing or not allowed."""
        try:
            return self.require_allowed(name or RESPONSES_QUEUE)
        except Refused:
            return RESPONSES_QUEUE

    def require_allowed(self, name: str) -> str:
        """Return the entity in the operator's spelling. Raises Refused `invalid_request`."""
        found = self._names.get(name.lower())
        if found is None:
            raise Refused(
                "invalid_request",
                f"reply_to {name[:80]!r} is not on the operator's list AOS_REPLY_TO; write one of"
                f" {', '.join(self.names)}",
                field="reply_to",
            )
        return found
