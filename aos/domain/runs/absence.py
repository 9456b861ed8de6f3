"""What does a run do while something that it needs is away?

Pure rules, as in `aos.domain.runs.advance`.
The wait is state, not a message: `retry_at` in the head,
and one ContinueRun scheduled for it. The run's clock does not move.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.ending import active_run, continue_run, end_active
from aos.domain.runs.run import RunStatus
from aos.errors import ErrorInfo

OUTAGE_LIMIT = timedelta(hours=24)
RETRY_MINUTES = (1, 2, 4, 8, 15)
"""How long a conversation waits before it asks an absent model again; the last one repeats."""
TOOLS_LIMIT = timedelta(minutes=10)
"""How long a run waits for MCP servers that have not listed their tools yet."""


def model_away(
    conversation: Conversation, *, now: datetime, retry_after: timedelta | None = None
) -> Step:
    """The model stayed away through the retries in the handler: the wait becomes state.

    The conversation leaves one ContinueRun scheduled for `retry_at`; after OUTAGE_LIMIT the run
    ends as failed, `model_unavailable`. The run's clock does not move.
    """
    since = conversation.retry_since or now
    active = active_run(conversation)
    if now - since >= OUTAGE_LIMIT:
        error = ErrorInfo(
            code="model_unavailable",
            message="the model did not answer for 24 h; see the model endpoint's health",
        )
        return end_active(conversation, RunStatus.FAILED, error=error, now=now)
    minutes = RETRY_MINUTES[min(conversation.retries, len(RETRY_MINUTES) - 1)]
    retry_at = now + max(timedelta(minutes=minutes), retry_after or timedelta())
    retry_at = min(retry_at, since + OUTAGE_LIMIT)
    waiting = replace(
        conversation,
        active=replace(active, tools_since=None),
        retry_at=retry_at,
        retry_since=since,
        retries=conversation.retries + 1,
    )
    later = continue_run(waiting, active.request.run_id, due=retry_at)
    waiting = replace(waiting, outbox=(*waiting.outbox, later))
    return Step(conversation=waiting, runs=(active.run,))


def tools_away(conversation: Conversation, *, servers: tuple[str, ...], now: datetime) -> Step:
    """MCP servers that the agent needs have not listed their tools yet: wait, then say which.

    The waits grow with the time that has passed, from 2 s to 30 s. The run's clock does not move.
    """
    active = active_run(conversation)
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
        return end_active(conversation, RunStatus.FAILED, error=error, now=now)
    pause = min(max((now - since) / 2, timedelta(seconds=2)), timedelta(seconds=30))
    retry_at = now + timedelta(milliseconds=int(pause.total_seconds() * 1000))
    waiting = replace(conversation, retry_at=retry_at, active=replace(active, tools_since=since))
    later = continue_run(waiting, active.request.run_id, due=retry_at)
    waiting = replace(waiting, outbox=(*waiting.outbox, later))
    return Step(conversation=waiting, runs=(active.run,))
