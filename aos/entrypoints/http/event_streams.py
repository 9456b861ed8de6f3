"""Writes a run's events as a stream of Server-Sent Events. Entry points: `stream_events`,
`wants_stream`.

WHATWG HTML, section 9.2: `id` is the event's id, `event` its type, `data` the event as JSON. A
client that was cut sends `Last-Event-ID` and gets the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
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
MOST_JOINED = 50
"""Events that are sent in one piece."""
Following: TypeAlias = AsyncGenerator[RunEvent | None, None]
"""What `CallerRuns.follow` yields."""
News: TypeAlias = AsyncGenerator[list[RunEvent], None]
"""What `CallerRuns.follow_together` yields."""
COMMENT = b": waiting\n\n"
"""Sent while nothing happens, so that proxies do not cut the connection."""


async def stream_events(
    news: News, request: AdmittedRequest, *, streams: bool, at_once: bool
) -> Answer:
    """Return the answer that tells the events of a run as they happen, until its end.

    `at_once`: the first events are there already, and go with the head. Without streams the answer
    ends with what is there, waiting a little for the first event: the client comes again with
    `Last-Event-ID`.
    """
    pieces = _write_pieces(news, request, at_once=at_once)
    return await answer_stream(pieces, streams=streams, least=1 if at_once else 2)


async def answer_stream(
    pieces: AsyncGenerator[bytes, None], *, streams: bool, least: int = 2
) -> Answer:
    """Return the answer that is an event stream of these pieces.

    Without streams it waits a little until there are `least` pieces, and ends with what is there.
    """
    if streams:
        return Answer(body=None, stream=pieces, mimetype=EVENT_STREAM, headers=HEADERS)
    return Answer(
        body=None, raw=await _collect(pieces, least), mimetype=EVENT_STREAM, headers=HEADERS
    )


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
    news: News, request: AdmittedRequest, *, at_once: bool
) -> AsyncGenerator[bytes, None]:
    """Write events that come together in one piece: each piece wakes every process on its way."""
    head = f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    if not at_once:
        yield head
        head = b""
    async with aclosing(news):
        async for events in news:
            for joined in _divide(events):
                yield head + b"".join(_write_event(request, event) for event in joined)
                head = b""
            if not events:
                yield head + COMMENT


def _divide(events: list[RunEvent]) -> Iterator[list[RunEvent]]:
    return (events[at : at + MOST_JOINED] for at in range(0, len(events), MOST_JOINED))


def _write_event(request: AdmittedRequest, event: RunEvent) -> bytes:
    text = write_json(describe_event(request, event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.type}\ndata: {text}\n\n".encode("utf-8", "replace")


async def _collect(pieces: AsyncGenerator[bytes, None], least: int) -> bytes:
    """Return what is there now; wait for the first pieces, but not for long."""
    found: list[bytes] = []
    async with aclosing(pieces):
        while True:
            patience = POLL_SECONDS if len(found) < least else 0.05
            try:
                async with asyncio.timeout(patience):
                    found.append(await anext(pieces))
            except (TimeoutError, StopAsyncIteration):
                return b"".join(found)
