"""Explains the HTTP statuses with which URLs of MCP servers refuse a request. Entry point:
`explain_status`."""

from __future__ import annotations

import json
import re
from typing import Any

from aos.domain.json_writer import write_json

INTERNAL_ERROR = -32_603
MOST_WORDS = 500
_ADVICE = {
    401: "the server wants other credentials; check the headers of its card",
    403: "the server does not allow this; check the credentials in its card's headers",
    404: "there is no MCP server at this URL; check its path: one that ends with /sse is of the old"
    " SSE transport, which AOS does not speak",
    405: "the URL does not take POST: it may speak the old SSE transport, which AOS does not speak;"
    " write the server's Streamable HTTP URL, which often ends with /mcp",
    406: "the server does not answer in a form that Streamable HTTP has",
    407: "a proxy wants credentials",
    429: "the server wants fewer requests",
}
_SERVER_FAULT = "the server itself failed; AOS tries again later"


def explain_status(status: int, body: bytes, kind: str) -> bytes:
    """Build the JSON-RPC error of a refused request: the status, what to do, the server's words.

    `kind` is the answer's content type. Code and data of a JSON-RPC error are kept.
    """
    told = _read_json(body)
    error = told.get("error") if isinstance(told, dict) else None
    kept: dict[str, Any] = error if isinstance(error, dict) and "code" in error else {}
    words = _find_words(told) if told is not None else _read_plain(body, kind)
    advice = _ADVICE.get(status, _SERVER_FAULT if status >= 500 else "")
    said = f"HTTP {status}" + (f" ({advice})" if advice and not _is_protocol(kept) else "")
    message = f"{said}: {words}" if words else said
    code = kept.get("code")
    built: dict[str, Any] = {
        "code": code if isinstance(code, int) else INTERNAL_ERROR,
        "message": message,
    }
    if kept.get("data") is not None:
        built["data"] = kept["data"]
    return write_json({"jsonrpc": "2.0", "id": None, "error": built}).encode()


def _is_protocol(error: dict[str, Any]) -> bool:
    """Whether MCP or JSON-RPC itself defines the code, so that the status says nothing more."""
    code = error.get("code")
    return isinstance(code, int) and (-32_099 <= code <= -32_020 or code in (-32_601, -32_602))


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _find_words(told: Any) -> str:
    """Find what an error body says: a text, or the field that holds one."""
    if isinstance(told, str):
        return told[:MOST_WORDS]
    if isinstance(told, list):
        return next((words for words in map(_find_words, told[:8]) if words), "")
    if not isinstance(told, dict):
        return ""
    for name in ("error_description", "message", "detail", "error", "errors", "title"):
        words = _find_words(told.get(name))
        if words:
            return words
    return ""


def _read_plain(body: bytes, kind: str) -> str:
    """Return a plain text; pages for people say nothing to a program."""
    text = body.decode("utf-8", "replace").strip()
    if "html" in kind or text.startswith("<"):
        return ""
    return re.sub(r"\s+", " ", text)[:MOST_WORDS]
