"""Commits the changes of one event loop pass in one transaction. Entry point: `GroupCommit`.

Everything that the event loop reads in one pass is one transaction. Entities write records and
register callbacks; when the loop has read what has arrived, `flush` commits, then runs the
callbacks, then writes to the sockets. So no client hears of a change that is not on disk, and a
hundred sends that arrive together cost one commit.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Protocol

from devhost.servicebus.entities.records import Record
from devhost.servicebus.errors import StoreError


class RecordStore(Protocol):
    """Where records are stored."""

    def commit(self, records: list[Record]) -> None:
        """Store all of them or none. Raises StoreError."""
        ...


class GroupCommit:
    """The journal of the entities; `call_soon` runs a function in the loop's next pass."""

    def __init__(
        self, store: RecordStore, *, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._store = store
        self._call_soon = call_soon
        self._records: list[Record] = []
        self._callbacks: list[Callable[[bool], None]] = []
        self._outputs: list[Callable[[], None]] = []
        self._planned = False

    def write(self, record: Record) -> None:
        """See `Journal`."""
        self._records.append(record)
        self._plan()

    def after(self, then: Callable[[bool], None]) -> None:
        """See `Journal`."""
        self._callbacks.append(then)
        self._plan()

    def at_end(self, output: Callable[[], None]) -> None:
        """Call `output` when the changes so far are on disk: the place to write to a socket."""
        self._outputs.append(output)
        self._plan()

    def flush(self) -> None:
        """Commit and run callbacks until nothing is left, then run the outputs."""
        self._planned = False
        while self._records or self._callbacks:
            records, self._records = self._records, []
            callbacks, self._callbacks = self._callbacks, []
            self._call_back(deque(callbacks), self._commit(records))
        outputs, self._outputs = self._outputs, []
        for output in outputs:
            output()

    def _call_back(self, callbacks: deque[Callable[[bool], None]], stored: bool) -> None:
        """Run all callbacks; when one fails, the others run in the loop's next pass."""
        try:
            while callbacks:
                callbacks.popleft()(stored)
        finally:
            if callbacks:
                self._call_soon(lambda: self._call_back(callbacks, stored))

    def _commit(self, records: list[Record]) -> bool:
        if not records:
            return True
        try:
            self._store.commit(records)
        except StoreError as error:
            sys.stderr.write(f"the database refuses {len(records)} changes: {error}\n")
            return False
        return True

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            self._call_soon(self.flush)
