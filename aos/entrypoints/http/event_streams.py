"""Writes a run's events as a stream of Server-Sent Events. Entry points: `stream_events`,
`wants_stream`.

WHATWG HTML, section 9.2: `id` is the event's id, `event` its type, `data` the event as JSON. A
client that was cut sends `Last-Event-ID` and gets the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

from aos.domain.codec import encode
from aos.domain.json_writer import write_json
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.responder import Answer, Call
from aos.errors import Refused

EVENT_STREAM = "text/event-stream"
RETRY_MILLISECONDS = 1000
"""After so long a browser connects again."""
POLL_SECONDS = 20.0
"""Where answers cannot be streamed, a request for a stream waits so long for the next event."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Following: TypeAlias = AsyncGenerator[RunEvent | None, None]
COMMENT = b": waiting\n\n"
"""Sent while nothing happens, so that proxies do not cut the connection."""


async def stream_events(following: Following, request: AdmittedRequest, *, streams: bool) -> Answer:
    """Return the answer that tells the events of a run as they happen, until its end.

    Without streams it ends with what is there, waiting a little for the first: the client comes
    again with `Last-Event-ID`.
    """
    return await answer_stream(_write_pieces(following, request), streams=streams)


async def answer_stream(pieces: AsyncGenerator[bytes, None], *, streams: bool) -> Answer:
    """Return the answer that is an event stream of these pieces."""
    if streams:
        return Answer(body=None, stream=pieces, mimetype=EVENT_STREAM, headers=HEADERS)
    return Answer(body=None, raw=await _collect(pieces), mimetype=EVENT_STREAM, headers=HEADERS)


async def answer_whole_stream(pieces: AsyncGenerator[bytes, None], *, streams: bool) -> Answer:
    """Return the answer that is an event stream of these pieces, for clients that do not come again
    for the rest: without streams it comes as a whole when it is over."""
    if streams:
        return await answer_stream(pieces, streams=True)
    found: list[bytes] = []
    async with aclosing(pieces):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                async for piece in pieces:
                    found.append(piece)
    return Answer(body=None, raw=b"".join(found), mimetype=EVENT_STREAM, headers=HEADERS)


def write_data(body: Mapping[str, Any], *, name: str | None = None) -> bytes:
    """Return one event of another protocol's stream: its `data`, and its `event` if it has one."""
    text = write_json(body, ensure_ascii=False, separators=(",", ":"))
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")


def wants_stream(call: Call) -> bool:
    """Whether the caller accepts an event stream rather than JSON."""
    kinds = (kind.lower().split(";") for kind in (call.header("accept") or "").split(","))
    return any(kind.strip() == EVENT_STREAM and not _is_refused(rest) for kind, *rest in kinds)


def _is_refused(parameters: Sequence[str]) -> bool:
    """Whether a kind's parameters say q=0, which means anything but this."""
    return any(re.fullmatch(r"q=0(\.0{0,3})?", item.strip()) for item in parameters)


def describe_event(request: AdmittedRequest, event: RunEvent) -> dict[str, object]:
    """Return the event as clients get it."""
    named = {
        "run_id": request.run_id,
        "conversation_id": request.conversation_id,
        "agent_id": request.agent_id,
    }
    return {**encode(event), **named}


def read_after(call: Call) -> EventId:
    """Return the id after which the caller reads. Raises Refused `invalid_request`."""
    asked = call.request.params.get("after")
    name = "after" if asked else "Last-Event-ID"
    text = asked or call.header("last-event-id") or "0"
    read = EventId.parse(str(text).strip())
    if read is None:
        raise Refused(
            "invalid_request",
            f"{name} is {str(text)[:40]!r}; send the id of an event, such as 12 or 4.1.7",
        )
    return read


async def _write_pieces(
    following: Following, request: AdmittedRequest
) -> AsyncGenerator[bytes, None]:
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    async with aclosing(following) as events:
        async for event in events:
            yield COMMENT if event is None else _write_event(request, event)


def _write_event(request: AdmittedRequest, event: RunEvent) -> bytes:
    text = write_json(describe_event(request, event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.type}\ndata: {text}\n\n".encode("utf-8", "replace")


async def _collect(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """Return what is there now; if it is nothing, wait for the first piece, but not for long."""
    found: list[bytes] = []
    async with aclosing(pieces):
        while True:
            patience = POLL_SECONDS if len(found) < 2 else 0.05
            try:
                async with asyncio.timeout(patience):
                    found.append(await anext(pieces))
            except (TimeoutError, StopAsyncIteration):
                return b"".join(found)
