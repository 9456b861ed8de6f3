"""What does an answer of the tables that is no success mean to AOS?

`translated` bounds one call in time and turns what goes wrong into our errors: `StaleWrite` (a
condition did not hold), `OutcomeUnknown` (a write without an answer), `TransientError` (away,
throttled, refused), and `AosError` `internal_error` for what no retry can heal: our own mistake.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

OPERATION_TIMEOUT_SECONDS = 20.0
_CONFLICTS = (404, 409, 412)
_THROTTLED = (429, 503)


@contextlib.asynccontextmanager
async def translated(
    what: str, *, writing: bool = False, timeout_seconds: float = OPERATION_TIMEOUT_SECONDS
) -> AsyncIterator[None]:
    """Run one call of the SDK about `what` under a time limit, in our errors."""
    from azure.core.exceptions import AzureError, HttpResponseError

    unanswered = OutcomeUnknown if writing else TransientError
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as error:
        raise unanswered(f"no answer within {timeout_seconds:g} s about {what}") from error
    except HttpResponseError as error:
        raise _answered(error, what, writing=writing) from error
    except AzureError as error:
        kind = TransientError if _never_sent(error) else unanswered
        raise kind(f"the tables gave no answer about {what}: {error.message}") from error


def is_missing_row(error: HttpResponseError) -> bool:
    """True for the 404 of a row, False for that of a table (and for everything else)."""
    return error.status_code == 404 and _code(error) != "TableNotFound"


def _answered(error: HttpResponseError, what: str, *, writing: bool) -> Exception:
    """Our error for an answer that is no success."""
    from azure.core.exceptions import ClientAuthenticationError

    code, status = _code(error), error.status_code or 0
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
            retry_after_seconds=_retry_after(error),
        )
    if writing and status in _CONFLICTS:
        return StaleWrite(f"{what} was written by somebody else ({status} {code})")
    if status < 400 or status == 408 or status >= 500:
        unanswered = OutcomeUnknown if writing else TransientError
        return unanswered(f"the tables failed on {what} ({status} {code})")
    return AosError(
        "internal_error", f"the tables refused our request about {what} ({status} {code})"
    )


def _code(error: HttpResponseError) -> str:
    """The service's code; an insert's error still has it in its body alone."""
    code = getattr(error, "error_code", None)
    if code is None and error.response is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            code = json.loads(error.response.text())["odata.error"]["code"]
    return str(getattr(code, "value", code or error.reason))


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    text = str(headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else None


def _never_sent(error: AzureError) -> bool:
    """True where no connection was made, so that no write can have happened."""
    import aiohttp
    from azure.core.exceptions import ServiceRequestTimeoutError

    inner = getattr(error, "inner_exception", None)
    return isinstance(error, ServiceRequestTimeoutError) or isinstance(
        inner, aiohttp.ClientConnectorError
    )
