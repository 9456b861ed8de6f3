"""Where may replies go?

Only to entities of the operator's list (`AOS_REPLY_TO`), and always to the default queue.
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
        """All of them, by name."""
        return tuple(sorted(self._names.values()))

    def allowed(self, name: str) -> str:
        """The entity as the operator spells it; raises Refused `invalid_request`."""
        found = self._names.get(name.lower())
        if found is None:
            raise Refused(
                "invalid_request",
                f"reply_to {name[:80]!r} is not on the operator's list AOS_REPLY_TO; write one of"
                f" {', '.join(self.names)}",
                field="reply_to",
            )
        return found
