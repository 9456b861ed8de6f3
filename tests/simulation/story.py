"""How is a failing seed told?

Events are kept as they are; only the story of a failure is written out: one line an event, ids
shortened to r1, c1 … in the order in which they appeared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
POLLS = frozenset({"requests.is_cancel_requested", "pending.due", "run_events.read"})


class Story:
    """What happened, in order: (virtual seconds, who, what, about what)."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, str, str]] = []
        self._names: dict[str, str] = {}

    def tell(self, *, last: int = 250) -> str:
        """The last events before the failure, one line each."""
        lines = list(self._lines())
        cut = [f"… {len(lines) - last} earlier events"] if len(lines) > last else []
        return "\n".join([*cut, *lines[-last:]])

    def short(self, text: str) -> str:
        """The text with short ids."""
        return UUID.sub(self._name, text)

    def _lines(self) -> Iterator[str]:
        for seconds, who, what, about in self.events:
            if what not in POLLS:
                time = str(timedelta(milliseconds=int(seconds * 1000)))[:-3]
                yield f"{time:>15}  {who:<9} {what:<24} {self.short(about)}"

    def _name(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], f"r{len(self._names) + 1}")
