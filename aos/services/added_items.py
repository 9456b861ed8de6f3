"""Keeps what callers add to conversations without asking. Entry point: `ConversationItems`.

The items of a conversation are one blob, `added/<conversation_id>.json` in `aos-data`, which only
main reads and writes. A response takes them in three steps: it notes its run in the blob, the run
is admitted with them as its history, and they leave the blob. If main dies in between, the run's
request row says whether they were taken, so no item is in two runs or in none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.codec import decode, encode
from aos.domain.json_writer import write_json
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.added_items import AddedItems, Taken
from aos.domain.runs.run_options import MAX_HISTORY
from aos.errors import OutcomeUnknown, Refused, StaleWrite
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.cleaning import Due, DueStore
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from aos.ports.system import Clock

MAX_BYTES = 256 * 1024
"""All that waits at a conversation, as JSON."""
TAKING = timedelta(seconds=15)
"""Longer than an admission may take: an admission that began before has failed."""
TRIES = 4
NOT_STORED = ("etag",)


class ConversationItems:
    """Main's use case: keep items for the next response of a conversation."""

    def __init__(
        self,
        *,
        data: BlobStore,
        requests: RequestStore,
        conversations: ConversationStore,
        due: DueStore,
        clock: Clock,
    ) -> None:
        self._data = data
        self._requests = requests
        self._conversations = conversations
        self._due = due
        self._clock = clock

    async def find(self, conversation_id: str, *, owner: str) -> AddedItems | None:
        """Return what this owner added, without the items that a run has taken; None: nothing."""
        added = await self._find(conversation_id)
        return None if added is None or added.owner != owner else added

    async def _find(self, conversation_id: str) -> AddedItems | None:
        added = await self._read(conversation_id)
        if added is None or added.taken is None:
            return added
        stored = await self._requests.find(added.taken.run_id)
        return added if stored is None else added.drop_taken()

    async def change(
        self,
        conversation_id: str,
        *,
        owner: str,
        change: Callable[[AddedItems], AddedItems],
    ) -> AddedItems:
        """Write what `change` makes of what waits; return it. `owner` owns the conversation.

        What another owner left, to whom the id was given and who did not begin it, is replaced.
        Raises Refused `too_large`, and `conversation_busy` if others write at the same time.
        """
        for _ in range(TRIES):
            before = await self._find(conversation_id)
            now = self._clock.now()
            new = AddedItems(conversation_id=conversation_id, owner=owner, changed_at=now)
            if before is not None:
                new = before if before.owner == owner else replace(new, etag=before.etag)
            after = change(new)
            _check_size(after)
            try:
                return await self._write(replace(after, changed_at=now), begins=before is None)
            except StaleWrite:
                continue
        raise _make_busy(conversation_id)

    async def take(self, conversation_id: str, *, owner: str | None, run_id: str) -> AddedItems:
        """Reserve what waits for a run; `owner` None: of any owner. Without items there is nothing
        to do next.

        Else call `keep_rest` when the run is admitted, or `give_back` when it was refused. Raises
        Refused `conversation_busy` while another run takes them.
        """
        added, now = await self._find(conversation_id), self._clock.now()
        if added is None or not added.items or owner not in (None, added.owner):
            return AddedItems(conversation_id=conversation_id, owner=owner or "", changed_at=now)
        taken = added.taken
        if taken is not None and taken.run_id != run_id and now - taken.at < TAKING:
            raise _make_busy(conversation_id)
        count = len(added.items)
        try:
            return await self._write(
                replace(added, taken=Taken(run_id=run_id, count=count, at=now)), begins=False
            )
        except StaleWrite:
            raise _make_busy(conversation_id) from None

    async def keep_rest(self, added: AddedItems) -> None:
        """Remove the items that a run has taken. If another change came first, that one does."""
        rest = added.drop_taken()
        try:
            if rest.items or rest.metadata:
                await self._write(rest, begins=False)
            else:
                await self._data.delete(_name(added.conversation_id), if_match=added.etag)
        except StaleWrite:
            return

    async def give_back(self, added: AddedItems) -> None:
        """Let the items wait for the next response."""
        try:
            await self._write(replace(added, taken=None), begins=False)
        except StaleWrite:
            return

    async def drop(self, conversation_id: str) -> None:
        """Remove everything that waits at a conversation, and its metadata."""
        await self._data.delete(_name(conversation_id))

    async def expire(self, conversation_id: str) -> datetime | None:
        """Remove what no response took for 30 days; return when to look again.

        Metadata of a conversation that stands stays as long as the conversation.
        """
        added, now = await self._find(conversation_id), self._clock.now()
        if added is None:
            return None
        if added.changed_at + REQUEST_RETENTION > now:
            return added.changed_at + REQUEST_RETENTION
        head = (await self._conversations.load(conversation_id)).conversation
        with contextlib.suppress(StaleWrite):  # changed just now: that counts
            if not added.metadata or head is None or head.is_deleted:
                await self._data.delete(_name(conversation_id), if_match=added.etag)
                return None
            if added.items:
                await self._write(replace(added, items=(), taken=None), begins=False)
        return now + REQUEST_RETENTION

    async def _read(self, conversation_id: str) -> AddedItems | None:
        try:
            blob = await self._data.read(_name(conversation_id))
        except BlobMissing:
            return None
        return replace(decode(AddedItems, json.loads(blob.body)), etag=blob.etag)

    async def _write(self, added: AddedItems, *, begins: bool) -> AddedItems:
        """Write the blob in the place of the one that was read. Raises StaleWrite."""
        if begins:
            due_at, about = added.changed_at + REQUEST_RETENTION, added.changed_at
            due = Due(due_at=due_at, kind="items", name=added.conversation_id, about=about)
            await self._due.put(due)
        name, body = _name(added.conversation_id), _write_body(added)
        try:
            etag = await self._data.write(name, body, if_match=added.etag, create_only=begins)
        except OutcomeUnknown:
            found = await self._read(added.conversation_id)
            if found is None or _write_body(found) != body:
                raise
            return found
        return replace(added, etag=etag)


def _check_size(added: AddedItems) -> None:
    """Refuse what is too large. The note of a run that takes them may come on top: they were
    accepted without it."""
    body = _write_body(replace(added, taken=None))
    if len(body) > MAX_BYTES or len(added.items) > MAX_HISTORY:
        raise Refused(
            "too_large",
            f"at most {MAX_HISTORY} items and {MAX_BYTES // 1024} KiB wait at a conversation;"
            " ask for a response, which takes them, or send them as its input",
            field="items",
        )


def _write_body(added: AddedItems) -> bytes:
    return write_json(encode(added, without=NOT_STORED), ensure_ascii=False).encode()


def _name(conversation_id: str) -> str:
    return f"added/{conversation_id}.json"


def _make_busy(conversation_id: str) -> Refused:
    return Refused(
        "conversation_busy",
        f"the items that wait at conversation {conversation_id!r} are being changed or taken; send"
        " the request again",
    )
