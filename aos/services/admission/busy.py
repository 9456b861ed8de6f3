"""Admits one run at a time to a conversation. Entry point: `Turnstile.enter`.

Realm writes a conversation's head when it can: while it asks the model, main reads a head that
does not show the run. So each admitted run of an agent with `on_busy: reject` takes the
conversation's slot, a row that names the run. The next run may take it when that run has ended, or
when it was never admitted.
"""

from __future__ import annotations

from datetime import timedelta

from aos.domain.runs.run import AdmittedRequest
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from aos.ports.slots import ConversationSlots, Slot
from aos.ports.system import Clock

UNUSED = timedelta(seconds=60)
"""A slot whose run has no request row is kept for this long: an admission takes 10 s at most, and
the clocks of two instances may be most of a minute apart."""


class Turnstile:
    """Main's rule for agents with `on_busy: reject`."""

    def __init__(
        self,
        *,
        slots: ConversationSlots,
        requests: RequestStore,
        conversations: ConversationStore,
        clock: Clock,
    ) -> None:
        self._slots = slots
        self._requests = requests
        self._conversations = conversations
        self._clock = clock

    async def enter(self, request: AdmittedRequest) -> None:
        """Take the slot of the run's conversation, or take it anew for the same run.

        Raises Refused `conversation_busy` when another run has it, and TransientError.
        """
        found = await self._slots.find(request.conversation_id)
        if found is not None and not await self._is_free(found, request.run_id):
            raise make_busy(request.conversation_id, request.agent_id)
        mine = Slot(
            conversation_id=request.conversation_id,
            run_id=request.run_id,
            taken_at=self._clock.now(),
        )
        try:
            await self._slots.take(mine, over=found)
        except (StaleWrite, OutcomeUnknown) as error:
            now = await self._slots.find(request.conversation_id)
            if now is not None and now.run_id == request.run_id:
                return
            if isinstance(error, OutcomeUnknown):
                raise TransientError(
                    "storage did not say whether the conversation is free; send the request again"
                    " with the same idempotency key"
                ) from error
            raise make_busy(request.conversation_id, request.agent_id) from error

    async def _is_free(self, slot: Slot, run_id: str) -> bool:
        """True when the slot's run is this one, has ended, or was not admitted in time."""
        if slot.run_id == run_id:
            return True
        run = await self._conversations.find_run(slot.conversation_id, slot.run_id)
        if run is not None:
            return run.status.has_ended
        stored = await self._requests.find(slot.run_id)
        if stored is None:
            return self._clock.now() - slot.taken_at >= UNUSED
        return stored.request.refusal is not None


def make_busy(conversation_id: str, agent_id: str) -> Refused:
    """The refusal of a run whose conversation has another one."""
    return Refused(
        "conversation_busy",
        f"conversation {conversation_id!r} has a run going on and agent {agent_id!r} rejects"
        " more; send again when it has ended",
    )
