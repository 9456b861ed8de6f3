"""Serves the cards of agents and of MCP servers over HTTP. Entry point: `CardRoutes`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from typing import Any

import azure.functions as func

from aos.domain.cards.identity import SECRET_FIELDS, CardKind, is_card_id
from aos.domain.codec import encode
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import NO_CONTENT, Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_media_type
from aos.errors import Refused
from aos.services.catalog.editor import CardEditor, PutResult
from aos.services.catalog.publisher import PublishOutcome

MAX_ROLLBACK_BYTES = 16 * 1024
MASK = "***"


class CardRoutes:
    """The routes of one kind of card."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        kind: CardKind,
        editor: CardEditor,
        published: Callable[[PublishOutcome], Awaitable[None]],
    ) -> None:
        self._responder = responder
        self._kind = kind
        self._editor = editor
        self._published = published
        self._one = "agent" if kind is CardKind.AGENT else "mcp_server"

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/agents, /api/mcp-servers"""
        return await self._responder.answer(f"list_{self._one}s", req, self._list)

    async def get(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET …/{id}"""
        return await self._responder.answer(f"get_{self._one}", req, self._get)

    async def put(self, req: func.HttpRequest) -> func.HttpResponse:
        """PUT …/{id}"""
        return await self._responder.answer(f"put_{self._one}", req, self._put)

    async def delete(self, req: func.HttpRequest) -> func.HttpResponse:
        """DELETE …/{id}"""
        return await self._responder.answer(f"delete_{self._one}", req, self._delete)

    async def versions(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET …/{id}/versions"""
        return await self._responder.answer(f"list_{self._one}_versions", req, self._list_versions)

    async def rollback(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST …/{id}/rollback"""
        return await self._responder.answer(f"rollback_{self._one}", req, self._rollback)

    async def _list(self, call: Call) -> Answer:
        query = Query(call.request)
        limit, after = query.limit(), query.after()
        cards = await self._editor.list(self._kind)
        start = 0 if after is None else bisect_right([card.card_id for card in cards], after)
        shown = cards[start : start + limit]
        more = start + limit < len(cards)
        return Answer(
            body={
                "items": [card.make_answer() for card in shown],
                "next": make_next(call, shown[-1].card_id if more else None),
            }
        )

    async def _get(self, call: Call) -> Answer:
        view = await self._editor.get(self._kind, self._read_card_id(call))
        body = view.make_answer()
        if not call.known_caller.is_admin:
            body |= {name: _mask(body[name]) for name in ("card", "serving")}
        return Answer(body=body, headers={"ETag": view.etag})

    async def _put(self, call: Call) -> Answer:
        read_media_type(call, text_too=False)
        dry_run = Query(call.request).flag("dry_run")
        none_match = call.header("if-none-match")
        if none_match not in (None, "*"):
            raise Refused("invalid_request", "If-None-Match may only be *; use If-Match for ETags")
        result = await self._editor.put(
            self._kind,
            self._read_card_id(call),
            call.request.get_body(),
            if_match=_read_if_match(call),
            create_only=none_match == "*",
            dry_run=dry_run,
        )
        return await self._answer_change(result)

    async def _delete(self, call: Call) -> Answer:
        outcome = await self._editor.delete(
            self._kind, self._read_card_id(call), if_match=_read_if_match(call)
        )
        await self._published(outcome)
        return NO_CONTENT

    async def _list_versions(self, call: Call) -> Answer:
        card_id, digest = self._read_card_id(call), Query(call.request).text("digest")
        if digest is not None:
            version, card = await self._editor.get_version(self._kind, card_id, digest)
            return Answer(body={"items": [{**encode(version), "card": card}], "next": None})
        versions = await self._editor.list_versions(self._kind, card_id)
        return Answer(body={"items": [encode(version) for version in versions], "next": None})

    async def _rollback(self, call: Call) -> Answer:
        from aos.entrypoints.requests import RollbackBody, take_object, validate

        read_media_type(call, text_too=False)
        raw = await take_object(call.request.get_body(), max_bytes=MAX_ROLLBACK_BYTES)
        result = await self._editor.rollback(
            self._kind,
            self._read_card_id(call),
            validate(RollbackBody, raw).digest,
            if_match=_read_if_match(call),
        )
        return await self._answer_change(result)

    async def _answer_change(self, result: PutResult) -> Answer:
        if result.outcome is not None:
            await self._published(result.outcome)
        headers = {} if result.etag is None else {"ETag": result.etag}
        return Answer(body=result.make_answer(), headers=headers)

    def _read_card_id(self, call: Call) -> str:
        """Return the card's id from the path. An id that no card can have is answered as not
        found."""
        card_id = call.part(self._kind.id_field)
        if is_card_id(card_id):
            return card_id
        if self._kind is CardKind.AGENT:
            raise Refused("agent_not_found", f"there is no agent {card_id[:80]!r}")
        raise Refused("server_not_found", f"there is no MCP server {card_id[:80]!r}")


def _read_if_match(call: Call) -> str | None:
    """Return the ETag in If-Match, in the form in which ETags are shown."""
    value = call.header("if-match")
    if value is None or value.strip() == "*":
        return value and "*"
    return f'"{value.strip().strip(chr(34))}"'


def _mask(card: Any) -> Any:
    """Return the card with the values of `env` and `headers` masked, because they may be secret."""
    if not isinstance(card, dict):
        return card
    return {
        name: {key: MASK for key in value}
        if name in SECRET_FIELDS and isinstance(value, dict)
        else value
        for name, value in card.items()
    }
