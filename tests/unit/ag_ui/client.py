"""An AG-UI client for tests: it checks every event by `ag-ui-protocol`'s types and by the rules of
AG-UI 1.0, and keeps the messages as `@ag-ui/client` does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import azure.functions as func
from ag_ui.core import Event, RunAgentInput
from pydantic import BaseModel, TypeAdapter

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld

Json = dict[str, Any]
READ_SECONDS = 10.0
_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


class AgUiClient:
    """One thread of one application."""

    def __init__(self, world: MemoryWorld, *, agent: str = "ceo", thread: str = "t") -> None:
        self.world = world
        self.agent = agent
        self.thread = thread
        self.messages: list[Json] = []
        self.state: Any = {}
        self.runs = 0

    def say(self, text: Any) -> None:
        """Add a message of the user."""
        self.messages.append({"id": f"u{len(self.messages)}", "role": "user", "content": text})

    async def run(self, **more: Any) -> list[Json]:
        """Run the agent with what was said, let everything happen, and return the events."""
        self.runs += 1
        body = {
            "threadId": self.thread,
            "runId": f"r{self.runs}",
            "messages": self.messages,
            "state": self.state,
            "tools": [],
            "context": [],
            "forwardedProps": {},
            **more,
        }
        RunAgentInput.model_validate(body)
        events = read_stream(await self.post(body))
        assert events[0]["threadId"] == self.thread
        assert events[0]["runId"] == body["runId"]
        self.apply(events)
        return events

    async def post(self, body: Any, **headers: str) -> str:
        """Send a body and return the text of the stream."""
        answer = await post(self.world, body, agent=self.agent, **headers)
        assert isinstance(answer, StreamedResponse), answer.get_body()
        await self.world.settle()
        return await _read(answer)

    async def post_and_read(self, body: Any) -> list[Json]:
        """Send a body, let everything happen, and return the events; they are not kept."""
        return read_stream(await self.post(body))

    async def resume(self, events: Sequence[Json], *answers: Any, **more: Any) -> list[Json]:
        """Answer the interrupts of a run in their order; None abandons one."""
        interrupts = events[-1]["outcome"]["interrupts"]
        entries = [
            {"interruptId": asked["id"], "status": "cancelled"}
            if answer is None
            else {"interruptId": asked["id"], "status": "resolved", "payload": answer}
            for asked, answer in zip(interrupts, answers, strict=True)
        ]
        return await self.run(resume=entries, **more)

    def apply(self, events: Sequence[Json]) -> None:
        """Keep what the events say, by the rules of the specification."""
        for event in events:
            self._apply(event)

    def _apply(self, event: Json) -> None:
        match event["type"]:
            case "TEXT_MESSAGE_START":
                self._message(event["messageId"])
            case "TEXT_MESSAGE_CONTENT":
                self._message(event["messageId"])["content"] += event["delta"]
            case "TOOL_CALL_START":
                calls = self._message(event["parentMessageId"]).setdefault("toolCalls", [])
                function = {"name": event["toolCallName"], "arguments": ""}
                calls.append({"id": event["toolCallId"], "type": "function", "function": function})
            case "TOOL_CALL_ARGS":
                (call,) = [
                    call
                    for message in self.messages
                    for call in message.get("toolCalls", ())
                    if call["id"] == event["toolCallId"]
                ]
                call["function"]["arguments"] += event["delta"]
            case "TOOL_CALL_RESULT":
                kept = {"role": "tool", "content": event["content"]}
                kept |= {"id": event["messageId"], "toolCallId": event["toolCallId"]}
                self.messages.append(kept)
            case "MESSAGES_SNAPSHOT":
                new = {message["id"]: message for message in event["messages"]}
                held = [new.pop(m["id"]) for m in self.messages if m["id"] in new]
                self.messages = [*held, *new.values()]
            case "STATE_SNAPSHOT":
                self.state = event["snapshot"]

    def _message(self, message_id: str) -> Json:
        for message in self.messages:
            if message["id"] == message_id:
                return message
        made: Json = {"id": message_id, "role": "assistant", "content": ""}
        self.messages.append(made)
        return made


async def post(
    world: MemoryWorld, body: Any, *, agent: str = "ceo", **headers: str
) -> func.HttpResponse:
    """POST /api/ag-ui/{agent_id}; what is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", "content-length": str(len(raw))}
    async with asyncio.timeout(READ_SECONDS):
        return await world.main.ag_ui.run(
            func.HttpRequest(
                "POST",
                f"http://localhost/api/ag-ui/{agent}",
                headers={**given, **headers},
                route_params={"agent_id": agent},
                body=raw,
            )
        )


async def read_answer(answer: func.HttpResponse) -> list[Json]:
    """The events of an answer."""
    assert isinstance(answer, StreamedResponse), answer.get_body()
    return read_stream(await _read(answer))


async def _read(answer: StreamedResponse) -> str:
    async with asyncio.timeout(READ_SECONDS):
        return b"".join([piece async for piece in answer.pieces]).decode()


def read_stream(text: str, *, whole: bool = True) -> list[Json]:
    """The events of a stream, checked; `whole`: the stream has its end."""
    events = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        assert block.startswith("data: ")
        assert "\n" not in block
        events.append(json.loads(block.removeprefix("data: ")))
    check_events(events, whole=whole)
    return events


def check_events(events: Sequence[Json], *, whole: bool = True) -> None:
    """Every event has its form, and they follow each other as AG-UI 1.0 demands."""
    for event in events:
        refuse_extras(_EVENT.validate_python(event), str(event))
    types = [event["type"] for event in events]
    assert types[0] == "RUN_STARTED"
    assert types.count("RUN_STARTED") == 1
    if whole:
        assert types[-1] in ("RUN_FINISHED", "RUN_ERROR")
    assert not {"RUN_FINISHED", "RUN_ERROR"} & set(types[:-1])
    opened: set[tuple[str, str]] = set()
    for event in events:
        kind, _, step = event["type"].rpartition("_")
        if kind not in ("TEXT_MESSAGE", "TOOL_CALL") or step == "RESULT":
            continue
        entity = (kind, event["messageId" if kind == "TEXT_MESSAGE" else "toolCallId"])
        assert (entity in opened) == (step != "START"), event
        if step == "START":
            opened.add(entity)
        elif step == "END":
            opened.remove(entity)
    assert not opened or not whole


def refuse_extras(value: Any, where: str) -> None:
    """The types keep fields that they do not know; AG-UI's schema allows none."""
    if isinstance(value, BaseModel):
        assert not value.model_extra, (value.model_extra, where)
        for name in type(value).model_fields:
            refuse_extras(getattr(value, name), where)
    elif isinstance(value, list):
        for item in value:
            refuse_extras(item, where)


def types_of(events: Sequence[Json]) -> list[str]:
    """The types of the events, repeats of one after itself left out."""
    types = [event["type"] for event in events]
    return [kind for place, kind in enumerate(types) if place == 0 or kind != types[place - 1]]


def text_of(events: Sequence[Json]) -> str:
    """The texts of the messages that the events tell."""
    return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")
