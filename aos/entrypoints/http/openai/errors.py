"""Writes errors in the form of OpenAI's API: `{"error": {"message", "type", "param", "code"}}`.
Entry points: `write_error`, `refuse`.
"""

from __future__ import annotations

from typing import Any

from aos.entrypoints.http.responder import Answer, Call
from aos.errors import AosError, ErrorInfo, Refused

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "unauthorized": "invalid_api_key",
    "agent_not_found": "model_not_found",
    "agent_removed": "model_not_found",
    "budget_spent": "insufficient_quota",
}
_RETRIED = (408, 409, 429)
"""Statuses, beside those from 500 on, after which OpenAI's SDKs send a request again."""


def refuse(param: str, says: str, *, code: str = "invalid_value") -> Refused:
    """The refusal of a parameter; `code` is the API's."""
    return Refused("invalid_request", f"{param} {says}", field=param, api_code=code)


def write_error(call: Call, error: AosError, answer: Answer) -> Answer:
    """The answer to an error of AOS, in the API's form."""
    info = error.info
    headers = dict(answer.headers)
    may_repeat = answer.status in _RETRIED or answer.status >= 500
    if may_repeat and not info.retryable and info.code != "internal_error":
        headers["x-should-retry"] = "false"
    body = {"error": describe_error(info, status=answer.status)}
    return Answer(status=answer.status, body=body, headers=headers)


def describe_error(info: ErrorInfo, *, status: int) -> dict[str, Any]:
    """The error object of the API."""
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    code = _CODES.get(info.code, info.code)
    return {
        "message": info.message,
        "type": "insufficient_quota" if code == "insufficient_quota" else kind,
        "param": info.details.get("field"),
        "code": info.details.get("api_code", code),
    }
