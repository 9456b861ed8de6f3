"""Defines the errors of the clients. Entry points: `AosClientError`, `AosUnreachable`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.client.advice import advise_error
from aos.errors import CODES, AosError

UNKNOWN_CODE = {4: "invalid_request", 5: "internal_error"}


class AosClientError(AosError):
    """AOS refused a request, or a run failed.

    `error` is the error object of the answer; `status` is the HTTP status (None: a run failed, or
    the answer came from a queue). `retry_after` is how many seconds AOS asks to wait, if it says.
    `code` is one of `aos.errors.CODES`. An unknown code of a newer AOS becomes `invalid_request`
    (4xx) or `internal_error`, and `error` keeps the original.
    """

    def __init__(
        self,
        error: Mapping[str, Any],
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        code, message = str(error.get("code")), str(error.get("message"))
        known = code if code in CODES else UNKNOWN_CODE.get((status or 500) // 100)
        details = error.get("details")
        super().__init__(known or "internal_error", message)
        self.info.details.update(details if isinstance(details, Mapping) else {})
        self.error = dict(error)
        self.status = status
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """What happened, to what, and what to do."""
        return self.info.message

    @property
    def advice(self) -> str | None:
        """What to do, in one sentence, by the code; None where the message says all."""
        return advise_error(self.error)

    @property
    def retryable(self) -> bool:
        """Whether AOS reports that the same request may succeed later."""
        return self.error.get("retryable") is True


class AosUnreachable(AosClientError):
    """AOS did not answer: it is not started, has another address, or was away too long."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        error = {"code": "unavailable", "message": message, "type": "retry", "retryable": True}
        super().__init__(error, status=status, retry_after=retry_after)


def explain_not_running(url: str, reason: str) -> AosUnreachable:
    """Make the error for an AOS that does not answer: what to start, and how to set another
    address."""
    return AosUnreachable(
        f"nothing answers at {url} ({reason}); start AOS with `make run`, or set another address"
        " with --url or AOS_URL"
    )
