"""Asks ended runs again over HTTP. Entry point: `ReplayRoutes`."""

from __future__ import annotations

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.queries import DEFAULT_LIMIT, Query, make_next, read_since
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import (
    answer_run,
    read_idempotency_key,
    read_media_type,
    read_run_id,
)
from aos.ports.system import Clock
from aos.services.admission import ReplayFilter, Replays

MAX_FILTER_BYTES = 16 * 1024


class ReplayRoutes:
    """The routes that replay runs."""

    def __init__(self, responder: HttpResponder, *, replays: Replays, clock: Clock) -> None:
        self._responder = responder
        self._replays = replays
        self._clock = clock

    async def one(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/runs/{run_id}/replay"""
        return await self._responder.answer("replay_run", req, self._one)

    async def many(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/runs/replay"""
        return await self._responder.answer("replay_runs", req, self._many)

    async def _one(self, call: Call) -> Answer:
        admission = await self._replays.replay(
            read_run_id(call),
            owner=call.owner,
            key=read_idempotency_key(call),
            traceparent=call.traceparent,
        )
        return answer_run(admission.run)

    async def _many(self, call: Call) -> Answer:
        from aos.entrypoints.requests import ReplayBody, take_object, validate

        read_media_type(call, text_too=False)
        raw = await take_object(call.request.get_body(), max_bytes=MAX_FILTER_BYTES)
        body = validate(ReplayBody, raw)
        page = await self._replays.replay_all(
            ReplayFilter(
                error_code=body.error_code,
                since=read_since(body.since, now=self._clock.now()),
                agent_id=body.agent_id,
            ),
            after=Query(call.request).after(),
            limit=body.limit or DEFAULT_LIMIT,
            dry_run=body.dry_run,
        )
        items = [encode(item) for item in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})
