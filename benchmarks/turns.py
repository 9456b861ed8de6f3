"""Measures turns: over HTTP, over the queue, with 8 and 32 clients, with a long history. Entry
point: `side_by_side`."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks.wire import Connection

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceiver

PATH = "/api/agents/bench/run"
REQUESTS = "aos-requests"
REPLIES = "businessinfinity-responses"
REPLY_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One measured turn: the caller's milliseconds, the time of its start, and the run object."""

    milliseconds: float
    began: float
    run: dict[str, Any]


async def one(client: Connection, *, conversation_id: str | None = None, path: str = PATH) -> Turn:
    """Run one turn over HTTP."""
    body: dict[str, Any] = {"message": "What matters most?"}
    if conversation_id is not None:
        body["conversation_id"] = conversation_id
    began, started = time.time(), time.perf_counter()
    run = await client.post(path, body)
    milliseconds = (time.perf_counter() - started) * 1000
    if run["status"] != "completed":
        raise RuntimeError(f"the run ended {run['status']}: {run.get('error')}")
    return Turn(milliseconds=milliseconds, began=began, run=run)


async def side_by_side(urls: dict[str, str], *, rounds: int, each: int) -> dict[str, list[Turn]]:
    """Run turns of one client on each of several servers, in alternating blocks."""
    found: dict[str, list[Turn]] = {name: [] for name in urls}
    for _ in range(rounds):
        for name, url in urls.items():
            async with Connection(url) as client:
                found[name] += [await one(client) for _ in range(each)]
    return found


async def with_a_tool(url: str, *, rounds: int, each: int) -> dict[str, list[float]]:
    """Return the milliseconds of runs without and with one tool call, in alternating blocks."""
    found: dict[str, list[float]] = {"without": [], "with": []}
    paths = {"without": PATH, "with": "/api/agents/bench-tools/run"}
    async with Connection(url) as client:
        for _, (name, path) in itertools.product(range(rounds), paths.items()):
            found[name] += [(await one(client, path=path)).milliseconds for _ in range(each)]
    return found


async def at_once(url: str, *, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Return the turns a second of this number of clients, each always in a new conversation, and
    the latencies."""
    ends = time.perf_counter() + seconds
    latencies: list[float] = []

    async def work() -> None:
        async with Connection(url) as client:
            while time.perf_counter() < ends:
                latencies.append((await one(client)).milliseconds)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return len(latencies) / (time.perf_counter() - started), latencies


async def grown(url: str, *, messages: int) -> str:
    """Make a conversation with this number of messages; return its id."""
    conversation_id = f"long-{uuid.uuid4().hex[:8]}"
    async with Connection(url) as client:
        for _ in range(messages // 2):
            await one(client, conversation_id=conversation_id)
    return conversation_id


async def by_history(
    url: str, conversations: dict[int, str], *, each: int
) -> dict[int, list[float]]:
    """Return the milliseconds of turns on conversations of different length, in alternation."""
    found: dict[int, list[float]] = {length: [] for length in conversations}
    async with Connection(url) as client:
        for _, (length, name) in itertools.product(range(each), conversations.items()):
            found[length].append((await one(client, conversation_id=name)).milliseconds)
    return found


def over_the_queue(connection_string: str, *, count: int) -> list[float]:
    """Return the milliseconds from sending a request to receiving its reply, one after the
    other."""
    from azure.servicebus import ServiceBusClient, ServiceBusMessage

    found = []
    with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_receiver(REPLIES) as replies,
        client.get_queue_sender(REQUESTS) as requests,
    ):
        replies.peek_messages()
        for number in range(count):
            key = f"bench-{uuid.uuid4().hex}"
            body = '{"version":1,"agent_id":"bench","message":"What matters most?"}'
            started = time.perf_counter()
            requests.send_messages(ServiceBusMessage(body, message_id=key, correlation_id=key))
            _reply(replies, key)
            if number:  # the first one opens the links
                found.append((time.perf_counter() - started) * 1000)
    return found


def _reply(replies: ServiceBusReceiver, key: str) -> None:
    deadline = time.monotonic() + REPLY_SECONDS
    while time.monotonic() < deadline:
        for message in replies.receive_messages(max_message_count=1, max_wait_time=5):
            replies.complete_message(message)
            if message.correlation_id == key:
                return
    raise RuntimeError("no reply on the queue")


def stages(turns: list[Turn]) -> dict[str, list[float]]:
    """Return the milliseconds of each stage of a turn, from the run's own times (in whole
    milliseconds)."""
    found: dict[str, list[float]] = {
        "received, until admitted": [],
        "stored, sent, accepted and loaded, until started": [],
        "model asked and end decided, until ended": [],
        "saved, sent to main, caller answered": [],
    }
    for turn in turns:
        moments = [
            turn.began,
            *(_seconds(turn.run[name]) for name in ("created_at", "started_at", "ended_at")),
            turn.began + turn.milliseconds / 1000,
        ]
        for name, before, after in zip(found, moments, moments[1:], strict=False):
            found[name].append((after - before) * 1000)
    return found


async def repeated(work: Callable[[], Awaitable[float]], *, times: int) -> list[float]:
    """Repeat the measurement; return the figures."""
    return [await work() for _ in range(times)]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
