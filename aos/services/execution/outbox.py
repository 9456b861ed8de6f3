"""Sends what a conversation's outbox holds. Entry points: `Outbox.send_found`, `Outbox.send_saved`.

Some outboxes stay in the head after they were sent, until the next save: the end of a run, with the
removal of its provisional events, and the calls of tools. All others are emptied by a save. A
handler that finds an outbox sends it again, unless this process has sent it, or it is known to have
been delivered: main has recorded the end, or this very command is the call's result or the removal.
Calls and removals that were sent again are emptied by a save.

Main's record goes with the run's other rows, so an old end is not sent again: main's mender
delivers it from these rows, if it was never delivered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from aos.domain.envelope import (
    CallTool,
    ContinueRun,
    Outgoing,
    RemoveDeltas,
    RunEnded,
    ToolResult,
)
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.ports.bus import Bus
from aos.ports.ledger import Ledger
from aos.services.execution.unit_of_work import UnitOfWork

REMEMBERED = 8192
COMES_EARLY = timedelta(minutes=1)
"""A scheduled message comes at most so much earlier than our clock says."""
SENT_AGAIN_FOR = REQUEST_RETENTION / 2
"""The end of a run that was admitted longer ago is not sent again."""


class Outbox:
    """Sends outboxes. It remembers which of the commands that stay in heads this process has
    sent."""

    def __init__(self, *, bus: Bus, ledger: Ledger) -> None:
        self._bus = bus
        self._ledger = ledger
        self._sent: OrderedDict[str, None] = OrderedDict()

    async def send_found(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Send what an earlier handler has saved, and may not have sent."""
        found = unit.conversation.outbox
        again = [o for o in found if not await self._is_delivered(o, unit, now=now)]
        await self._send_all(again)
        unit.empty_outbox(stays=all(isinstance(o.command, RunEnded) for o in again))

    async def send_saved(self, unit: UnitOfWork) -> None:
        """Send what this handler has saved."""
        await self._send_all(unit.conversation.outbox)
        unit.empty_outbox(stays=True)

    async def _is_delivered(self, outgoing: Outgoing, unit: UnitOfWork, *, now: datetime) -> bool:
        """Whether a command that may stay in the head needs no message any more."""
        command = outgoing.command
        if command.command_id in self._sent and not _may_have_come(outgoing, now):
            return True
        match command:
            case RunEnded():
                is_old = now - command.run.created_at > SENT_AGAIN_FOR
                return is_old or await self._ledger.is_recorded(command.run)
            case CallTool():
                return _is_answered(command, unit)
            case RemoveDeltas():
                return command.command_id == unit.command.command_id
            case _:
                return False

    async def _send_all(self, outbox: Sequence[Outgoing]) -> None:
        """Send commands at the same time: each is for itself. Raises what one of them raised, when
        all are sent or have failed."""
        sent = await asyncio.gather(*map(self._send, outbox), return_exceptions=True)
        for error in sent:
            if error is not None:
                raise error

    async def _send(self, outgoing: Outgoing) -> None:
        await self._bus.send(outgoing)
        if _may_stay(outgoing):
            self._sent[outgoing.command.command_id] = None
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)


def _may_stay(outgoing: Outgoing) -> bool:
    """Whether the command may be found in a head after it was sent."""
    command = outgoing.command
    is_look = isinstance(command, ContinueRun) and outgoing.scheduled_at is not None
    return is_look or isinstance(command, RunEnded | RemoveDeltas | CallTool)


def _may_have_come(outgoing: Outgoing, now: datetime) -> bool:
    """Whether a look with this id may have come already, so that this is the next one: a handler
    whose clock is behind the broker's schedules another for the same time."""
    at = outgoing.scheduled_at
    return isinstance(outgoing.command, ContinueRun) and (at is None or at - now < COMES_EARLY)


def _is_answered(call: CallTool, unit: UnitOfWork) -> bool:
    """Whether the handler's command is the result of this call."""
    command = unit.command
    return (
        isinstance(command, ToolResult)
        and (command.run_id, command.tool_call_id) == (call.run_id, call.tool_call_id)
        and command.round_number == call.round_number
    )
