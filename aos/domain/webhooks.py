"""Signs webhooks and says when a failed one is sent again. Entry points: `WebhookSecret`,
`build_headers`, `find_next_try`.

Webhooks follow the specification Standard Webhooks: the signature is an HMAC-SHA256 of the id, the
time and the body. While a secret is changed there are two, and each signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

PREFIX = "whsec_"
SHORTEST_SECRET = 24
LONGEST_SECRET = 64
"""Bytes of a secret, as Standard Webhooks says."""
GIVE_UP_AFTER = timedelta(days=1)
GONE = 410
"""The HTTP status of a receiver that wants no more of this."""
_PAUSES = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 1800, 3600, 7200, 14_400))
"""The pauses before the tries after the first; the last one repeats."""
_SPREAD = 0.2
"""By how much a pause may be longer or shorter, so that receivers are not asked all at once."""


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """One secret that webhooks are signed with."""

    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> WebhookSecret:
        """Read `whsec_<base64>`. Raises ValueError; the message does not hold the secret."""
        if not text.startswith(PREFIX):
            raise ValueError(f"it does not begin with {PREFIX}")
        try:
            coded = text.removeprefix(PREFIX).rstrip("=")
            key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"what follows {PREFIX} is not base64") from error
        if not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
            raise ValueError(
                f"it holds {len(key)} bytes; a secret has {SHORTEST_SECRET} to {LONGEST_SECRET}"
            )
        return cls(key)

    def sign(self, signed: bytes) -> str:
        """Return one signature, with its version."""
        mac = hmac.new(self.key, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(mac).decode()}"


def build_headers(
    secrets: Sequence[WebhookSecret], *, webhook_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """Build the headers of Standard Webhooks for one try at `at`."""
    seconds = str(int(at.timestamp()))
    signed = b".".join((webhook_id.encode(), seconds.encode(), body))
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(secret.sign(signed) for secret in secrets),
    }


def find_next_try(
    *,
    now: datetime,
    since: datetime,
    failures: int,
    jitter: float,
    retry_after_seconds: float | None = None,
) -> datetime | None:
    """Return when to try again after `failures` failed tries, or None to give up.

    `since` is the time of the first try, `jitter` a number in [0, 1). The last try is a day after
    the first.
    """
    end = since + GIVE_UP_AFTER
    if now >= end:
        return None
    pause = _PAUSES[min(failures, len(_PAUSES)) - 1] * (1 - _SPREAD + 2 * _SPREAD * jitter)
    asked = timedelta(seconds=min(retry_after_seconds or 0.0, GIVE_UP_AFTER.total_seconds()))
    return min(now + max(pause, asked), end)
