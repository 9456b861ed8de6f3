"""Checks what every message of JSON-RPC has. Entry points: `check_envelope`, `find_request_id`.

The SDK would take a request whose id cannot be one as a notification, and its client would wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from aos.domain.json_reader import JsonTextError, parse_json
from aos.errors import Refused

MAX_READ_BYTES = 64 * 1024
"""Of a refused body; the id of a larger one is not read."""


def check_envelope(message: Mapping[str, Any]) -> None:
    """Raise Refused `invalid_request` for what is not a message of MCP."""
    if message.get("jsonrpc") != "2.0":
        raise _refuse("jsonrpc", 'is not "2.0"; write it')
    if "method" not in message:
        return  # a response, which the SDK reads
    if not isinstance(message["method"], str):
        raise _refuse("method", "is not a text; write the name of a method")
    if "id" in message and not _is_id(message["id"]):
        raise _refuse("id", "is not a text or a whole number; write one, or leave it out")
    if not isinstance(message.get("params"), dict | None):
        raise _refuse("params", "is not an object; write its fields in braces")


def find_request_id(body: bytes) -> str | int | None:
    """Return the id of a request that was refused; None where it cannot be read."""
    try:
        message = parse_json(body, max_bytes=MAX_READ_BYTES)
    except JsonTextError:
        return None
    request_id = message.get("id") if isinstance(message, dict) else None
    return request_id if _is_id(request_id) else None


def _is_id(value: object) -> TypeGuard[str | int]:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _refuse(field: str, says: str) -> Refused:
    return Refused("invalid_request", f"{field} {says}", field=field)
