"""Serves the Conversations API. Entry point: `Conversations`.

A conversation of AOS begins with its first run. The id that the API gives out before that holds
when it was made and a mark of its owner, so nothing is stored for it. Items that are added without
asking, and metadata, are kept beside the conversation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aos.domain.caller import Caller
from aos.domain.runs.added_items import AddedItem
from aos.domain.runs.conversation import Conversation, Message
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.errors import refuse
from aos.entrypoints.http.openai.inputs import read_items
from aos.entrypoints.http.openai.items import (
    Item,
    list_items,
    make_list,
    make_message_item,
    read_item_sequence,
    read_page,
    wrap,
)
from aos.entrypoints.http.openai.names import name_conversation, read_conversation_id
from aos.entrypoints.http.openai.parameters import Parameters
from aos.entrypoints.http.responder import Answer, Call
from aos.errors import Refused
from aos.ports.system import Clock, Ids
from aos.services.added_items import ConversationItems

MESSAGES_A_READ = 100
MOST_OF_A_TURN = 65
"""Messages that belong together: one that asks for tools, and the results."""
_MADE = re.compile(r"([0-9a-f]{8})([0-9a-f]{32})([0-9a-f]{16})", re.ASCII)


class Conversations:
    """The operations of Conversations."""

    def __init__(
        self, callers: CallerRuns, *, items: ConversationItems, clock: Clock, ids: Ids
    ) -> None:
        self._callers = callers
        self._items = items
        self._clock = clock
        self._ids = ids

    async def create(self, call: Call, body: Mapping[str, Any]) -> Answer:
        """POST /conversations"""
        for name in body:
            if name not in ("items", "metadata"):
                raise refuse(name[:80], "is not a known parameter", code="unknown_parameter")
        added = self._read_items(body["items"]) if body.get("items") else []
        metadata = Parameters(body).metadata()
        caller, now = call.known_caller, self._clock.now()
        made = f"{int(now.timestamp()):08x}{self._ids.new_id().replace('-', '')}"
        conversation_id = f"{made}{_mark(made, caller)}"
        if added or metadata:
            await self._items.change(
                conversation_id,
                owner=caller.owner,
                change=lambda was: replace(was, items=tuple(added), metadata=metadata),
            )
        return Answer(body=_describe(conversation_id, now, metadata))

    async def get(self, call: Call, name: str) -> Answer:
        """GET /conversations/{conversation_id}"""
        conversation_id = read_conversation_id(name)
        caller = call.known_caller
        head = await self._find(conversation_id, caller)
        waiting = await self._items.find(conversation_id, owner=_read_owner(head, caller))
        metadata = {} if waiting is None else waiting.metadata
        return Answer(body=_describe(conversation_id, _read_created(head), metadata))

    async def update(self, call: Call, name: str, body: Mapping[str, Any]) -> Answer:
        """POST /conversations/{conversation_id}"""
        conversation_id, caller = read_conversation_id(name), call.known_caller
        metadata = Parameters(body).metadata()
        head = await self._find(conversation_id, caller)
        await self._items.change(
            conversation_id,
            owner=_read_owner(head, caller),
            change=lambda was: replace(was, metadata=metadata),
        )
        return Answer(body=_describe(conversation_id, _read_created(head), metadata))

    async def delete(self, call: Call, name: str) -> Answer:
        """DELETE /conversations/{conversation_id}"""
        conversation_id, caller = read_conversation_id(name), call.known_caller
        head = await self._find(conversation_id, caller)
        if isinstance(head, Conversation):
            await self._callers.delete_conversation(conversation_id, caller=caller)
        elif await self._items.find(conversation_id, owner=caller.owner) is not None:
            await self._items.drop(conversation_id)
        return Answer(body={"id": name, "object": "conversation.deleted", "deleted": True})

    async def list_items(self, call: Call, name: str) -> Answer:
        """GET /conversations/{conversation_id}/items"""
        limit, after, order = read_page(call.request.params)
        conversation_id, caller = read_conversation_id(name), call.known_caller
        head = await self._find(conversation_id, caller)
        waiting = await self._list_waiting(conversation_id, _read_owner(head, caller))
        if isinstance(head, datetime):
            return Answer(body=make_list(waiting, call.request.params))
        end, found = head.next_sequence, list[Item]()
        begin: int | None = None
        if after in [item["id"] for item in waiting]:
            found = _drop_until(waiting if order == "asc" else waiting[::-1], after)
            after, begin = None, end
        elif after is not None:
            begin = await self._find_place(head, after)
        elif order == "desc":
            found = waiting[::-1]
        place = (0 if order == "asc" else end) if begin is None else begin
        while len(found) <= limit and (place < end if order == "asc" else place >= 0):
            if order == "asc":
                read = await self._read(head, place, MESSAGES_A_READ)
                found += list_items(read)
                place = read[-1].sequence + 1 if read else end
            else:
                start = max(0, place - MESSAGES_A_READ + 1)
                read = await self._read(head, start, place - start + 1)
                found += reversed(list_items(read))
                place = start - 1
            found = _drop_until(found, after)
        if order == "asc" and begin != end:
            found += waiting
        return Answer(body=wrap(found[:limit], has_more=len(found) > limit))

    async def _find_place(self, head: Conversation, item_id: str) -> int:
        """The sequence of the message of an item. Raises Refused."""
        sequence = read_item_sequence(item_id)
        if sequence is not None and sequence < head.next_sequence:
            items = list_items(await self._read(head, sequence, 1))
            if any(item["id"] == item_id for item in items):
                return sequence
        raise refuse("after", f"is {item_id[:80]!r}, which is not in the list")

    async def get_item(self, call: Call, name: str, item_id: str) -> Answer:
        """GET /conversations/{conversation_id}/items/{item_id}"""
        conversation_id, caller = read_conversation_id(name), call.known_caller
        sequence = read_item_sequence(item_id)
        head = await self._find(conversation_id, caller)
        owner = _read_owner(head, caller)
        waiting = [] if sequence is not None else await self._list_waiting(conversation_id, owner)
        for item in waiting:
            if item["id"] == item_id:
                return Answer(body=item)
        if sequence is not None and isinstance(head, Conversation):
            for item in list_items(await self._read(head, sequence, 1)):
                if item["id"] == item_id:
                    return Answer(body=item)
        raise Refused("not_found", f"there is no item {item_id[:80]!r} in {name!r}")

    async def add_items(self, call: Call, name: str, body: Mapping[str, Any]) -> Answer:
        """POST /conversations/{conversation_id}/items"""
        for given in body:
            if given != "items":
                raise refuse(given[:80], "is not a known parameter", code="unknown_parameter")
        conversation_id, caller = read_conversation_id(name), call.known_caller
        added = self._read_items(body.get("items"))
        head = await self._find(conversation_id, caller)
        await self._items.change(
            conversation_id,
            owner=_read_owner(head, caller),
            change=lambda was: replace(was, items=(*was.items, *added)),
        )
        return Answer(body=wrap([_make_item(item) for item in added], has_more=False))

    async def delete_item(self, call: Call, name: str, item_id: str) -> Answer:
        """DELETE /conversations/{conversation_id}/items/{item_id}"""
        conversation_id, caller = read_conversation_id(name), call.known_caller
        head = await self._find(conversation_id, caller)
        waiting = await self._list_waiting(conversation_id, _read_owner(head, caller))
        if item_id not in [item["id"] for item in waiting]:
            raise refuse(
                "item_id",
                "is not an item that waits for a response: AOS deletes no other items but with"
                " their whole conversation",
                code="unsupported_operation",
            )
        kept = await self._items.change(
            conversation_id,
            owner=_read_owner(head, caller),
            change=lambda was: was.leave_out(item_id),
        )
        return Answer(body=_describe(conversation_id, _read_created(head), kept.metadata))

    def _read_items(self, value: Any) -> list[AddedItem]:
        return [
            AddedItem(
                item_id=f"msg_{self._ids.new_id().replace('-', '')}",
                role=role,
                content=content.text,
                parts=content.parts,
            )
            for role, content in read_items(value, read_content=self._callers.read_content)
        ]

    async def _list_waiting(self, conversation_id: str, owner: str) -> list[Item]:
        """The owner's items that no response has taken, oldest first."""
        waiting = await self._items.find(conversation_id, owner=owner)
        return [] if waiting is None else [_make_item(item) for item in waiting.items]

    async def _find(self, conversation_id: str, caller: Caller) -> Conversation | datetime:
        """The conversation; where it has not begun, the time at which its id was made."""
        try:
            return await self._callers.find_conversation(conversation_id, caller=caller)
        except Refused as error:
            made = _read_made(conversation_id, caller)
            if error.code != "conversation_not_found" or made is None:
                raise
            return made

    async def _read(self, head: Conversation, start: int, limit: int) -> list[Message]:
        """The messages from `start` on, at least `limit`, with the results of the last call."""
        wanted = min(limit + MOST_OF_A_TURN, head.next_sequence - start)
        found: list[Message] = []
        while len(found) < wanted:
            page = await self._callers.read_messages(
                head, start=start + len(found), limit=wanted - len(found)
            )
            found += page.items
            if not page.items:
                break
        for place in range(limit, len(found)):
            if found[place].role != "tool":
                return found[:place]
        return found


