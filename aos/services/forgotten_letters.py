"""Removes the dead letters of deleted conversations. Entry points: `ForgottenLetters.purge`,
`ForgottenLetters.is_forgotten`.

A dead letter belongs to a deleted conversation if the request row of its run is scrubbed. A message
without such a row (its request was never admitted) belongs to the conversation that it names, if
it was sent before the deletion and its sender owns the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aos.domain.conversation_ids import is_conversation_id
from aos.domain.dead_letters import ENTITIES, read_names
from aos.domain.envelope import REALM_QUEUE, REQUESTS_QUEUE
from aos.errors import TransientError
from aos.ports.bus import ReceivedMessage
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import DeadLetterQueues, DeadMessage, FailureStore
from aos.ports.requests import RequestStore, StoredRequest
from aos.ports.telemetry import Telemetry

MOST_SEARCHED = 1000
"""How many dead letters of an entity are searched. No others can be removed, either."""
PAGE = 100


class Senders(Protocol):
    """What is known of messages on `aos-requests`."""

    def find_run_id(self, message: ReceivedMessage) -> str | None:
        """Return the run that a message is about, or would start; None if it cannot be read."""
        ...

    def read_owner(self, message: ReceivedMessage) -> str:
        """Return the message's sender."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A conversation that was deleted, its owner (None: nobody knows), and when."""

    conversation_id: str
    owner: str | None
    deleted_at: datetime


class ForgottenLetters:
    """Main's use case: dead letters do not outlive the deletion of their conversation."""

    def __init__(
        self,
        *,
        queues: DeadLetterQueues,
        failures: FailureStore,
        requests: RequestStore,
        conversations: ConversationStore,
        senders: Senders,
        telemetry: Telemetry,
    ) -> None:
        self._queues = queues
        self._failures = failures
        self._requests = requests
        self._conversations = conversations
        self._senders = senders
        self._telemetry = telemetry

    async def purge(self, deletions: Sequence[Deletion]) -> bool:
        """Remove the conversations' dead letters among the first 1,000 of each entity.

        One pass serves all deletions, because opening a dead-letter queue takes a second. Return
        False if an entity could not be searched, or a dead letter not be removed.
        """
        if not deletions:
            return True
        by_name: dict[str, Deletion] = {}
        for deletion in sorted(deletions, key=lambda one: one.deleted_at):
            by_name[deletion.conversation_id] = deletion
        done = await asyncio.gather(*(self._purge_safely(entity, by_name) for entity in ENTITIES))
        return all(done)

    async def is_forgotten(self, dead: DeadMessage) -> bool:
        """Whether the message's conversation was deleted after the message was sent."""
        stored = await self._find_request(dead.message)
        if stored is not None:
            return stored.scrubbed
        named = _find_conversation_id(dead.message)
        if named is None or not is_conversation_id(named):
            return False
        head = (await self._conversations.load(named)).conversation
        if head is None or head.deleted_at is None:
            return False
        deletion = Deletion(conversation_id=named, owner=head.owner, deleted_at=head.deleted_at)
        return self._was_sent_before(dead, deletion)

    async def remove(self, dead: DeadMessage) -> bool:
        """Remove the dead letter and its row; return False if the broker did not find it."""
        message = dead.message
        if not await self._queues.remove(message.entity, message.sequence_number):
            return False
        await self._failures.drop(message.entity, message.sequence_number)
        self._telemetry.log(
            "dead_letter_forgotten",
            entity=message.entity,
            sequence_number=message.sequence_number,
        )
        return True

    async def _purge_safely(self, entity: str, deletions: Mapping[str, Deletion]) -> bool:
        try:
            return await self._purge(entity, deletions)
        except TransientError as error:
            self._telemetry.log(
                "dead_letters_not_purged",
                level="warning",
                entity=entity,
                reason=str(error),
            )
            return False

    async def _purge(self, entity: str, deletions: Mapping[str, Deletion]) -> bool:
        """Remove the conversations' dead letters of one entity."""
        start, searched, complete = 0, 0, True
        while searched < MOST_SEARCHED:
            found = await self._queues.peek(entity, start=start, limit=PAGE)
            if not found:
                break
            searched += len(found)
            start = found[-1].message.sequence_number + 1
            for dead in found:
                if await self._belongs(dead, deletions):
                    complete = await self.remove(dead) and complete
        return complete

    async def _belongs(self, dead: DeadMessage, deletions: Mapping[str, Deletion]) -> bool:
        named = _find_conversation_id(dead.message)
        if named is not None and named not in deletions:
            return False  # nearly all: storage is not asked
        stored = await self._find_request(dead.message)
        if stored is not None:
            return stored.scrubbed and stored.request.conversation_id in deletions
        return named is not None and self._was_sent_before(dead, deletions[named])

    def _was_sent_before(self, dead: DeadMessage, deletion: Deletion) -> bool:
        if dead.enqueued_at > deletion.deleted_at:
            return False
        if dead.message.entity != REQUESTS_QUEUE:
            return True
        return deletion.owner in (None, self._senders.read_owner(dead.message))

    async def _find_request(self, message: ReceivedMessage) -> StoredRequest | None:
        if message.entity == REQUESTS_QUEUE:
            run_id = self._senders.find_run_id(message)
        else:
            named = message.properties.get("run_id") or read_names(message.body)[0]
            run_id = named if isinstance(named, str) and is_conversation_id(named) else None
        return None if run_id is None else await self._requests.find(run_id)


def _find_conversation_id(message: ReceivedMessage) -> str | None:
    """Return the conversation that a message names; a large command names it by its session."""
    if message.entity == REALM_QUEUE and message.session_id:
        return message.session_id
    return read_names(message.body)[1]
