"""Serves a run's events over HTTP, as a stream or as JSON. Entry point: `RunEventRoutes`."""

from __future__ import annotations

import azure.functions as func

from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.event_streams import (
    describe_event,
    read_after,
    stream_events,
    wants_stream,
)
from aos.entrypoints.http.queries import Query
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_run_id

EVENTS_A_PAGE = 100
MOST_FIRST = 1000
"""Events that are read before a stream begins."""


class RunEventRoutes:
    """The route of a run's events. `streams`: whether this app can send an answer in pieces."""

    def __init__(self, responder: HttpResponder, *, callers: CallerRuns, streams: bool) -> None:
        self._responder = responder
        self._callers = callers
        self._streams = streams

    async def get(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/runs/{run_id}/events"""
        return await self._responder.answer("list_run_events", req, self._get)

    async def _get(self, call: Call) -> Answer:
        request = await self._callers.find_request(read_run_id(call), caller=call.known_caller)
        after = read_after(call)
        if not wants_stream(call):
            return await self._answer_page(call, request, after)
        first = await self._callers.list_events(request, after=after, limit=MOST_FIRST)
        if not first.items and first.next is None:
            return Answer(status=204, body=None, raw=b"")
        news = self._callers.follow_together(request, after=after, first=first)
        at_once = bool(first.items)
        return await stream_events(news, request, streams=self._streams, at_once=at_once)

    async def _answer_page(self, call: Call, request: AdmittedRequest, after: EventId) -> Answer:
        limit = Query(call.request).limit(default=EVENTS_A_PAGE)
        page = await self._callers.list_events(request, after=after, limit=limit)
        items = [describe_event(request, event) for event in page.items]
        path = f"/api/runs/{request.run_id}/events"
        return Answer(
            body={
                "items": items,
                "next": None if page.next is None else f"{path}?after={page.next}&limit={limit}",
            }
        )
