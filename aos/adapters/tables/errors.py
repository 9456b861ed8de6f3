"""Limits the time of a table call and translates its errors. Entry points: `translate_errors`,
`raise_for_status`.

The errors are `StaleWrite` (a condition did not hold), `OutcomeUnknown` (a write without an
answer), `TransientError` (the tables are away, throttle or refuse), and `AosError` `internal_error`
for a wrong request of AOS, which no retry can heal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aos.adapters.storage_calls import parse_retry_after
from aos.adapters.tables.odata import Answer, read_code
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

OPERATION_TIMEOUT_SECONDS = 20.0
_CONFLICTS = (404, 409, 412)
_THROTTLED = (429, 503)
_TABLE_MISSING = ("TableNotFound", "TableBeingDeleted")


@contextlib.asynccontextmanager
async def translate_errors(
    what: str, *, writing: bool = False, timeout_seconds: float = OPERATION_TIMEOUT_SECONDS
) -> AsyncIterator[None]:
    """Run one call of the SDK about `what` with a time limit, and translate its errors."""
    from azure.core.exceptions import AzureError, HttpResponseError

    unanswered = OutcomeUnknown if writing else TransientError
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise unanswered(
            f"the tables did not answer within {timeout_seconds:g} s ({what})"
        ) from error
    except HttpResponseError as error:  # no token, or an answer that was cut
        raise _translate_sdk_error(error, what, writing=writing) from error
    except AzureError as error:
        kind = TransientError if _is_never_sent(error) else unanswered
        raise kind(f"the tables did not answer ({what}): {error.message}") from error


def is_missing_row(answer: Answer) -> bool:
    """Whether this is the 404 of a row, not that of a table or another error."""
    return answer.status == 404 and read_code(answer) not in _TABLE_MISSING


def raise_for_status(answer: Answer, what: str, *, writing: bool = False) -> None:
    """Raise the AosError of an answer that is not good."""
    if not answer.is_good:
        raise _translate_status(
            answer.status,
            read_code(answer),
            what,
            writing=writing,
            retry_after=parse_retry_after(answer.headers),
        )


def _translate_sdk_error(error: HttpResponseError, what: str, *, writing: bool) -> Exception:
    from azure.core.exceptions import ClientAuthenticationError

    status = 401 if isinstance(error, ClientAuthenticationError) else error.status_code or 0
    return _translate_status(status, str(error.reason), what, writing=writing)


def _translate_status(
    status: int, code: str, what: str, *, writing: bool, retry_after: float | None = None
) -> Exception:
    """Return the AosError for an error status."""
    if code in _TABLE_MISSING:
        return TransientError(f"the table of {what} does not exist; create it ({code})")
    if status in (401, 403):
        return TransientError(
            f"access to {what} was refused ({status} {code}); check the key in"
            " AZURE_STORAGE_CONNECTION_STRING, or give the app's identity the role Storage Table"
            " Data Contributor"
        )
    if status in _THROTTLED:
        return TransientError(
            f"the tables are busy: {what} ({status} {code})", retry_after_seconds=retry_after
        )
    if writing and status in _CONFLICTS:
        return StaleWrite(f"{what} was changed by another writer ({status} {code})")
    if status < 400 or status == 408 or status >= 500:
        unanswered = OutcomeUnknown if writing else TransientError
        return unanswered(f"the tables failed on {what} ({status} {code})")
    return AosError(
        "internal_error", f"the tables refused a request of AOS for {what} ({status} {code})"
    )


def _is_never_sent(error: AzureError) -> bool:
    """Whether no connection was made, so that no write can have happened."""
    import aiohttp
    from azure.core.exceptions import ServiceRequestTimeoutError

    inner = getattr(error, "inner_exception", None)
    return isinstance(error, ServiceRequestTimeoutError) or isinstance(
        inner, aiohttp.ClientConnectorError
    )
