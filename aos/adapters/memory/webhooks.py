"""Keeps the webhooks that were sent, in memory. Entry point: `MemoryWebhooks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.errors import OutcomeUnknown, TransientError
from aos.ports.webhooks import WebhookAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SentWebhook:
    """One try: its URL, headers and body."""

    url: str
    headers: Mapping[str, str]
    body: bytes


Receiver: TypeAlias = Callable[[SentWebhook], WebhookAnswer]
TAKEN = WebhookAnswer(status=204)


class WebhookReceivers:
    """The receivers outside of AOS. `answer` may be replaced; `tries` holds every try."""

    def __init__(self) -> None:
        self.tries: list[SentWebhook] = []
        self.answer: Receiver = lambda sent: TAKEN

    def take(self, sent: SentWebhook) -> WebhookAnswer:
        """Note a try and answer it."""
        self.tries.append(sent)
        return self.answer(sent)


class MemoryWebhooks:
    """Posts to receivers in memory."""

    def __init__(
        self, receivers: WebhookReceivers, *, intercept: Interceptor = pass_through
    ) -> None:
        self._receivers = receivers
        self._intercept = intercept

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> WebhookAnswer:
        """Post once and return the answer. A fault of the interceptor is one of the connection."""
        sent = SentWebhook(url=url, headers=dict(headers), body=body)
        key = headers.get("webhook-id", "")
        try:
            return await self._intercept("webhooks.post", key, lambda: self._receivers.take(sent))
        except (OutcomeUnknown, TransientError) as error:
            return WebhookAnswer(fault=str(error))
