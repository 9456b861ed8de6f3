"""Serves the agents as the models of OpenAI's API. Entry point: `Models`."""

from __future__ import annotations

from typing import Any

from aos.domain.cards.catalog import CatalogEntry
from aos.domain.cards.identity import CardKind
from aos.entrypoints.http.responder import Answer, Call
from aos.errors import Refused
from aos.services.catalog.reader import CatalogReader


class Models:
    """The operations of Models."""

    def __init__(self, catalog: CatalogReader) -> None:
        self._catalog = catalog

    async def list(self, call: Call) -> Answer:
        """GET /models"""
        index = await self._catalog.read()
        data = [
            _describe(agent_id, entry)
            for agent_id, entry in index.list_kind(CardKind.AGENT)
            if entry.can_run
        ]
        return Answer(body={"object": "list", "data": data})

    async def get(self, call: Call, model: str) -> Answer:
        """GET /models/{model}"""
        index = await self._catalog.read()
        for agent_id, entry in index.list_kind(CardKind.AGENT):
            if agent_id == model and entry.can_run:
                return Answer(body=_describe(agent_id, entry))
        raise Refused(
            "agent_not_found",
            f"there is no agent {model[:80]!r}; the models of this API are the agents",
            field="model",
        )


def _describe(agent_id: str, entry: CatalogEntry) -> dict[str, Any]:
    began = entry.activated_at
    created = 0 if began is None else int(began.timestamp())
    return {"id": agent_id, "object": "model", "created": created, "owned_by": "aos"}
