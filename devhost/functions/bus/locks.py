"""Renews the lock of a message or session while its function runs. Entry point: `LockKeeper`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from devhost.amqp.types import Array
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.requests import RequestLinks
from devhost.functions.log import describe_briefly, say

_MARGIN_SECONDS = 10.0
_SHORTEST_SECONDS = 0.5  # between two renewals, even if a clock is wrong


class Renewal(Protocol):
    """Renews a lock; returns its new end in epoch seconds."""

    async def __call__(self) -> float: ...


class LockKeeper:
    """Renews one lock until `stop`, or for `limit_seconds`. It waits in a timer, not in a task.

    As in Azure, the broker is asked when ten seconds are left, or half of a short lock.
    """

    def __init__(
        self, renew: Renewal, *, until: float, limit_seconds: float, fields: dict[str, Any]
    ) -> None:
        self._renew = renew
        self._until = until
        self._deadline = time.time() + limit_seconds
        self._fields = fields
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._schedule()

    def stop(self) -> None:
        """Stop renewing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._deadline = 0.0

    def _schedule(self) -> None:
        now = time.time()
        left = max(self._until - now, 0.0)
        wait = max(left - min(_MARGIN_SECONDS, left / 2), _SHORTEST_SECONDS)
        if now + wait < self._deadline:
            self._timer = asyncio.get_running_loop().call_later(wait, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            self._until = await self._renew()
        except TimeoutError:
            pass  # the broker may be frozen; ask again
        except BusError as error:
            say("warning", "bus.lock_not_renewed", **self._fields, error=describe_briefly(error))
            return
        self._schedule()


def make_message_renewal(requests: RequestLinks, link_name: str, tag: bytes) -> Renewal:
    """Make the renewal of the lock on the message with this delivery tag."""
    tokens = Array([uuid.UUID(bytes_le=tag)], of=uuid.UUID)
    return _make_renewal(
        requests,
        link_name,
        "com.microsoft:renew-lock",
        {"lock-tokens": tokens},
        lambda body: body["expirations"][0],
    )


def make_session_renewal(requests: RequestLinks, link_name: str, session_id: str) -> Renewal:
    """Make the renewal of a session's lock."""
    return _make_renewal(
        requests,
        link_name,
        "com.microsoft:renew-session-lock",
        {"session-id": session_id},
        lambda body: body["expiration"],
    )


def _make_renewal(
    requests: RequestLinks,
    link_name: str,
    operation: str,
    body: dict[str, Any],
    expiration: Callable[[Any], int],
) -> Renewal:
    async def renew() -> float:
        answer = await requests.ask(
            {"operation": operation, "associated-link-name": link_name}, body
        )
        if answer.status != 200:
            raise BusError(answer.condition or str(answer.status), answer.description)
        try:
            return expiration(answer.body) / 1000
        except (KeyError, IndexError, TypeError) as error:
            raise BusError("amqp:decode-error", f"{operation} answered {answer.body!r}") from error

    return renew


def convert_ticks(ticks: int) -> float:
    """Convert .NET ticks (100 ns since year 1) to epoch seconds."""
    return (ticks - 621_355_968_000_000_000) / 10_000_000


def to_seconds(moment: datetime | None, *, otherwise: float) -> float:
    """Convert a moment to epoch seconds; None is `otherwise` seconds from now."""
    if moment is None:
        return datetime.now(UTC).timestamp() + otherwise
    return moment.timestamp()
