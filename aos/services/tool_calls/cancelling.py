"""Cancels tool calls of runs that have ended. Entry point: `CallCanceller.cancel`."""

from __future__ import annotations

from datetime import datetime, timedelta

from aos.domain.envelope import CancelCall
from aos.domain.tools.tool import ToolCallRow, ToolOutcome, make_round_id
from aos.errors import StaleWrite
from aos.ports.system import Clock, Ids
from aos.ports.tools import ToolLedger
from aos.services.tool_calls.calls import EARLIEST
from aos.services.tool_calls.task_cancelling import TaskCanceller

LOOK_AGAIN = timedelta(seconds=5)
NOT_MADE = ToolOutcome(outcome="not_called", content="The tool was not called: the run had ended.")
CANCELLED = ToolOutcome(
    outcome="outcome_unknown", content="The run ended, and the call's task was cancelled."
)


class CallCanceller:
    """Cancels the tasks of calls, and calls that nobody has begun."""

    def __init__(self, *, ledger: ToolLedger, tasks: TaskCanceller, clock: Clock, ids: Ids) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._clock = clock
        self._ids = ids

    async def cancel(
        self, command: CancelCall, *, not_before: datetime | None = None
    ) -> datetime | None:
        """Cancel the call; returns when to look again at a call that is being made.

        `not_before` is a time that the broker's clock has reached, even if ours has not: the next
        look is scheduled after it, or the command would come back at once, again and again.
        Raises TransientError when that is not possible now.
        """
        if command.task_id is not None:
            await self._tasks.cancel(command, command.task_id, not_before=not_before)
            return None
        row = await self._ledger.find(command.run_id, command.row_id)
        now = max(self._clock.now(), not_before or EARLIEST)
        if row is None:
            await self._cancel_earlier_task(command)
            return await self._forbid(command, now)
        if row.result is None and row.task is None:
            return None if now >= row.until else min(row.until, now + LOOK_AGAIN)
        task_id = None if row.task is None else row.task.task_id
        if row.result is not None and row.result.pause is not None:
            task_id = row.result.pause.task_id
        elif row.result is not None:
            return None  # the call has ended
        if task_id is not None:
            await self._tasks.cancel(command, task_id, not_before=not_before)
        await self._ledger.finish(row, CANCELLED)
        return None

    async def _cancel_earlier_task(self, command: CancelCall) -> None:
        """Cancel the task that asked a person, where the round with the answer was not begun."""
        if not command.round_number:
            return
        earlier = make_round_id(command.tool_call_id, command.round_number - 1)
        row = await self._ledger.find(command.run_id, earlier)
        pause = None if row is None or row.result is None else row.result.pause
        if pause is not None and pause.task_id is not None:
            await self._tasks.cancel(command, pause.task_id)

    async def _forbid(self, command: CancelCall, now: datetime) -> datetime | None:
        """Write a result, so that a command that comes later makes no call. It is written with the
        row: between two writes the call could be begun."""
        row = ToolCallRow(
            run_id=command.run_id,
            tool_call_id=command.row_id,
            conversation_id=command.conversation_id,
            server_id=command.server_id,
            tool=command.tool,
            started_at=now,
            until=now,
            holder=self._ids.new_id(),
        )
        try:
            await self._ledger.finish(row, NOT_MADE)
        except StaleWrite:
            return now + LOOK_AGAIN
        return None
