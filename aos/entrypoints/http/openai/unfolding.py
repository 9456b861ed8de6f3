"""Turns a run's events into a response's output items and the events of its stream. Entry point:
`Unfolding.read`.

A response is read from the run's events alone, live or later, so a stream that goes on after a cut
tells exactly the rest. The number of a stream's event depends on what is told, not on how it was
cut into pieces: a piece of text has the number of its last character. So a reader that comes later,
when the pieces are gone, continues in the middle of a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from aos.domain.runs.run import Usage
from aos.domain.runs.run_events import RunEvent
from aos.entrypoints.http.message_text import MessageText, Piece
from aos.entrypoints.http.openai.names import name_approval, name_call, name_message

AGENTS = "agents"
"""The label of AOS itself as a server of tools: those that ask other agents."""
FIRST_NUMBER = 2
"""Before it come `response.created` and `response.in_progress`."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the stream. `number` is its `sequence_number`."""

    number: int
    type: str
    body: dict[str, Any]

    def cut(self, after: int) -> Told | None:
        """What of it comes after a number; None if that is nothing."""
        if self.number <= after:
            return None
        text = self.body.get("delta") if self.type == "response.output_text.delta" else None
        if text is None:
            return self
        missing = len(text) - (self.number - after)
        return self if missing <= 0 else replace(self, body={**self.body, "delta": text[missing:]})


