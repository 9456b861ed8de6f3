"""Reads JSON-RPC messages as servers write them, mistakes included. Entry points: `read_message`,
`replace_half_surrogates`.

An answer that came is delivered, whatever is wrong with it: nobody waits for its time limit.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aos.domain.json_writer import known_json, write_json

if TYPE_CHECKING:
    import mcp_types as types

UNREADABLE = -32_098
"""AOS's JSON-RPC error code for an answer that cannot be read."""
_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that some programs write before their first text."""
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def replace_half_surrogates(text: bytes) -> bytes:
    """Replace each escaped half of a surrogate pair in a JSON text by U+FFFD."""
    if rb"\ud" not in text and rb"\uD" not in text:
        return text
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def find_answered_id(head: bytes, tail: bytes) -> int | None:
    """Find the request that a text answers, by the text's beginning or end."""
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return None if found is None else int(found[1])


def read_message(line: bytes) -> types.JSONRPCMessage | None:
    """Read the message in a line; None for other text."""
    import mcp_types as types

    text = replace_half_surrogates(line.removeprefix(_MARK))
    try:
        return types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValueError:
        pass
    try:
        value = known_json(json.loads(text.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return _answer_unreadable(text)
    return _read_loosely(value) if isinstance(value, dict) else None


def _read_loosely(value: dict[str, Any]) -> types.JSONRPCMessage | None:
    """Read an object that JSON-RPC's types do not fit."""
    import mcp_types as types

    try:
        return types.jsonrpc_message_adapter.validate_python(
            {**value, "jsonrpc": "2.0"}, by_name=False
        )
    except ValueError:
        pass
    number = value.get("id")
    if isinstance(number, float):
        number = int(number)
    if "method" in value or not isinstance(number, int | str) or isinstance(number, bool):
        return None
    error, result = value.get("error"), value.get("result")
    if error is None and isinstance(result, dict):
        return types.JSONRPCResponse(jsonrpc="2.0", id=number, result=result)
    if error is None and "result" not in value:
        return None
    if error is None:
        said = f"the result is not an object: {write_json(result, ensure_ascii=False)[:500]}"
        return _make_error(number, UNREADABLE, said)
    told = error if isinstance(error, dict) else {"message": error}
    code, words = told.get("code"), told.get("message")
    return _make_error(
        number,
        code if isinstance(code, int) and not isinstance(code, bool) else types.INTERNAL_ERROR,
        words if isinstance(words, str) else write_json(error, ensure_ascii=False)[:500],
    )


def _answer_unreadable(text: bytes) -> types.JSONRPCMessage | None:
    """Answer the request whose answer is not JSON."""
    number = find_answered_id(text[:200], text[-200:])
    if number is None or b'"method"' in text[:200]:
        return None
    return _make_error(number, UNREADABLE, "the answer is not JSON, or is nested too deeply")


def _make_error(number: int | str, code: int, said: str) -> types.JSONRPCMessage:
    import mcp_types as types

    error = types.ErrorData(code=code, message=said)
    return types.JSONRPCError(jsonrpc="2.0", id=number, error=error)
