"""Lists tools and takes decisions about their calls over HTTP. Entry point: `ToolRoutes`."""

from __future__ import annotations

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.answers import NOT_OF_A_DECISION, NOT_OF_AN_APPROVAL, ServerAnswer
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_media_type, read_run_id
from aos.entrypoints.ids import take_tool_call_id
from aos.ports.tools import ToolCatalog
from aos.services.approvals import Approvals


class ToolRoutes:
    """The routes of tools and approvals."""

    def __init__(
        self,
        responder: HttpResponder,
        *,
        catalog: ToolCatalog,
        approvals: Approvals,
        max_body_bytes: int,
    ) -> None:
        self._responder = responder
        self._catalog = catalog
        self._approvals = approvals
        self._max_body_bytes = max_body_bytes

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/tools"""
        return await self._responder.answer("list_tools", req, self._list)

    async def approvals(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/approvals"""
        return await self._responder.answer("list_approvals", req, self._list_waiting)

    async def decide(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/runs/{run_id}/approvals/{tool_call_id}"""
        return await self._responder.answer("decide_approval", req, self._decide)

    async def _list(self, call: Call) -> Answer:
        query = Query(call.request)
        after, limit = query.after() or "", query.limit()
        rows = [row for row in await self._catalog.list_servers() if row.server_id > after]
        is_admin = call.known_caller.is_admin
        items = [encode(ServerAnswer.of(row, is_admin=is_admin)) for row in rows[:limit]]
        last = rows[limit - 1].server_id if len(rows) > limit else None
        return Answer(body={"items": items, "next": make_next(call, last)})

    async def _list_waiting(self, call: Call) -> Answer:
        query = Query(call.request)
        page = await self._approvals.list_waiting(
            call.known_caller, after=query.after(), limit=query.limit()
        )
        items = [encode(item, without=NOT_OF_AN_APPROVAL) for item in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})

    async def _decide(self, call: Call) -> Answer:
        from aos.entrypoints.requests import DecisionBody, take_object, validate

        read_media_type(call, text_too=False)
        run_id, tool_call_id = read_run_id(call), take_tool_call_id(call.part("tool_call_id"))
        raw = await take_object(call.request.get_body(), max_bytes=self._max_body_bytes)
        body = validate(DecisionBody, raw)
        decision = await self._approvals.decide(
            run_id, tool_call_id, body.decision, body.reason or "", caller=call.known_caller
        )
        names = {"run_id": run_id, "tool_call_id": tool_call_id}
        return Answer(body={**names, **encode(decision, without=NOT_OF_A_DECISION)})