class Unfolding:
    """One response: a run, or the part of it after so many waits for approvals."""

    def __init__(self, run_id: str, *, part: int = 0) -> None:
        self.run_id = run_id
        self._part = part
        self._now = 0
        self._text = MessageText()
        self._number = FIRST_NUMBER
        self._open: int | None = None
        self._arguments: dict[str, str] = {}
        self._approved: dict[str, str] = {}
        self._asked: dict[str, int] = {}
        self.items: list[dict[str, Any]] = []
        """The output, in its order. A message that was begun again is in it once."""
        self._abandoned = 0
        self.usage = Usage()
        self.ended_with: RunEvent | None = None
        self.waits = False
        """Whether the response ended with requests for approval."""
        self.pending: set[str] = set()
        """The tool calls of the run that wait for a decision."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of this response follows."""
        return self.waits or self.ended_with is not None

    @property
    def parts(self) -> int:
        """How many waits for approvals the events have told of."""
        return self._now

    def asked_in(self, tool_call_id: str) -> int:
        """The part of the run that asks for a decision about a call."""
        return self._asked.get(tool_call_id, self._part)

    @property
    def next_number(self) -> int:
        """The number of the event that ends the stream."""
        return self._number

    def read(self, event: RunEvent) -> list[Told]:
        """Take one event of the run; return what the stream tells of it."""
        self._follow_approvals(event)
        if event.type == "message.completed":
            for call in event.data.get("tool_calls", ()):
                self._arguments[call["tool_call_id"]] = call["arguments"]
        is_mine = self._now == self._part and not self.is_over
        told = list(self._tell(event)) if is_mine else []
        if event.type == "run.waiting" and event.data.get("kind") == "approval":
            self.waits = self.waits or is_mine
            self._now += 1
        return told

    def _follow_approvals(self, event: RunEvent) -> None:
        call_id = str(event.data.get("tool_call_id"))
        if event.type == "approval.requested":
            self.pending.add(call_id)
            self._asked[call_id] = self._now
            self._approved[call_id] = name_approval(self.run_id, call_id)
        elif event.type in ("approval.decided", "tool.completed"):
            self.pending.discard(call_id)

    def _tell(self, event: RunEvent) -> Iterator[Told]:
        if event.is_end:
            self.ended_with = event
            yield from self._drop_open()
            return
        match event.type:
            case "attempt.started" | "message.delta" | "message.completed":
                piece = self._text.read(event)
                if piece is not None:
                    yield from self._tell_piece(piece)
                if event.type == "message.completed":
                    self.usage += _read_usage(event.data.get("usage"))
            case "approval.requested":
                yield from self._tell_request(event.data)
            case "tool.called":
                yield from self._tell_call(event.data)
            case "tool.completed":
                yield from self._tell_result(event.data)

    def _tell_piece(self, piece: Piece) -> Iterator[Told]:
        if piece.restarted and self._open is not None:
            yield from self._drop_open()
        if self._open is None and piece.text:
            yield from self._begin_message(piece.turn)
        if self._open is None:
            return
        item = self.items[self._open]
        if piece.text:
            item["content"][0]["text"] += piece.text
            self._number += len(piece.text)
            yield Told(
                self._number - 1,
                "response.output_text.delta",
                {**self._place(item), "content_index": 0, "delta": piece.text, "logprobs": []},
            )
        if piece.is_last:
            yield from self._end_message(item)

    def _begin_message(self, turn: int) -> Iterator[Told]:
        restarts = f"_{self._abandoned}" if self._abandoned else ""
        item = {
            "id": f"{name_message(self.run_id, turn)}{restarts}",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [_output_text("")],
        }
        yield self._add(item, shown={**item, "content": []})
        self._open = len(self.items) - 1
        yield self._next(
            "response.content_part.added",
            {**self._place(item), "content_index": 0, "part": _output_text("")},
        )

    def _end_message(self, item: dict[str, Any]) -> Iterator[Told]:
        text = item["content"][0]["text"]
        place = {**self._place(item), "content_index": 0}
        yield self._next("response.output_text.done", {**place, "text": text, "logprobs": []})
        yield self._next("response.content_part.done", {**place, "part": _output_text(text)})
        item["status"] = "completed"
        yield self._done(item)
        self._open = None

    def _drop_open(self) -> Iterator[Told]:
        """End a message that does not count: it was begun again, or the run has ended."""
        if self._open is None:
            return
        item = self.items[self._open]
        item["status"] = "incomplete"
        yield self._done(item)
        del self.items[self._open]
        self._abandoned += 1
        self._open = None

    def _tell_request(self, data: dict[str, Any]) -> Iterator[Told]:
        item = {
            "id": name_approval(self.run_id, data["tool_call_id"]),
            "type": "mcp_approval_request",
            **self._describe_call(data),
        }
        yield self._add(item)
        yield self._done(item)

    def _tell_call(self, data: dict[str, Any]) -> Iterator[Told]:
        call_id = data["tool_call_id"]
        item = {
            "id": name_call(self.run_id, call_id),
            "type": "mcp_call",
            "status": "in_progress",
            **self._describe_call(data),
            "approval_request_id": self._approved.get(call_id),
            "output": None,
            "error": None,
        }
        yield self._add(item, shown={**item, "arguments": ""})
        place, arguments = self._place(item), item["arguments"]
        yield self._next("response.mcp_call.in_progress", place)
        yield self._next("response.mcp_call_arguments.delta", {**place, "delta": arguments})
        yield self._next("response.mcp_call_arguments.done", {**place, "arguments": arguments})

    def _tell_result(self, data: dict[str, Any]) -> Iterator[Told]:
        name = name_call(self.run_id, data["tool_call_id"])
        item = next((item for item in self.items if item["id"] == name), None)
        if item is None:  # it was denied, or called in an earlier part
            yield from self._tell_call(data)
            item = self.items[-1]
        is_ok = data.get("outcome", "ok") == "ok"
        content = str(data.get("content", ""))
        item["status"] = "completed" if is_ok else "failed"
        item["output"] = content if is_ok else None
        item["error"] = None if is_ok else content
        yield self._next(f"response.mcp_call.{item['status']}", self._place(item))
        yield self._done(item)

    def _describe_call(self, data: dict[str, Any]) -> dict[str, Any]:
        """The server, the tool and the arguments of a call."""
        server, _, tool = str(data.get("name", "")).rpartition("/")
        written = self._arguments.get(data["tool_call_id"], str(data.get("arguments", "")))
        return {"server_label": server or AGENTS, "name": tool, "arguments": written}

    def _add(self, item: dict[str, Any], *, shown: dict[str, Any] | None = None) -> Told:
        self.items.append(item)
        body = {"output_index": self._index(item), "item": dict(shown or item)}
        return self._next("response.output_item.added", body)

    def _done(self, item: dict[str, Any]) -> Told:
        body = {"output_index": self._index(item), "item": _copy(item)}
        return self._next("response.output_item.done", body)

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"item_id": item["id"], "output_index": self._index(item)}

    def _index(self, item: dict[str, Any]) -> int:
        """The place of an item in the stream, where those that do not count have a place too."""
        return self.items.index(item) + self._abandoned

    def _next(self, kind: str, body: dict[str, Any]) -> Told:
        told = Told(self._number, kind, body)
        self._number += 1
        return told


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    """The item as it is now: its text may grow."""
    content = item.get("content")
    return {**item, "content": [dict(part) for part in content]} if content else dict(item)


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def make_message(run_id: str, turn: int, text: str) -> dict[str, Any]:
    """The item of a message that is complete."""
    return {
        "id": name_message(run_id, turn),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [_output_text(text)],
    }


def _read_usage(raw: Any) -> Usage:
    if not isinstance(raw, dict):
        return Usage()
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    return Usage(**{name: int(raw.get(name) or 0) for name in names})
