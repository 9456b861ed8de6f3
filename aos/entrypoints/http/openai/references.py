"""Replaces references to items of earlier responses by the items. Entry point:
`ItemReferences.resolve`.

Clients send `{"type": "item_reference", "id": "msg_…"}` for what a response of theirs had in its
output, because the API keeps it. AOS keeps it in the events of the run, which the id names.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

from aos.domain.caller import Caller
from aos.domain.runs.run_options import MAX_HISTORY
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.reading import ResponseReader, conclude
from aos.errors import Refused

_REFERENCE = "item_reference"
_ITEM = re.compile(r"(?:msg|mcp|mcpr)_([0-9a-f]{32})_[0-9a-z_]{1,60}", re.ASCII)


class ItemReferences:
    """The items of a caller's responses."""

    def __init__(self, callers: CallerRuns, *, reader: ResponseReader) -> None:
        self._callers = callers
        self._reader = reader

    async def resolve(self, value: Any, *, caller: Caller) -> Any:
        """Return an input with the items in place of the references; of more than 64 the last 64.

        Raises Refused `not_found`.
        """
        if not isinstance(value, list):
            return value
        places = [place for place, item in enumerate(value) if _is_reference(item)]
        if not places:
            return value
        wanted = {place: _read_run(value[place], place) for place in places[-MAX_HISTORY:]}
        runs = list(dict.fromkeys(wanted.values()))
        read = await asyncio.gather(*(self._read_items(run_id, caller) for run_id in runs))
        known = {item["id"]: item for items in read for item in items}
        for place in wanted:
            if value[place]["id"] not in known:
                raise _not_found(value[place], place)
        return [
            known[item["id"]] if place in wanted else item
            for place, item in enumerate(value)
            if place in wanted or not _is_reference(item)
        ]

    async def _read_items(self, run_id: str, caller: Caller) -> list[Any]:
        """The items of all responses of a run; none where the run is not the caller's."""
        try:
            request = await self._callers.find_request(run_id, caller=caller)
        except Refused:
            return []
        first = await self._reader.unfold(request, 0)
        later = [await self._reader.unfold(request, part) for part in range(1, first.parts + 1)]
        return [item for part in (first, *later) for item in conclude(part).output]


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == _REFERENCE


def _read_run(item: dict[str, Any], place: int) -> str:
    found = _ITEM.fullmatch(item["id"]) if isinstance(item.get("id"), str) else None
    if found is None:
        raise _not_found(item, place)
    return str(uuid.UUID(found[1]))


def _not_found(item: dict[str, Any], place: int) -> Refused:
    return Refused(
        "not_found",
        f"there is no item {str(item.get('id'))[:80]!r} in a response of yours",
        field=f"input[{place}].id",
    )
