"""What can go wrong for a client of AOS, and who must act?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.errors import CODES, AosError

UNKNOWN_CODE = {4: "invalid_request", 5: "internal_error"}


class AosClientError(AosError):
    """AOS refused, or a run failed. `error` is the wire's object, `status` HTTP's (None: a run).

    `code` is one of `aos.errors.CODES`; a code of a newer AOS reads as `invalid_request` (4xx) or
    `internal_error`, and `error` keeps what was said.
    """

    def __init__(self, error: Mapping[str, Any], *, status: int | None = None) -> None:
        code, message = str(error.get("code")), str(error.get("message"))
        known = code if code in CODES else UNKNOWN_CODE.get((status or 500) // 100)
        details = error.get("details")
        super().__init__(known or "internal_error", message)
        self.info.details.update(details if isinstance(details, Mapping) else {})
        self.error = dict(error)
        self.status = status

    @property
    def retryable(self) -> bool:
        """Does AOS say that the same may work later?"""
        return self.error.get("retryable") is True


class AosUnreachable(AosClientError):
    """Nothing that speaks as AOS answered: not started, another address, or away too long."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        error = {"code": "unavailable", "message": message, "type": "retry", "retryable": True}
        super().__init__(error, status=status)


def not_running(url: str, reason: str) -> AosUnreachable:
    """The one line for a system that is not there: what to start, and how to point elsewhere."""
    return AosUnreachable(
        f"nothing answers at {url} ({reason}); start AOS with `make run`, or name another address"
        " with --url or AOS_URL"
    )
