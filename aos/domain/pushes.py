"""Defines where the push notifications of an A2A task go. Entry point: `PushConfig`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aos.domain.codec import OMITTED

MAX_CONFIGS = 10
"""Receivers of one task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig:
    """A receiver of a task's push notifications, named by the client.

    `token` goes to the receiver in the header `X-A2A-Notification-Token`, `scheme` and
    `credentials` in `Authorization`.
    """

    run_id: str
    config_id: str
    url: str
    created_at: datetime
    token: str | None = field(default=None, repr=False, metadata=OMITTED)
    scheme: str | None = field(default=None, metadata=OMITTED)
    credentials: str | None = field(default=None, repr=False, metadata=OMITTED)

    def build_headers(self) -> dict[str, str]:
        """Build the headers that the client asked for."""
        headers = {}
        if self.token is not None:
            headers["X-A2A-Notification-Token"] = self.token
        if self.scheme is not None and self.credentials is not None:
            headers["Authorization"] = f"{self.scheme} {self.credentials}"
        return headers
