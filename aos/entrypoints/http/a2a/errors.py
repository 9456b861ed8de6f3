"""Writes errors as A2A 1.0 does. Entry points: `A2aRefused`, `write_rpc_error`,
`write_rest_error`.

Both bindings carry the same detail, a `google.rpc.ErrorInfo` with the reason, and the code of AOS
in its metadata. The JSON-RPC binding answers with HTTP 200, because clients read no body of another
status; only a refused caller gets 401 or 403.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from aos.entrypoints.http.responder import Answer
from aos.errors import CODES, AosError, Refused
from aos.services.admission import NO_VISION

Reason: TypeAlias = Literal[
    "TASK_NOT_FOUND",
    "TASK_NOT_CANCELABLE",
    "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "UNSUPPORTED_OPERATION",
    "CONTENT_TYPE_NOT_SUPPORTED",
    "VERSION_NOT_SUPPORTED",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "INTERNAL_ERROR",
    "PARSE_ERROR",
]
INFO_TYPE = "type.googleapis.com/google.rpc.ErrorInfo"
FIELD_TYPE = "type.googleapis.com/google.rpc.BadRequest"
DOMAIN = "a2a-protocol.org"
_REFUSED_CALLERS = (401, 403)


@dataclass(frozen=True, slots=True)
class _Kind:
    """An error of A2A: its JSON-RPC code, HTTP status and gRPC status."""

    rpc_code: int
    http_status: int
    grpc_status: str


_KINDS: dict[Reason, _Kind] = {
    "TASK_NOT_FOUND": _Kind(-32001, 404, "NOT_FOUND"),
    "TASK_NOT_CANCELABLE": _Kind(-32002, 400, "FAILED_PRECONDITION"),
    "PUSH_NOTIFICATION_NOT_SUPPORTED": _Kind(-32003, 400, "FAILED_PRECONDITION"),
    "UNSUPPORTED_OPERATION": _Kind(-32004, 400, "FAILED_PRECONDITION"),
    "CONTENT_TYPE_NOT_SUPPORTED": _Kind(-32005, 400, "INVALID_ARGUMENT"),
    "VERSION_NOT_SUPPORTED": _Kind(-32009, 400, "FAILED_PRECONDITION"),
    "INVALID_PARAMS": _Kind(-32602, 400, "INVALID_ARGUMENT"),
    "INVALID_REQUEST": _Kind(-32600, 400, "INVALID_ARGUMENT"),
    "METHOD_NOT_FOUND": _Kind(-32601, 404, "NOT_FOUND"),
    "INTERNAL_ERROR": _Kind(-32603, 500, "INTERNAL"),
    "PARSE_ERROR": _Kind(-32700, 400, "INVALID_ARGUMENT"),
}
_REASONS: dict[str, Reason] = {
    "run_not_found": "TASK_NOT_FOUND",
    "unsupported_media_type": "CONTENT_TYPE_NOT_SUPPORTED",
    "unauthorized": "INVALID_REQUEST",
    "forbidden": "INVALID_REQUEST",
    "length_required": "INVALID_REQUEST",
    "not_found": "METHOD_NOT_FOUND",
    "method_not_allowed": "METHOD_NOT_FOUND",
}
"""The reasons of the codes of AOS that have one of their own."""
_FIELDS = {"data": "raw", "name": "filename", "media_type": "mediaType"}
"""A2A's names of the fields of a part."""
_GRPC: dict[int, str] = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class A2aRefused(Refused):
    """A request that A2A itself has an error for. `reason` is that error."""

    def __init__(self, reason: Reason, message: str, **details: Any) -> None:
        super().__init__("invalid_request", message, **details)
        self.reason: Reason = reason


def name_field(error: Refused) -> Refused:
    """Return the refusal of a part in the words of A2A, where it names the part's field."""
    field = str(error.info.details.get("field", ""))
    if not field.startswith("message["):
        return error
    path, _, name = field.partition(".")
    named = f"message.parts{path.removeprefix('message')}" + (
        f".{_FIELDS.get(name, name)}" if name else ""
    )
    return Refused(
        error.code,
        error.info.message.replace(field, named),
        **{**error.info.details, "field": named},
    )


def write_rpc_error(error: AosError, rpc_id: str | int | float | None) -> dict[str, Any]:
    """Return the JSON-RPC response for an error."""
    reason = _find_reason(error)
    return {
        "jsonrpc": "2.0",
        "id": rpc_id,
        "error": {
            "code": _KINDS[reason].rpc_code,
            "message": error.info.message,
            "data": _write_details(error, reason),
        },
    }


def write_rest_error(error: AosError) -> dict[str, Any]:
    """Return the `google.rpc.Status` for an error, as JSON."""
    reason = _find_reason(error)
    status = _find_status(error, reason)
    own = isinstance(error, A2aRefused) or reason == "TASK_NOT_FOUND"
    usual = _KINDS[reason].grpc_status if own else _GRPC.get(status, "INVALID_ARGUMENT")
    return {
        "error": {
            "code": status,
            "status": usual,
            "message": error.info.message,
            "details": _write_details(error, reason),
        }
    }


def answer_rpc_error(
    error: AosError, answer: Answer, rpc_id: str | int | float | None = None
) -> Answer:
    """Return the answer of AOS to an error in the form of the JSON-RPC binding."""
    status = answer.status if answer.status in _REFUSED_CALLERS else 200
    return replace(answer, status=status, body=write_rpc_error(error, rpc_id))


def answer_rest_error(error: AosError, answer: Answer) -> Answer:
    """Return the answer of AOS to an error in the form of the HTTP+JSON binding."""
    body = write_rest_error(error)
    return replace(answer, status=body["error"]["code"], body=body)


def _find_reason(error: AosError) -> Reason:
    if isinstance(error, A2aRefused):
        return error.reason
    if error.code in _REASONS:
        return _REASONS[error.code]
    if error.info.details.get("reason") == NO_VISION:
        return "CONTENT_TYPE_NOT_SUPPORTED"
    return "INVALID_PARAMS" if error.info.type == "caller" else "INTERNAL_ERROR"


def _find_status(error: AosError, reason: Reason) -> int:
    if isinstance(error, A2aRefused):
        return _KINDS[reason].http_status
    return CODES[error.code].http_status or 500


def _write_details(error: AosError, reason: Reason) -> list[dict[str, Any]]:
    info = error.info
    metadata = {"code": info.code, "type": info.type, "retryable": str(info.retryable).lower()}
    metadata |= {name: str(value) for name, value in info.details.items()}
    details: list[dict[str, Any]] = [
        {"@type": INFO_TYPE, "reason": reason, "domain": DOMAIN, "metadata": metadata}
    ]
    if "field" in info.details:
        violation = {"field": info.details["field"], "description": info.message}
        details.append({"@type": FIELD_TYPE, "fieldViolations": [violation]})
    return details
