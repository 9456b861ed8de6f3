"""Tells a run of AOS as the events of an AG-UI run. Entry point: `RunTelling`.

AG-UI 1.0: everything that is opened is closed before RUN_FINISHED, a message that was told cannot
be changed, and MESSAGES_SNAPSHOT states which messages there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from aos.domain.codec import encode
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.runs.waiting import Waiting
from aos.entrypoints.http.ag_ui.interrupts import Ask, make_interrupts, read_ask, read_closed
from aos.entrypoints.http.message_text import MessageText, Piece

AgUiEvent: TypeAlias = dict[str, Any]
PROTOCOL_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What is told to whom.

    `messages` are those that the client has, up to what is asked. `known` counts those of them that
    are in the conversation too. The client was told the events up to `told`. `answered` are what it
    has answered since. Without `run_id` the thread has no run that goes on.
    """

    thread_id: str
    client_run_id: str
    parent_run_id: str | None
    run_id: str | None
    messages: Sequence[Mapping[str, Any]]
    known: int
    told: EventId = field(default_factory=EventId)
    answered: frozenset[tuple[str, str]] = frozenset()


class RunTelling:
    """One telling of one run. `read` takes the run's events from its first one on."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._text = MessageText()
        self._turn = 0
        self._attempt = 1
        self._open: str | None = None
        """The id of the message that is being told."""
        self._said: list[dict[str, Any]] = []
        """The messages that were told whole."""
        self._asks: dict[tuple[str, str], Ask] = {}
        self._unanswered: dict[str, None] = {}
        """The calls that were told without their results."""
        self._known_results = {
            message.get("toolCallId")
            for message in telling.messages
            if message.get("role") == "tool"
        }
        self._last_id = "0"
        self._usage: dict[str, dict[str, int]] = {}
        self.lacks_messages = False
        """Whether the conversation has messages that the client has not."""
        self._compared = False
        self._waits: tuple[str, datetime] | None = None

    @property
    def asks(self) -> list[Ask]:
        """What people are asked now."""
        return [ask for ask in self._open_asks if not ask.is_of_client]

    @property
    def is_at_rest(self) -> bool:
        """Whether the run waits for people, or for nothing but tools of the application."""
        left_to_client = {ask.ask_id for ask in self._open_asks if ask.is_of_client}
        running = set(self._unanswered) - left_to_client
        return bool(self.asks) or (bool(left_to_client) and not running)

    @property
    def last_text(self) -> str:
        """The text of the last message that was told whole."""
        texts = (str(message["content"]) for message in reversed(self._said))
        return next(texts, "")

    def start(self, warnings: Iterable[str] = (), *, again: bool = False) -> list[AgUiEvent]:
        """Return the first events. `again`: the client may have been told a part before."""
        telling = self._telling
        started: AgUiEvent = {
            "type": "RUN_STARTED",
            **self._names,
            "protocolVersion": PROTOCOL_VERSION,
            "metadata": {"aos": self._own_names},
        }
        if telling.parent_run_id is not None:
            started["parentRunId"] = telling.parent_run_id
        warned = [write_custom("aos.warning", {"message": text}) for text in warnings]
        return [started, *([self._state_messages()] if again else []), *warned]

    def read(self, event: RunEvent) -> list[AgUiEvent]:
        """Return what the event means to the client; nothing for what it was told before."""
        told_before = event.event_id <= self._telling.told
        if not event.event_id.is_provisional:
            self._last_id = event.id
        ask, closed = read_ask(event), read_closed(event)
        if ask is not None:
            self._asks[ask.key] = ask
        elif closed is not None:
            self._asks.pop(closed, None)
        if event.type == "message.completed" and not told_before:
            self._compare(event.data["sequence"])
            self._count(event.data)
        found = [*self._tell_text(event), *self._tell_more(event)]
        if told_before:
            self._said.clear()
            return []
        for made in found:
            if made["type"] == "TOOL_CALL_START":
                self._unanswered[made["toolCallId"]] = None
        if event.type == "tool.completed":  # also where the client has the result already
            self._unanswered.pop(event.data["tool_call_id"], None)
        return found

    def wait(self, waiting: Waiting | None) -> list[AgUiEvent]:
        """Return what a run waits for that tells nothing for a while; nothing for the same again.

        A question behind a run that waits for a person would otherwise seem to hang.
        """
        if waiting is None or (waiting.kind, waiting.since) == self._waits:
            return []
        self._waits = waiting.kind, waiting.since
        return [write_custom("aos.waiting", encode(waiting))]

    def rest_now(self) -> list[AgUiEvent]:
        """Return the end of the AG-UI run that asks people, or leaves calls to the application."""
        if not self.asks:
            pending = {"pendingToolCallIds": list(self._unanswered)} if self._unanswered else {}
            return [self._finish({"type": "success", **pending})]
        run_id = str(self._telling.run_id)
        interrupts = make_interrupts(self.asks, run_id=run_id, told=self._last_id)
        return [self._finish({"type": "interrupt", "interrupts": interrupts})]

    def end(self, event: RunEvent, output: Any = None) -> list[AgUiEvent]:
        """Return the end for the run's last event. `output`: the object that the run has made."""
        closed = self._close_text()
        if event.type == "run.completed":
            states = [] if output is None else [{"type": "STATE_SNAPSHOT", "snapshot": output}]
            return [*closed, *states, self._finish({"type": "success"}, result=output)]
        if event.type == "run.cancelled":
            return [*closed, self._finish({"type": "cancelled"})]
        error = event.data.get("error") or {}
        code = str(error.get("code", event.type.removeprefix("run.")))
        return [*closed, self.fail(str(error.get("message", "the run failed")), code)]

    def rest(self) -> AgUiEvent:
        """Return the end for a thread in which no run goes on."""
        return self._finish({"type": "success"})

    def break_off(self, message: str, code: str) -> list[AgUiEvent]:
        """Return the end of an AG-UI run that cannot be told any further."""
        return [*self._close_text(), self.fail(message, code)]

    def fail(self, message: str, code: str) -> AgUiEvent:
        """Return the end of a run that failed."""
        return {"type": "RUN_ERROR", "message": message, "code": code, **self._tell_usage()}

    @property
    def _open_asks(self) -> list[Ask]:
        answered = self._telling.answered
        return [ask for key, ask in self._asks.items() if key not in answered]

    @property
    def _own_names(self) -> dict[str, str]:
        named = {"conversation_id": self._telling.thread_id}
        run_id = self._telling.run_id
        return named if run_id is None else {"run_id": run_id, **named}

    @property
    def _names(self) -> dict[str, str]:
        return {"threadId": self._telling.thread_id, "runId": self._telling.client_run_id}

    def _tell_text(self, event: RunEvent) -> list[AgUiEvent]:
        if event.turn is not None and event.turn != self._turn:
            self._turn, self._attempt = event.turn, 1
        piece = self._text.read(event)
        return [] if piece is None else self._tell_piece(piece)

    def _tell_piece(self, piece: Piece) -> list[AgUiEvent]:
        found: list[AgUiEvent] = []
        if piece.restarted and self._open is not None:
            found += [*self._close_text(), self._state_messages()]
            self._attempt += 1
        if piece.text and self._open is None:
            self._open = self._message_id
            start = {"type": "TEXT_MESSAGE_START", "messageId": self._open, "role": "assistant"}
            found.append(start)
        if piece.text:
            content = {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._open}
            found.append({**content, "delta": piece.text})
        return [*found, *(self._close_text() if piece.is_last else [])]

    def _tell_more(self, event: RunEvent) -> list[AgUiEvent]:
        match event.type:
            case "message.completed":
                return self._tell_calls(event.data)
            case "tool.completed":
                return self._tell_result(event.data)
            case "run.retrying":
                return [write_custom("aos.retrying", event.data)]
        return []

    def _tell_calls(self, data: Mapping[str, Any]) -> list[AgUiEvent]:
        """Return the tool calls of a message, and remember the message."""
        message: dict[str, Any] = {
            "id": self._message_id,
            "role": "assistant",
            "content": data.get("content", ""),
        }
        found: list[AgUiEvent] = []
        for call in data.get("tool_calls", ()):
            found += _tell_call(call, message["id"])
            message.setdefault("toolCalls", []).append(write_call(call))
        self._said.append(message)
        return found

    def _tell_result(self, data: Mapping[str, Any]) -> list[AgUiEvent]:
        """Return a call's result; nothing where the client has it, as of its own tools."""
        if data["tool_call_id"] in self._known_results:
            return []
        result = {
            "toolCallId": data["tool_call_id"],
            "content": data["content"],
            "role": "tool",
        }
        message_id = f"{data['tool_call_id']}.result"
        self._said.append({"id": message_id, **result})
        return [{"type": "TOOL_CALL_RESULT", "messageId": message_id, **result}]

    def _close_text(self) -> list[AgUiEvent]:
        if self._open is None:
            return []
        closed, self._open = self._open, None
        return [{"type": "TEXT_MESSAGE_END", "messageId": closed}]

    @property
    def _message_id(self) -> str:
        """The id of this turn's message, the same in every telling."""
        told = f"{self._telling.run_id}.{self._turn}"
        return told if self._attempt == 1 else f"{told}.{self._attempt}"

    def _state_messages(self) -> AgUiEvent:
        """Return which messages there are: without what an attempt began and did not end."""
        messages = [*self._telling.messages, *self._said]
        return {"type": "MESSAGES_SNAPSHOT", "messages": messages}

    def _compare(self, sequence: int) -> None:
        """Note whether the conversation had more messages before this one than the client."""
        if not self._compared:
            self._compared = True
            self.lacks_messages = sequence > self._telling.known + len(self._said)

    def _count(self, data: Mapping[str, Any]) -> None:
        usage = data.get("usage")
        if usage is None or data.get("model") is None:
            return
        counted = self._usage.setdefault(str(data["model"]), {"in": 0, "out": 0})
        counted["in"] += usage["input_tokens"]
        counted["out"] += usage["output_tokens"]

    def _finish(self, outcome: AgUiEvent, *, result: Any = None) -> AgUiEvent:
        finished = {"type": "RUN_FINISHED", **self._names, "outcome": outcome}
        more = {} if result is None else {"result": result}
        return {**finished, **more, **self._tell_usage()}

    def _tell_usage(self) -> dict[str, Any]:
        entries = [
            {
                "model": model,
                "inputTokens": counted["in"],
                "outputTokens": counted["out"],
                "totalTokens": counted["in"] + counted["out"],
            }
            for model, counted in self._usage.items()
        ]
        return {"usage": entries} if entries else {}


def write_custom(name: str, value: Any) -> AgUiEvent:
    """Return an event that AG-UI does not define."""
    return {"type": "CUSTOM", "name": name, "value": value}


def write_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call as an assistant's message holds it."""
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["tool_call_id"], "type": "function", "function": function}


def _tell_call(call: Mapping[str, Any], message_id: str) -> list[AgUiEvent]:
    named = {"toolCallId": call["tool_call_id"]}
    start = {"toolCallName": call["name"], "parentMessageId": message_id}
    return [
        {"type": "TOOL_CALL_START", **named, **start},
        {"type": "TOOL_CALL_ARGS", **named, "delta": call["arguments"]},
        {"type": "TOOL_CALL_END", **named},
    ]
