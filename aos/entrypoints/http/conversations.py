"""Serves conversations over HTTP. Entry point: `ConversationRoutes`."""

from __future__ import annotations

from dataclasses import replace

import azure.functions as func

from aos.domain.codec import encode
from aos.domain.conversation_ids import is_conversation_id
from aos.entrypoints.http.answers import NOT_OF_A_MESSAGE, ConversationAnswer
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.errors import Refused
from aos.services.deletions import ConversationDeletions
from aos.services.runs import RunReader

MESSAGES_A_PAGE = 100


class ConversationRoutes:
    """The routes of conversations."""

    def __init__(
        self, responder: HttpResponder, *, runs: RunReader, deletions: ConversationDeletions
    ) -> None:
        self._responder = responder
        self._runs = runs
        self._deletions = deletions

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/conversations"""
        return await self._responder.answer("list_conversations", req, self._list)

    async def get(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/conversations/{conversation_id}"""
        return await self._responder.answer("get_conversation", req, self._get)

    async def delete(self, req: func.HttpRequest) -> func.HttpResponse:
        """DELETE /api/conversations/{conversation_id}"""
        return await self._responder.answer("delete_conversation", req, self._delete)

    async def messages(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/conversations/{conversation_id}/messages"""
        return await self._responder.answer("list_messages", req, self._list_messages)

    async def _list(self, call: Call) -> Answer:
        query = Query(call.request)
        page = await self._runs.list_conversations(
            owner=call.owner, after=query.after(), limit=query.limit()
        )
        items = [encode(ConversationAnswer.of(head)) for head in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})

    async def _get(self, call: Call) -> Answer:
        head = await self._runs.find_conversation(_read_conversation_id(call), owner=call.owner)
        queued = await self._runs.list_queued(head)
        return Answer(body=encode(replace(ConversationAnswer.of(head), queued_run_ids=queued)))

    async def _delete(self, call: Call) -> Answer:
        conversation_id = _read_conversation_id(call)
        head = await self._deletions.delete(conversation_id, call.known_caller)
        return Answer(status=202, body=encode(ConversationAnswer.of(head)))

    async def _list_messages(self, call: Call) -> Answer:
        query = Query(call.request)
        start, limit = int(query.after() or 0), query.limit(default=MESSAGES_A_PAGE)
        page = await self._runs.list_messages(
            _read_conversation_id(call), owner=call.owner, start=start, limit=limit
        )
        items = [encode(message, without=NOT_OF_A_MESSAGE) for message in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})


def _read_conversation_id(call: Call) -> str:
    conversation_id = call.part("conversation_id")
    if not is_conversation_id(conversation_id):
        raise Refused(
            "conversation_not_found",
            f"there is no conversation {conversation_id[:80]!r} of yours; see"
            " GET /api/conversations",
        )
    return conversation_id
