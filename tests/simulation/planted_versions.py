"""Plants bugs between versions, to see whether the simulation finds them. Entry point:
`PLANTED_IN_VERSIONS`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryBus, MemoryLedger
from aos.adapters.memory.tables import DayUsage
from aos.domain.envelope import Outgoing, RunEnded
from aos.domain.runs.conversation import Step
from aos.domain.runs.run import Run
from aos.domain.tools.tool import ToolCallRow, ToolOutcome
from tests.simulation.versions import NewerBus, NewerConversationStore, NewerLedger, NewerToolLedger
from tests.simulation.wire import WireConversationStore, WireToolLedger

Planted = contextlib.AbstractContextManager[Any]


def newer_fields_dropped() -> Planted:
    """An older version writes back only the fields that it knows."""
    real = WireConversationStore.write

    def write(self: WireConversationStore, step: Step) -> str:
        if not isinstance(self, NewerConversationStore):
            head = step.conversation
            active = None if head.active is None else replace(head.active, unknown={})
            step = replace(step, conversation=replace(head, unknown={}, active=active))
        return real(self, step)

    return patch.object(WireConversationStore, "write", write)


def newer_fields_of_requests_dropped() -> Planted:
    """An older realm keeps of a request only the fields that it knows."""
    real = WireConversationStore.write

    def write(self: WireConversationStore, step: Step) -> str:
        head = step.conversation
        if not isinstance(self, NewerConversationStore) and head.active is not None:
            request = replace(head.active.request, unknown={})
            head = replace(head, active=replace(head.active, request=request))
        return real(self, replace(step, conversation=head))

    return patch.object(WireConversationStore, "write", write)


def newer_fields_of_ends_dropped() -> Planted:
    """An older realm sends of an end that a newer one saved only the fields that it knows."""
    real = MemoryBus.send

    async def send(self: MemoryBus, outgoing: Outgoing) -> None:
        command = outgoing.command
        if isinstance(command, RunEnded) and not isinstance(self, NewerBus):
            run = replace(command.run, unknown={})
            outgoing = replace(outgoing, command=replace(command, run=run))
        await real(self, outgoing)

    return patch.object(MemoryBus, "send", send)


def newer_fields_of_calls_dropped() -> Planted:
    """An older mcp writes back only the fields of a call's row that it knows."""
    start, finish = WireToolLedger.start, WireToolLedger.finish

    async def write(self: WireToolLedger, row: ToolCallRow) -> ToolCallRow:
        is_newer = isinstance(self, NewerToolLedger)
        return await start(self, row if is_newer else replace(row, unknown={}))

    async def end(self: WireToolLedger, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        key = (row.run_id, row.tool_call_id)
        found = self._tables.tool_calls.get(key)
        if found is not None and not isinstance(self, NewerToolLedger):
            self._tables.tool_calls[key] = replace(found, unknown={})
        return await finish(self, row, outcome)

    return patch.multiple(WireToolLedger, start=write, finish=end)


def newer_columns_of_usage_dropped() -> Planted:
    """An older main writes the row of a day anew."""
    real = MemoryLedger.add_up

    def add(self: MemoryLedger, day: DayUsage, run: Run) -> DayUsage:
        counted = real(self, day, run)
        return counted if isinstance(self, NewerLedger) else replace(counted, unknown={})

    return patch.object(MemoryLedger, "add_up", add)


PLANTED_IN_VERSIONS = {
    "newer_fields_dropped": newer_fields_dropped,
    "newer_fields_of_requests_dropped": newer_fields_of_requests_dropped,
    "newer_fields_of_ends_dropped": newer_fields_of_ends_dropped,
    "newer_fields_of_calls_dropped": newer_fields_of_calls_dropped,
    "newer_columns_of_usage_dropped": newer_columns_of_usage_dropped,
}
"""These bugs by their names on the command line."""
