"""Decides how a run waits for a model or MCP servers that are away. Entry points:
`wait_for_model`, `wait_for_tools`.

The rules are pure, as in `aos.domain.runs.advance`. The wait is state: `retry_at` in the head, and
one ContinueRun scheduled for it. The run's clock is stopped.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.retries import retry_pause
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import Run, RunStatus
from aos.domain.runs.waiting import Waiting, name_calls
from aos.errors import ErrorInfo

OUTAGE_LIMIT = timedelta(hours=24)
_AWAY = "the model does not answer"
TOOLS_LIMIT = timedelta(minutes=10)
"""How long a run waits for MCP servers that have not listed their tools."""


def wait_for_model(
    conversation: Conversation,
    *,
    now: datetime,
    retry_after: timedelta | None = None,
    fault: ErrorInfo | None = None,
    reason: str | None = None,
) -> Step:
    """Wait for a model that did not answer during the handler's retries.

    The wait ends at `retry_at`. After OUTAGE_LIMIT the run ends as failed: with the `fault` that
    an operator did not mend, or as `model_unavailable`.
    """
    since = conversation.retry_since or now
    active = replace(conversation.require_active(), tools_since=None)
    if now - since >= OUTAGE_LIMIT:
        error = fault or ErrorInfo(
            code="model_unavailable",
            message="the model did not answer for 24 h; see the model endpoint's health",
        )
        return conversation.end_active(RunStatus.FAILED, error=error, now=now)
    retry_at = now + max(retry_pause(conversation.retries), retry_after or timedelta())
    retry_at = min(retry_at, since + OUTAGE_LIMIT)
    active = replace(active, retry=_describe_absence(fault, reason, since=since, until=retry_at))
    waiting = replace(
        conversation,
        active=active,
        retry_at=retry_at,
        retry_since=since,
        retries=conversation.retries + 1,
    )
    waiting = waiting.schedule_continue(active.request.run_id, due=retry_at)
    return Step(conversation=waiting, runs=(active.run,))


def wait_for_tools(conversation: Conversation, *, servers: tuple[str, ...], now: datetime) -> Step:
    """Wait for MCP servers that have not listed their tools.

    The waits grow with the time that has passed, from 2 s to 30 s. After TOOLS_LIMIT the run ends
    as failed, `unavailable`, and the error names the servers.
    """
    active = conversation.require_active()
    since = active.tools_since or now
    if now - since >= TOOLS_LIMIT:
        names = ", ".join(repr(server) for server in servers)
        error = ErrorInfo(
            code="unavailable",
            message=(
                f"MCP server {names} has not listed its tools within"
                f" {TOOLS_LIMIT.total_seconds() / 60:g} minutes; GET /api/tools shows its state"
            ),
            details={"servers": list(servers)},
        )
        return conversation.end_active(RunStatus.FAILED, error=error, now=now)
    pause = min(max((now - since) / 2, timedelta(seconds=2)), timedelta(seconds=30))
    retry_at = now + timedelta(milliseconds=int(pause.total_seconds() * 1000))
    retry = Waiting(
        kind="retry",
        since=since,
        until=retry_at,
        reason=f"not listed their tools yet: MCP servers {name_calls(list(servers))}",
        ends_with="the servers' lists, see GET /api/tools; AOS looks again at the time of `until`",
    )
    active = replace(active, tools_since=since, retry=retry)
    waiting = replace(conversation, retry_at=retry_at, active=active)
    waiting = waiting.schedule_continue(active.request.run_id, due=retry_at)
    return Step(conversation=waiting, runs=(active.run,))


def _describe_absence(
    fault: ErrorInfo | None, reason: str | None, *, since: datetime, until: datetime
) -> Waiting:
    again = "the next try, at the time of `until`"
    return Waiting(
        kind="retry",
        since=since,
        until=until,
        reason=fault.message if fault is not None else f"{_AWAY}: {reason}" if reason else _AWAY,
        ends_with=again if fault is None else f"the operator mends it; then {again}",
        error=fault,
    )


def find_model_trouble(run: Run) -> str | None:
    """The code of what keeps the model from answering this run; None if nothing does."""
    waiting = run.waiting
    if waiting is None or waiting.kind != "retry":
        return None
    if waiting.error is not None:
        return waiting.error.code
    return "model_unavailable" if waiting.reason.startswith(_AWAY) else None
