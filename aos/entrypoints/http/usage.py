"""Shows how much was used over HTTP. Entry point: `UsageRoutes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, cast, get_args

import azure.functions as func

from aos.domain.codec import encode
from aos.domain.usage import GroupBy, SummedUsage, UsageSum
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.errors import Refused
from aos.services.usage import Period, UsageReports

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAnswer:
    """A page of usage by agent, owner, day or model, with the total of all pages."""

    first_day: Annotated[str, ("description", "the first day, in UTC")]
    last_day: Annotated[str, ("description", "the last day, in UTC; it is included")]
    by: GroupBy
    currency: str | None
    unpriced_models: tuple[str, ...]
    total: UsageSum
    items: tuple[UsageSum, ...]
    next: str | None


class UsageRoutes:
    """The route of usage."""

    def __init__(self, responder: HttpResponder, *, reports: UsageReports) -> None:
        self._responder = responder
        self._reports = reports

    async def get(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/usage"""
        return await self._responder.answer("get_usage", req, self._get)

    async def _get(self, call: Call) -> Answer:
        query = Query(call.request)
        period = self._reports.choose_period(_read_day(query, "from"), _read_day(query, "to"))
        by = _read_group(query)
        after, limit = query.after(), query.limit()
        summed = await self._reports.read(
            period, by=by, agent_id=query.agent_id(), owner=_read_owner(query, call)
        )
        return Answer(body=self._make_body(call, period, by, summed, after=after, limit=limit))

    def _make_body(
        self,
        call: Call,
        period: Period,
        by: GroupBy,
        summed: SummedUsage,
        *,
        after: str | None,
        limit: int,
    ) -> dict[str, Any]:
        rest = [item for item in summed.items if after is None or _make_token(item) > after]
        page = rest[:limit]
        following = _make_token(page[-1]) if len(rest) > limit else None
        answer = UsageAnswer(
            first_day=period.first.isoformat(),
            last_day=period.last.isoformat(),
            by=by,
            currency=self._reports.currency,
            unpriced_models=summed.unpriced_models,
            total=summed.total,
            items=tuple(page),
            next=make_next(call, following),
        )
        return encode(answer)


def _make_token(item: UsageSum) -> str:
    return f"key={item.key or ''}"


def _read_day(query: Query, name: str) -> date | None:
    value = query.text(name)
    if value is None:
        return None
    if _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise Refused(
        "invalid_request",
        f"{name} is {value[:40]!r}; write a day in UTC, such as 2026-01-31",
        field=name,
    )


def _read_group(query: Query) -> GroupBy:
    value = query.text("by") or "agent"
    if value not in get_args(GroupBy):
        known = ", ".join(get_args(GroupBy))
        raise Refused("invalid_request", f"by is {value[:40]!r}; write one of {known}", field="by")
    return cast(GroupBy, value)


def _read_owner(query: Query, call: Call) -> str | None:
    """Return the owner whose usage is wanted: callers see their own, admins everybody's."""
    wanted, own = query.text("owner"), call.owner
    if own is not None and wanted not in (None, own):
        raise Refused(
            "forbidden", "only admins see the usage of other owners; leave owner out", field="owner"
        )
    return own if own is not None else wanted
