"""Plants bugs in the tasks of tools. Entry point: `PLANTED_IN_TASKS`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryToolLedger
from aos.domain.envelope import CallTool
from aos.domain.tools.questions import TaskWait
from aos.domain.tools.tool import ToolCallRow, ToolOutcome
from aos.services.tool_calls import CommandDelivery, TaskCanceller, ToolCalls


def task_not_in_the_row() -> contextlib.AbstractContextManager[Any]:
    """The row of a call does not hold its task: who asks next does not know of it."""
    real = MemoryToolLedger.find

    async def find(self: MemoryToolLedger, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        row = await real(self, run_id, tool_call_id)
        return None if row is None else replace(row, task=None)

    return patch.object(MemoryToolLedger, "find", find)


def called_again_instead_of_asked() -> contextlib.AbstractContextManager[Any]:
    """A call that has become a task is made again."""

    async def follow(
        self: ToolCalls, command: CallTool, row: ToolCallRow, task: TaskWait
    ) -> ToolOutcome | datetime:
        live = await self._cards.live_server(command.server_id)
        row = replace(row, task=None)
        end = await self._call(command, row, live, CommandDelivery())
        assert end is not None
        return end

    return patch.object(ToolCalls, "_follow", follow)


def task_never_asked_for() -> contextlib.AbstractContextManager[Any]:
    """A call that has become a task leaves no command that would ask for it."""
    real = ToolCalls._settle

    async def settle(self: ToolCalls, command: CallTool, *more: Any) -> Any:
        end = await real(self, command, *more)
        row = await self._ledger.find(command.run_id, command.row_id)
        if isinstance(end, datetime) and row is not None and row.task is not None:
            end = command.deadline
        return end

    return patch.object(ToolCalls, "_settle", settle)


def task_goes_on_after_its_run() -> contextlib.AbstractContextManager[Any]:
    """The end of a run does not cancel its tasks."""

    async def cancel(self: TaskCanceller, command: object, task_id: str, **more: object) -> None:
        return None

    return patch.object(TaskCanceller, "cancel", cancel)


PLANTED_IN_TASKS = {
    "task_not_in_the_row": task_not_in_the_row,
    "called_again_instead_of_asked": called_again_instead_of_asked,
    "task_never_asked_for": task_never_asked_for,
    "task_goes_on_after_its_run": task_goes_on_after_its_run,
}
"""These bugs by their names on the command line."""
