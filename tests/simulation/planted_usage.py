"""Bugs of counted usage, planted to see whether the simulation notices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryLedger
from aos.ports.ledger import CountedRun

_record = MemoryLedger.record


def children_counted_twice() -> contextlib.AbstractContextManager[Any]:
    """A parent is counted with what its delegated runs used, and they are counted too."""

    async def record(self: MemoryLedger, *runs: CountedRun) -> None:
        await _record(self, *(replace(r, run=replace(r.run, usage=r.run.tree_usage)) for r in runs))

    return patch.object(MemoryLedger, "record", record)


def usage_of_another_owner() -> contextlib.AbstractContextManager[Any]:
    """Usage is counted for the first owner that an instance saw."""
    owners: dict[int, str] = {}

    async def record(self: MemoryLedger, *runs: CountedRun) -> None:
        owner = owners.setdefault(id(self), runs[0].owner)
        await _record(self, *(replace(counted, owner=owner) for counted in runs))

    return patch.object(MemoryLedger, "record", record)


PLANTED_IN_USAGE: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "children_counted_twice": children_counted_twice,
    "usage_of_another_owner": usage_of_another_owner,
}
