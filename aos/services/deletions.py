"""Starts the deletion of conversations, for callers and by age. Entry point:
`ConversationDeletions.delete`.

Main only writes what is to be done and tells realm, which does it (docs/ARCHITECTURE.md,
"Deletion"). The row is written first: `aos.services.cleaner` repeats a command that was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from aos.domain.caller import Caller
from aos.domain.envelope import DeleteConversation, to_realm
from aos.domain.runs.conversation import Conversation
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.cleaning import Due, DueStore
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.runs import RunReader

FIRST_CHECK = timedelta(minutes=1)


class ConversationDeletions:
    """Main's use case: have a conversation deleted."""

    def __init__(
        self,
        *,
        runs: RunReader,
        due: DueStore,
        drop_items: Callable[[str], Awaitable[None]],
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """`drop_items` removes what waits at a conversation."""
        self._runs = runs
        self._due = due
        self._drop_items = drop_items
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry

    async def delete(self, conversation_id: str, caller: Caller) -> Conversation:
        """Delete a conversation for its owner or an admin; return it as it was.

        Raises Refused `conversation_not_found`, and TransientError when storage is away. After the
        return it will be deleted, whatever fails next.
        """
        head = await self._runs.find_conversation(conversation_id, owner=caller.visible_owner)
        unseen = await self._runs.find_unseen(conversation_id)
        await self.start(
            conversation_id,
            deleted_at=max([self._clock.now(), *_list_admissions(head)]),
            first_run_id=None if unseen is None else unseen.run_id,
        )
        return head

    async def start(
        self,
        conversation_id: str,
        *,
        deleted_at: datetime,
        unused: bool = False,
        first_run_id: str | None = None,
    ) -> None:
        """Note a deletion, and tell realm. `first_run_id` is the run that begins the conversation,
        if realm has not seen it."""
        due = Due(
            due_at=self._clock.now() + FIRST_CHECK,
            kind="deletion",
            name=conversation_id,
            about=deleted_at,
            unused=unused,
            first_run_id=first_run_id,
        )
        await self._due.put(due)
        if not unused:  # a deletion by age may find that the conversation was used
            await self._drop_items(conversation_id)
        await self.tell_realm(due)

    async def tell_realm(self, due: Due) -> bool:
        """Send the command of a deletion; if the bus is away, return False: the next check repeats
        it."""
        command = DeleteConversation(
            conversation_id=due.name,
            deleted_at=due.about,
            unused=due.unused,
            first_run_id=due.first_run_id,
            again=due.again,
        )
        try:
            await self._bus.send(to_realm(command))
        except TransientError as error:
            self._telemetry.log(
                "deletion_not_sent",
                level="warning",
                conversation_id=due.name,
                reason=str(error),
            )
            return False
        return True


def _list_admissions(head: Conversation) -> list[datetime]:
    """When what the caller has seen was admitted: the clock of another main may be ahead of ours,
    and a deletion leaves what was admitted after it."""
    began = [] if head.began_at is None else [head.began_at]
    return [*began, *(request.admitted_at for request in head.queued)]
