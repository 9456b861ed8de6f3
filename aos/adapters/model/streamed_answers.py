"""Joins the answer that an endpoint streams. Entry points: `StreamedAnswer`, `join_stream`.

A stream is asked for where somebody reads the run; some gateways only stream, also where nobody
asked. Either way the joined answer has the form of one that came whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_DONE = "[DONE]"


def join_stream(body: bytes) -> dict[str, Any] | None:
    """Return the answer that a whole stream of events says; None if it is not one, or was cut."""
    answer = StreamedAnswer()
    answer.feed(body + b"\n")
    return answer.finish()


class StreamedAnswer:
    """An answer that comes in pieces, of Chat Completions or of Responses.

    `is_done`: nothing follows. `size` is the bytes of the events' data that are kept.
    """

    def __init__(self) -> None:
        self.is_done = False
        self.size = 0
        self._rest = b""
        self._whole: dict[str, Any] | None = None
        self._beside: dict[str, Any] = {}
        self._message: dict[str, list[Any]] = {}
        self._calls: dict[Any, _Call] = {}
        self._reason: Any = None
        self._item: Any = None

    def feed(self, piece: bytes) -> str:
        """Take a piece of the stream; return the model's text in it."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        return "".join(self._take(line) for line in lines)

    def finish(self) -> dict[str, Any] | None:
        """Return the whole answer, or None if the stream was cut."""
        if self._rest:
            self._take(self._rest)
        if self._whole is not None:
            return self._whole
        if not self._reason and not self.is_done:
            return None
        message = {name: _join(pieces) for name, pieces in self._message.items()}
        if self._calls:
            message["tool_calls"] = [call.join() for call in self._calls.values()]
        return {"choices": [{"message": message, "finish_reason": self._reason}], **self._beside}

    def _take(self, line: bytes) -> str:
        text = line.decode("utf-8-sig", "replace").strip()
        if self._whole is not None or not text.startswith("data:"):
            return ""
        data = text.removeprefix("data:").strip()
        if data == _DONE:
            self.is_done = True
            return ""
        chunk = _parse(data)
        return self._take_chunk(chunk) if isinstance(chunk, dict) else ""

    def _take_chunk(self, chunk: dict[str, Any]) -> str:
        kind = chunk.get("type")
        if chunk.get("error") or kind == "error":
            self._end(chunk if chunk.get("error") else {"error": chunk})
        elif kind in _LAST_EVENTS and isinstance(chunk.get("response"), dict):
            self._end(chunk["response"])
        elif kind == "response.output_text.delta":
            return self._separate(chunk) + _read_text(chunk.get("delta"))
        else:
            return self._take_choice(chunk)
        return ""

    def _end(self, whole: dict[str, Any]) -> None:
        self._whole = whole
        self.is_done = True

    def _separate(self, chunk: Mapping[str, Any]) -> str:
        """What stands before the text of another message item."""
        before, self._item = self._item, chunk.get("output_index", 0)
        return "\n\n" if before is not None and before != self._item else ""

    def _take_choice(self, chunk: Mapping[str, Any]) -> str:
        self._beside |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index") not in (None, 0):
            return ""
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return ""
        calls = delta.get("tool_calls")
        for place, piece in enumerate(calls if isinstance(calls, list) else [calls]):
            if isinstance(piece, dict):
                self.size += self._calls.setdefault(piece.get("index", place), _Call()).add(piece)
        for name, value in delta.items():
            if name not in ("role", "tool_calls") and value is not None:
                self._message.setdefault(name, []).append(value)
                self.size += len(value) if isinstance(value, str) else len(repr(value))
        return _read_text(delta.get("content"))


class _Call:
    """A tool call that comes in pieces with the same index."""

    def __init__(self) -> None:
        self._name = ""
        self._arguments: list[Any] = []
        self._has_function = False
        self._fields: dict[str, Any] = {}

    def add(self, piece: Mapping[str, Any]) -> int:
        """Add a piece; return its size."""
        function = piece.get("function")
        size = 0
        if isinstance(function, dict):
            self._has_function = True
            self._name = self._name or function.get("name") or ""
            arguments = function.get("arguments")
            if arguments is not None:
                self._arguments.append(arguments)
                size = len(arguments) if isinstance(arguments, str) else len(repr(arguments))
        self._fields |= {n: v for n, v in piece.items() if n != "function" and v is not None}
        return size

    def join(self) -> dict[str, Any]:
        """Return the whole call."""
        if not self._has_function:
            return self._fields
        function: dict[str, Any] = {"name": self._name}
        if self._arguments:
            function["arguments"] = _join(self._arguments)
        return {"function": function, **self._fields}


def _join(pieces: list[Any]) -> Any:
    """Join texts, and lists of parts; of other values the last one counts."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, str | list) for piece in pieces):
        return [part for piece in pieces for part in _list_parts(piece)]
    return pieces[-1]


def _list_parts(piece: Any) -> list[Any]:
    return [{"type": "text", "text": piece}] if isinstance(piece, str) else list(piece)


def _read_text(content: object) -> str:
    """Return the text of a piece of content: a text, or parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") if isinstance(part, dict) else part for part in content)
    return "".join(text for text in texts if isinstance(text, str))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
