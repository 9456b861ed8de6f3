"""Sends what a conversation's outbox holds. Entry points: `Outbox.send_found`, `Outbox.send_saved`.

Most outboxes are emptied by a save after they were sent. The end of a run may stay in the head
until the next save. A handler that finds one sends it again, unless this process has sent it or
main has recorded it. Main's record goes with the run's other rows, so an old end is not sent again:
main's mender delivers it from these rows, if it was never delivered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

from aos.domain.envelope import Outgoing, RunEnded
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.ports.bus import Bus
from aos.ports.ledger import Ledger
from aos.services.execution.unit_of_work import UnitOfWork

ENDS_REMEMBERED = 4096
SENT_AGAIN_FOR = REQUEST_RETENTION / 2
"""The end of a run that was admitted longer ago is not sent again."""


class Outbox:
    """Sends outboxes. It remembers which ends of runs this process has sent."""

    def __init__(self, *, bus: Bus, ledger: Ledger) -> None:
        self._bus = bus
        self._ledger = ledger
        self._ends_sent: OrderedDict[str, None] = OrderedDict()

    async def send_found(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Send what an earlier handler has saved, and may not have sent."""
        found = unit.conversation.outbox
        await self._send_all([o for o in found if not await self._is_delivered(o, now=now)])
        unit.empty_outbox()

    async def send_saved(self, unit: UnitOfWork) -> None:
        """Send what this handler has saved."""
        await self._send_all(unit.conversation.outbox)
        unit.empty_outbox()

    async def _is_delivered(self, outgoing: Outgoing, *, now: datetime) -> bool:
        """Whether the end of a run needs no message any more. All other commands do."""
        command = outgoing.command
        if not isinstance(command, RunEnded):
            return False
        if command.command_id in self._ends_sent:
            return True
        if now - command.run.created_at > SENT_AGAIN_FOR:
            return True
        return await self._ledger.is_recorded(command.run)

    async def _send_all(self, outbox: Sequence[Outgoing]) -> None:
        """Send commands at the same time: each is for itself. Raises what one of them raised, when
        all are sent or have failed."""
        sent = await asyncio.gather(*map(self._send, outbox), return_exceptions=True)
        for error in sent:
            if error is not None:
                raise error

    async def _send(self, outgoing: Outgoing) -> None:
        await self._bus.send(outgoing)
        if isinstance(outgoing.command, RunEnded):
            self._ends_sent[outgoing.command.command_id] = None
            while len(self._ends_sent) > ENDS_REMEMBERED:
                self._ends_sent.popitem(last=False)
