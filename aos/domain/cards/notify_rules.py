"""Checks the receiver that a card or a request names for its events. Entry point:
`find_notify_problems`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.hosts import find_url_problem
from aos.domain.cards.policy import CardPolicy

NOTIFY = "notify"


def find_notify_problems(
    raw: Mapping[str, Any] | None, policy: CardPolicy
) -> Iterator[CardProblem]:
    """List what is wrong with a receiver whose types are valid."""
    if raw is None:
        return
    url, queue = raw.get("url"), raw.get("queue")
    if (url is None) == (queue is None):
        both = "notify has both url and queue" if url else "notify has neither url nor queue"
        yield CardProblem(path=NOTIFY, message=both, hint='write either "url" or "queue"')
        return
    problem = _find_queue_problem(str(queue), policy)
    if url is not None:
        problem = _find_webhook_problem(str(url), policy)
    if problem is not None:
        yield problem


def _find_queue_problem(queue: str, policy: CardPolicy) -> CardProblem | None:
    if queue.lower() in {name.lower() for name in policy.reply_queues}:
        return None
    return CardProblem(
        path=f"{NOTIFY}.queue",
        message=f"{queue[:80]!r} is not on the operator's list AOS_REPLY_TO",
        hint=f"write one of {', '.join(policy.reply_queues)}",
    )


def _find_webhook_problem(url: str, policy: CardPolicy) -> CardProblem | None:
    path = f"{NOTIFY}.url"
    problem = find_url_problem(url, policy.webhook_hosts)
    if problem is not None:
        return replace(problem, path=path)
    if policy.signs_webhooks:
        return None
    return CardProblem(
        path=path,
        message="AOS has no secret to sign webhooks with",
        hint="the operator sets AOS_WEBHOOK_SECRET; or name a queue",
    )
