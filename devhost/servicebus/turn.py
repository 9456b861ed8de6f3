"""When does a change become true, and who hears of it?

All that happens in one turn of the event loop is one transaction. Entities write records and
register what follows; when the loop has read what there was to read, `flush` commits, then lets
follow what follows, then writes to the sockets. So nobody hears of a change that is not on disk,
and a hundred sends that arrive together cost one commit.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Protocol

from devhost.servicebus.entities.records import Record
from devhost.servicebus.errors import StoreError


class Keeper(Protocol):
    """Where records are kept."""

    def commit(self, records: list[Record]) -> None:
        """Keep all of them or none. Raises StoreError."""
        ...


class Turn:
    """The journal of the entities; `call_soon` runs a function in the loop's next turn."""

    def __init__(
        self, keeper: Keeper, *, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._keeper = keeper
        self._call_soon = call_soon
        self._records: list[Record] = []
        self._followers: list[Callable[[bool], None]] = []
        self._outputs: list[Callable[[], None]] = []
        self._planned = False

    def write(self, record: Record) -> None:
        """See `Journal`."""
        self._records.append(record)
        self._plan()

    def after(self, then: Callable[[bool], None]) -> None:
        """See `Journal`."""
        self._followers.append(then)
        self._plan()

    def at_end(self, output: Callable[[], None]) -> None:
        """Call `output` when this turn's changes are true: the place to write to a socket."""
        self._outputs.append(output)
        self._plan()

    def flush(self) -> None:
        """Commit, and let follow what follows, until nothing is left."""
        self._planned = False
        while self._records or self._followers:
            records, self._records = self._records, []
            followers, self._followers = self._followers, []
            self._follow(deque(followers), self._commit(records))
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            output()

    def _follow(self, followers: deque[Callable[[bool], None]], kept: bool) -> None:
        """Call them all; one that fails does not keep the others from hearing."""
        try:
            while followers:
                followers.popleft()(kept)
        finally:
            if followers:
                self._call_soon(lambda: self._follow(followers, kept))

    def _commit(self, records: list[Record]) -> bool:
        if not records:
            return True
        try:
            self._keeper.commit(records)
        except StoreError as error:
            sys.stderr.write(f"the database refuses {len(records)} changes: {error}\n")
            return False
        return True

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            self._call_soon(self.flush)
