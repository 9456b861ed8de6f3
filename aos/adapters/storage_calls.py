"""Says how calls of Azure Storage are bounded. Entry points: the constants, `read_retry_after`,
`parse_retry_after`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15
READ_RETRIES = 2


def read_retry_after(error: HttpResponseError) -> float | None:
    """The seconds that the service asks to wait, if it says so."""
    return parse_retry_after(getattr(error.response, "headers", None) or {})


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks to wait, if it says so."""
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdigit() else None
