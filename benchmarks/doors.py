"""Measures what a door adds to a turn of the native route, and how soon OpenAI's client has the
first token. Entry point: `doors`.

The doors take turns in short blocks on one laptop, so that the load of the machine is the same for
all. A request and its answer go over one kept connection without an SDK: the cost of a client is
not the door's. A door that streams is compared with the native route as it streams.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.figures import Report, median, percentile
from benchmarks.streaming_model import Plan, read_token
from benchmarks.turns import PATH
from benchmarks.wire import Connection

ASKED = "What matters most?"
ANSWER = b"Measured, not guessed."
AGENT = "bench"
MOST_OVERHEAD = 1.15
FIRST_TOKEN_MILLISECONDS = 150.0
ROUNDS = 20
EACH = 10
FIRST_TOKENS = 20
MCP_REVISION = "2026-07-28"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How a turn is asked at a door; `beside` is what its time is compared with."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    beside: str | None = None


NATIVE, STREAMED = "native route", "native route, streamed"
EVENTS = {"Accept": "text/event-stream"}


def make_doors() -> dict[str, Door]:
    """Return a turn of each door, in a conversation of its own."""
    new = uuid.uuid4().hex
    chat = {"model": AGENT, "messages": [{"role": "user", "content": ASKED}]}
    responses = {"model": AGENT, "input": ASKED}
    message = {"messageId": new, "role": "ROLE_USER", "parts": [{"text": ASKED}]}
    return {
        NATIVE: Door(path=PATH, body={"message": ASKED}),
        "Responses": Door(path="/api/openai/v1/responses", body=responses, beside=NATIVE),
        "Chat Completions": Door(path="/api/openai/v1/chat/completions", body=chat, beside=NATIVE),
        "A2A": Door(
            path=f"/api/a2a/{AGENT}",
            body={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "SendMessage",
                "params": {"message": message},
            },
            headers={"A2A-Version": "1.0"},
            beside=NATIVE,
        ),
        "MCP": _make_mcp(),
        STREAMED: Door(path=PATH, body={"message": ASKED}, headers=EVENTS),
        "Responses, streamed": Door(
            path="/api/openai/v1/responses", body={**responses, "stream": True}, beside=STREAMED
        ),
        "Chat Completions, streamed": Door(
            path="/api/openai/v1/chat/completions", body={**chat, "stream": True}, beside=STREAMED
        ),
        "AG-UI": Door(
            path=f"/api/ag-ui/{AGENT}",
            body={
                "threadId": new,
                "runId": new,
                "messages": [{"id": "1", "role": "user", "content": ASKED}],
            },
            headers=EVENTS,
            beside=STREAMED,
        ),
    }


def _make_mcp() -> Door:
    tool = f"ask_{AGENT}"
    meta = {
        "io.modelcontextprotocol/protocolVersion": MCP_REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "benchmarks", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    called = {"name": tool, "arguments": {"message": ASKED}, "_meta": meta}
    return Door(
        path="/api/mcp",
        body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called},
        headers={
            "Accept": "application/json, text/event-stream",
            "mcp-protocol-version": MCP_REVISION,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        },
        beside=NATIVE,
    )


async def measure_turns(url: str, *, rounds: int, each: int) -> dict[str, list[float]]:
    """Return the milliseconds of turns, by door, in alternating blocks."""
    names = list(make_doors())
    found: dict[str, list[float]] = {name: [] for name in names}
    for number, name in itertools.product(range(rounds), names):
        async with Connection(url) as client:
            for _ in range(each):
                door = make_doors()[name]
                started = time.perf_counter()
                answer = await client.send(door.path, door.body, headers=door.headers)
                if ANSWER not in answer:
                    raise RuntimeError(f"{name} answered {answer[:500]!r}")
                if number or rounds == 1:  # the first block warms up
                    found[name].append((time.perf_counter() - started) * 1000)
    return found


async def measure_first_tokens(url: str, *, runs: int) -> list[float]:
    """Return how many milliseconds after the model wrote it OpenAI's client has the first token."""
    from openai import AsyncOpenAI

    found, plan = list[float](), Plan()
    async with AsyncOpenAI(base_url=f"{url}/api/openai/v1", api_key="any") as client:
        for number in range(runs + 1):
            stream = await client.responses.create(
                model=AGENT, input=plan.to_message(), stream=True
            )
            first = None
            async for event in stream:
                if event.type == "response.output_text.delta" and first is None:
                    first = (time.monotonic() - read_token(event.delta.split()[0])) * 1000
            if first is None:
                raise RuntimeError("a stream had no text")
            if number:  # the first one warms up
                found.append(first)
    return found


def doors(report: Report, root: Path) -> None:
    """Measure the doors beside the native route."""
    report.head("A turn at each door, beside the native route in the same run")
    report.figure("load of the machine before", f"{os.getloadavg()[0]:.1f}")
    with parts.instant_model() as model, parts.laptop(root=root / "turns", model=model) as laptop:
        found = asyncio.run(measure_turns(laptop.urls["main"], rounds=ROUNDS + 1, each=EACH))
    for name, door in make_doors().items():
        times = found[name]
        p50 = median(times)
        report.figure(f"{name}, p50 / p95", f"{p50:.1f} / {percentile(times, 0.95):.1f} ms")
        if door.beside is not None:
            ratio = p50 / median(found[door.beside])
            report.held(f"  over the {door.beside}", ratio, most=MOST_OVERHEAD, unit="times")
    with parts.paced_model() as model, parts.laptop(root=root / "tokens", model=model) as laptop:
        lags = asyncio.run(measure_first_tokens(laptop.urls["main"], runs=FIRST_TOKENS))
    report.figure("first token at OpenAI's client, p50", f"{median(lags):.0f} ms")
    report.held(
        "first token at OpenAI's client, p95",
        percentile(lags, 0.95),
        most=FIRST_TOKEN_MILLISECONDS,
        unit="ms",
    )
    report.figure("load of the machine after", f"{os.getloadavg()[0]:.1f}")
