"""Limits the time of a table call and translates its errors. Entry point: `translate_errors`.

The errors are `StaleWrite` (a condition did not hold), `OutcomeUnknown` (a write without an
answer), `TransientError` (the tables are away, throttle or refuse), and `AosError` `internal_error`
for a wrong request of AOS, which no retry can heal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aos.adapters.storage_calls import read_retry_after
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

OPERATION_TIMEOUT_SECONDS = 20.0
_CONFLICTS = (404, 409, 412)
_THROTTLED = (429, 503)


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
    except HttpResponseError as error:
        raise _translate_answer(error, what, writing=writing) from error
    except AzureError as error:
        kind = TransientError if _is_never_sent(error) else unanswered
        raise kind(f"the tables did not answer ({what}): {error.message}") from error


def is_missing_row(error: HttpResponseError) -> bool:
    """Whether this is the 404 of a row, not that of a table or another error."""
    return error.status_code == 404 and _read_code(error) != "TableNotFound"


def _translate_answer(error: HttpResponseError, what: str, *, writing: bool) -> Exception:
    """Return the AosError for an error status."""
    from azure.core.exceptions import ClientAuthenticationError

    code, status = _read_code(error), error.status_code or 0
    if code in ("TableNotFound", "TableBeingDeleted"):
        return TransientError(f"the table of {what} does not exist; create it ({code})")
    if status in (401, 403) or isinstance(error, ClientAuthenticationError):
        return TransientError(
            f"access to {what} was refused ({status} {code}); check the key in"
            " AZURE_STORAGE_CONNECTION_STRING, or give the app's identity the role Storage Table"
            " Data Contributor"
        )
    if status in _THROTTLED:
        return TransientError(
            f"the tables are busy: {what} ({status} {code})",
            retry_after_seconds=read_retry_after(error),
        )
    if writing and status in _CONFLICTS:
        return StaleWrite(f"{what} was changed by another writer ({status} {code})")
    if status < 400 or status == 408 or status >= 500:
        unanswered = OutcomeUnknown if writing else TransientError
        return unanswered(f"the tables failed on {what} ({status} {code})")
    return AosError(
        "internal_error", f"the tables refused a request of AOS for {what} ({status} {code})"
    )


def _read_code(error: HttpResponseError) -> str:
    """Return the service's error code. Some errors of inserts have it only in the body."""
    code = getattr(error, "error_code", None)
    if code is None and error.response is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            code = json.loads(error.response.text())["odata.error"]["code"]
    return str(getattr(code, "value", code or error.reason))


def _is_never_sent(error: AzureError) -> bool:
    """Whether no connection was made, so that no write can have happened."""
    import aiohttp
    from azure.core.exceptions import ServiceRequestTimeoutError

    inner = getattr(error, "inner_exception", None)
    return isinstance(error, ServiceRequestTimeoutError) or isinstance(
        inner, aiohttp.ClientConnectorError
    )
