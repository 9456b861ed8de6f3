"""What can a caller read back: runs, conversations, and a conversation's messages?"""

from __future__ import annotations

import asyncio
from datetime import datetime

from aos.domain.json_writer import write_json
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import Run, RunStatus
from aos.errors import Refused
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun, RunIndex
from aos.ports.paging import Page
from aos.ports.requests import RequestStore

PAGES_SEARCHED = 10
"""A list filtered by status looks through at most so many index pages for one answer."""

PAGE_BYTES = 4 * 1024 * 1024
"""A page of messages ends before it is larger, unless its first message alone is."""


class Reading:
    """Main's use case: lists and histories. `owner` None means an admin, who sees all."""

    def __init__(
        self, *, requests: RequestStore, conversations: ConversationStore, index: RunIndex
    ) -> None:
        self._requests = requests
        self._conversations = conversations
        self._index = index

    async def runs(
        self,
        *,
        owner: str | None,
        agent_id: str | None = None,
        status: RunStatus | None = None,
        since: datetime | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Run]:
        """Runs, newest first, as they stand now. A page may be shorter than `limit`."""
        found: list[Run] = []
        for _ in range(PAGES_SEARCHED):
            page = await self._index.runs(
                agent_id=agent_id, owner=owner, since=since, after=after, limit=limit - len(found)
            )
            runs = await asyncio.gather(*(self._run(item) for item in page.items))
            found += [run for run in runs if run and (status is None or run.status == status)]
            after = page.next
            if after is None or len(found) >= limit:
                break
        return Page(items=found, next=after)

    async def conversations(
        self, *, owner: str | None, after: str | None = None, limit: int = 20
    ) -> Page[Conversation]:
        """Conversations, newest first. A page may be shorter than `limit`.

        Of two owners who raced for one id the lists may name both; the head says whose it is.
        """
        page = await self._index.conversations(owner=owner, after=after, limit=limit)
        loaded = await asyncio.gather(
            *(self._conversations.load(item.conversation_id) for item in page.items)
        )
        heads = [item.conversation for item in loaded if item.conversation is not None]
        mine = [head for head in heads if owner in (None, head.owner)]
        return Page(items=mine, next=page.next)

    async def conversation(self, conversation_id: str, *, owner: str | None) -> Conversation:
        """One conversation; raises Refused `conversation_not_found`."""
        head = (await self._conversations.load(conversation_id)).conversation
        if head is None or owner not in (None, head.owner):
            raise Refused(
                "conversation_not_found",
                f"there is no conversation {conversation_id!r} of yours;"
                " see GET /api/conversations",
            )
        return head

    async def messages(
        self, conversation_id: str, *, owner: str | None, start: int = 0, limit: int = 100
    ) -> Page[Message]:
        """A conversation's messages from sequence `start` on, oldest first."""
        head = await self.conversation(conversation_id, owner=owner)
        end = min(start + limit, head.next_sequence)
        if end <= start:
            return Page(items=[])
        read = await self._conversations.history(conversation_id, before=end, limit=end - start)
        items = _within(read, PAGE_BYTES)
        end = start + len(items)
        return Page(items=items, next=str(end) if end < head.next_sequence else None)

    async def _run(self, item: IndexedRun) -> Run | None:
        """The run's row, or while realm has not seen it the run as admitted."""
        run = await self._conversations.find_run(item.conversation_id, item.run_id)
        if run is not None:
            return run
        stored = await self._requests.find(item.run_id)
        return None if stored is None else Run.queued(stored.request)


def _within(messages: list[Message], limit: int) -> list[Message]:
    """The first messages that are together no larger, and at least one."""
    size = 0
    for place, message in enumerate(messages):
        size += len(message.content) + sum(len(write_json(part)) for part in message.parts)
        if place and size > limit:
            return messages[:place]
    return messages