def _drop_until(items: list[Item], after: str | None) -> list[Item]:
    """The items behind the one at which the page before ended."""
    places = [place for place, item in enumerate(items) if item["id"] == after]
    return items[places[0] + 1 :] if places else items


def _make_item(item: AddedItem) -> Item:
    return make_message_item(item.item_id, item.role, item.content, item.parts)


def _read_created(head: Conversation | datetime) -> datetime:
    return head if isinstance(head, datetime) else head.created_at


def _read_owner(head: Conversation | datetime, caller: Caller) -> str:
    return caller.owner if isinstance(head, datetime) else head.owner


def _describe(
    conversation_id: str, created_at: datetime, metadata: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "id": name_conversation(conversation_id),
        "object": "conversation",
        "created_at": int(created_at.timestamp()),
        "metadata": dict(metadata),
    }


def _mark(made: str, caller: Caller) -> str:
    return hashlib.sha256(f"{caller.owner}\n{made}".encode()).hexdigest()[:16]


def _read_made(conversation_id: str, caller: Caller) -> datetime | None:
    """When the id was given to this caller; None if it was not."""
    found = _MADE.fullmatch(conversation_id)
    if found is None or _mark(found[1] + found[2], caller) != found[3]:
        return None
    return datetime.fromtimestamp(int(found[1], 16), UTC)
