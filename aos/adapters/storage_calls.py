"""Says how calls of Azure Storage are bounded. Entry points: the constants, `read_retry_after`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15
READ_RETRIES = 2


def read_retry_after(error: HttpResponseError) -> float | None:
    """The seconds that the service asks to wait, if it says so."""
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else None
