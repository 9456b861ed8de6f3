"""Lists, replays and purges dead letters over HTTP. Entry point: `DeadLetterRoutes`."""

from __future__ import annotations

import re

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import NO_CONTENT, Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_media_type
from aos.errors import Refused
from aos.services.dead_letters import DeadLetters

MAX_BODY_BYTES = 16 * 1024


class DeadLetterRoutes:
    """The routes of dead letters."""

    def __init__(self, responder: HttpResponder, *, dead_letters: DeadLetters) -> None:
        self._responder = responder
        self._dead_letters = dead_letters

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/dead-letters"""
        return await self._responder.answer("list_dead_letters", req, self._list)

    async def replay(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/dead-letters/replay"""
        return await self._responder.answer("replay_dead_letter", req, self._replay)

    async def purge(self, req: func.HttpRequest) -> func.HttpResponse:
        """DELETE /api/dead-letters"""
        return await self._responder.answer("purge_dead_letter", req, self._purge)

    async def _list(self, call: Call) -> Answer:
        query = Query(call.request)
        page = await self._dead_letters.list_page(
            entity=query.text("entity"), after=query.after(), limit=query.limit()
        )
        items = [encode(item) for item in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})

    async def _replay(self, call: Call) -> Answer:
        from aos.entrypoints.requests import DeadLetterBody, take_object, validate

        read_media_type(call, text_too=False)
        raw = await take_object(call.request.get_body(), max_bytes=MAX_BODY_BYTES)
        body = validate(DeadLetterBody, raw)
        replay = await self._dead_letters.replay(body.entity, body.sequence_number)
        return Answer(body=encode(replay))

    async def _purge(self, call: Call) -> Answer:
        query = Query(call.request)
        entity, number = query.text("entity"), query.text("sequence_number")
        if entity is None or number is None:
            raise Refused(
                "invalid_request",
                "entity or sequence_number is missing; write both, as GET /api/dead-letters shows"
                " them",
            )
        if not re.fullmatch(r"[0-9]{1,19}", number, re.ASCII):
            raise Refused(
                "invalid_request",
                f"sequence_number is {number[:40]!r}; write a whole number",
                field="sequence_number",
            )
        await self._dead_letters.purge(entity, int(number))
        return NO_CONTENT
