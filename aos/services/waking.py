"""Wakes a run's conversation after a person decided or answered. Entry point: `Waker.wake`."""

from __future__ import annotations

from aos.domain.envelope import Approve, to_realm
from aos.domain.runs.run import AdmittedRequest
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.requests import PendingRun, PendingStore
from aos.ports.system import Clock


class Waker:
    """Wakes realm for a tool call."""

    def __init__(self, *, bus: Bus, pending: PendingStore, clock: Clock) -> None:
        self._bus = bus
        self._pending = pending
        self._clock = clock

    async def wake(self, request: AdmittedRequest, tool_call_id: str) -> bool:
        """Wake realm; when the bus is away, return False: the mender does so at its next tick.

        The mender wakes no run that has ended.
        """
        command = Approve(
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            tool_call_id=tool_call_id,
        )
        try:
            await self._bus.send(to_realm(command))
            return True
        except TransientError:
            await self._pending.put(
                PendingRun(
                    run_id=request.run_id,
                    conversation_id=request.conversation_id,
                    created_at=request.admitted_at,
                    next_check=self._clock.now(),
                )
            )
            return False

    async def wake_to_clean(self, request: AdmittedRequest, tool_call_id: str) -> None:
        """Wake realm after a deletion, which it finishes then; raises TransientError."""
        if not await self.wake(request, tool_call_id):
            raise TransientError("the bus is away, and the run was deleted; send it again")
