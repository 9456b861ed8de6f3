"""Records what goes over the bus: commands, postponed copies, replies and events of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from aos.adapters.bus.messages import (
    BusMessage,
    build_command_message,
    build_event_message,
    build_postponed_message,
    build_reply_message,
)
from aos.adapters.memory import (
    ManualClock,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemoryTables,
    MemoryTelemetry,
)
from aos.domain.codec import decode, encode
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    Event,
    Outgoing,
    Reply,
    RunEnded,
    read_command,
)
from aos.domain.runs.run import Run, RunStatus
from aos.ports.bus import ReceivedMessage
from aos.services.bookkeeping import Bookkeeping
from aos.services.replies import Replies
from tests.golden.kinds import Kind
from tests.golden.values import AT, COMMANDS, ERROR, FULL_RUN, LATER, MINIMAL_RUN, REPLY, TRACE

_TO_MAIN = ("RunEnded", "RequestRun", "CancelChild", "DeliverNotification")


def as_recorded(message: BusMessage) -> dict[str, Any]:
    """The message with its body as text; times and spans in words."""
    return {field.name: _plain(getattr(message, field.name)) for field in fields(message)}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode()
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds()} s"
        case Mapping():
            return dict(value)
        case _:
            return value


class RecordingBus:
    """A bus that keeps each message as the adapter hands it to the SDK."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, outgoing: Outgoing) -> None:
        """Keep a command."""
        self.sent.append(as_recorded(build_command_message(outgoing)))

    async def reply(self, reply: Reply) -> None:
        """Keep a reply."""
        self.sent.append(as_recorded(build_reply_message(reply)))

    async def publish(self, event: Event) -> None:
        """Keep an event."""
        self.sent.append(as_recorded(build_event_message(event)))

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Keep a postponed copy."""
        self.sent.append(as_recorded(build_postponed_message(message, at=at, attempt=attempt)))

    async def read_whole_body(self, message: ReceivedMessage) -> bytes:
        """The body."""
        return message.body


def _outgoing(name: str, which: str) -> Outgoing:
    command = COMMANDS[name][which]
    if name in _TO_MAIN:
        return Outgoing(queue=MAIN_QUEUE, command=command)
    if name in ("CallTool", "CancelCall"):
        return Outgoing(queue=MCP_QUEUE, command=command)
    due = LATER if which == "full" and name == "ContinueRun" else None
    return Outgoing(
        queue=REALM_QUEUE,
        session_id=command.conversation_id,
        scheduled_at=due,
        command=command,
    )


async def _write_command(outgoing: Outgoing) -> Any:
    return as_recorded(build_command_message(outgoing))


async def _read_command(recorded: Any) -> Outgoing:
    due = recorded["scheduled_at"]
    return Outgoing(
        queue=recorded["entity"],
        session_id=recorded["session_id"],
        scheduled_at=None if due is None else datetime.fromisoformat(due),
        command=read_command(recorded["body"].encode()),
    )


async def _write_outbox(outgoing: Outgoing) -> Any:
    return json.dumps(encode(outgoing))


async def _read_outbox(recorded: Any) -> Outgoing:
    return decode(Outgoing, json.loads(recorded))


async def _order_none(run: Run) -> None:
    """Transcripts are off, as is the default."""


async def _has_none(run_id: str) -> bool:
    """No task of A2A has a receiver."""
    return False


def replies_on(bus: RecordingBus) -> tuple[Replies, Bookkeeping]:
    """The service that answers, and the one that writes in batches, on an empty world in memory."""
    tables, ledger = MemoryTables(), MemoryLedger(MemoryTables())
    books = Bookkeeping(
        index=MemoryRunIndex(tables),
        ledger=ledger,
        pending=MemoryPendingStore(tables),
        bus=bus,
        pause=ManualClock().sleep,
        telemetry=MemoryTelemetry(),
    )
    replies = Replies(
        ledger=ledger,
        books=books,
        requests=MemoryRequestStore(tables),
        bus=bus,
        clock=ManualClock(),
        order_transcript=_order_none,
        has_receivers=_has_none,
        public_url="https://aos.example",
    )
    return replies, books


async def _write_end(ended: RunEnded) -> Any:
    """All that main sends at a run's end: the parent's result, the reply, the event."""
    bus = RecordingBus()
    replies, books = replies_on(bus)
    await replies.deliver(ended)
    await books.flush()
    return bus.sent


async def _write_refusal(given: tuple[ReceivedMessage, dict[str, Any]]) -> Any:
    message, body = given
    bus = RecordingBus()
    replies, _ = replies_on(bus)
    await replies.refuse(message, ERROR, run_id=MINIMAL_RUN.run_id, body=body)
    return bus.sent


async def _write_postponed(message: ReceivedMessage) -> Any:
    return as_recorded(build_postponed_message(message, at=AT, attempt=2))


_MINIMAL_RECEIVED = ReceivedMessage(
    entity="aos-requests", body=b"{}", message_id=None, sequence_number=9
)
_FULL_RECEIVED = ReceivedMessage(
    entity="aos-requests",
    body=b'{"agent_id":"ceo"}',
    message_id="m-1",
    sequence_number=8,
    delivery_count=3,
    correlation_id="c-1",
    session_id="s-1",
    reply_to="billing-replies",
    reply_to_session_id="s-2",
    content_type="application/json",
    expires_at=LATER,
    traceparent=TRACE,
    properties={"tenant": "a", "attempt": 1, "n": 1.5},
)


def _end(which: str) -> RunEnded:
    ended = COMMANDS["RunEnded"][which]
    assert isinstance(ended, RunEnded)
    return ended


_ENDS = {
    status.value: {
        "full": replace(_end("full"), run=replace(FULL_RUN, status=status)),
        "minimal": RunEnded(
            run=replace(MINIMAL_RUN, status=status), owner="key:laptop", reply=REPLY
        ),
    }
    for status in RunStatus
    if status.has_ended
}
_LARGE = replace(_end("minimal"), run=replace(MINIMAL_RUN, output="x" * 210_000))

MESSAGES: tuple[Kind, ...] = (
    *(
        Kind(
            name=f"bus/{name}",
            examples={which: _outgoing(name, which) for which in by_name},
            write=_write_command,
            read=_read_command,
        )
        for name, by_name in COMMANDS.items()
    ),
    *(
        Kind(
            name=f"outbox/{name}",
            examples={which: _outgoing(name, which) for which in by_name},
            write=_write_outbox,
            read=_read_outbox,
        )
        for name, by_name in COMMANDS.items()
    ),
    *(
        Kind(name=f"bus/end-{status}", examples=examples, write=_write_end)
        for status, examples in _ENDS.items()
    ),
    Kind(name="bus/end-too-large", examples={"minimal": _LARGE}, write=_write_end),
    Kind(
        name="bus/refused",
        examples={
            "full": (
                _FULL_RECEIVED,
                {"agent_id": "ceo", "conversation_id": "board", "metadata": {"a": 1}},
            ),
            "minimal": (_MINIMAL_RECEIVED, {}),
        },
        write=_write_refusal,
    ),
    Kind(
        name="bus/postponed",
        examples={"full": _FULL_RECEIVED, "minimal": _MINIMAL_RECEIVED},
        write=_write_postponed,
    ),
)
