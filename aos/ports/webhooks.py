"""Sends webhooks. Entry point: `WebhookClient`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

FIRST_SUCCESS, LAST_SUCCESS = 200, 299


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAnswer:
    """How a receiver answered. `status` None: it did not, and `fault` says why.

    `retry_after_seconds` is what it asked for, or None.
    """

    status: int | None = None
    fault: str = ""
    retry_after_seconds: float | None = None

    @property
    def is_taken(self) -> bool:
        """True when the receiver took the webhook."""
        return self.status is not None and FIRST_SUCCESS <= self.status <= LAST_SUCCESS


class WebhookClient(Protocol):
    """Posts to receivers outside of AOS."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> WebhookAnswer:
        """Post once and return the answer, within `seconds`.

        The address that is connected to must be public, unless the operator listed the URL's host.
        No redirect is followed.
        """
        ...
