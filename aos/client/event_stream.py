"""Follows a run's event stream and reconnects where it was cut. Entry point: `follow_events`.

It reads Server-Sent Events (WHATWG HTML, section 9.2) as AOS writes them: lines that end with a
line feed, `data` in one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from aos.client.errors import AosUnreachable
from aos.client.flows import Flow, Item, Pause
from aos.client.waits import SILENCE_SECONDS
from aos.client.wire import (
    EVENT_STREAM,
    MAX_ANSWER_BYTES,
    Call,
    NoAnswer,
    Read,
    Sender,
    parse_object,
)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
RUN_ENDS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.timed_out"})
"""The types of a run's last event."""


def follow_events(
    sender: Sender,
    make_call: Callable[[str | None], Call],
    *,
    after: str | None = None,
    timeout_seconds: float | None = None,
) -> Flow[None]:
    """Yield the events after `after` as they happen, to the run's end or the end of the time.

    `make_call` makes the request for a stream, given the run's id if it is known. A connection that
    is cut is opened again with `Last-Event-ID`, so no event is missing and none comes twice. Raises
    AosClientError, and AosUnreachable if AOS is away for too long.
    """
    end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause, run_id = FIRST_PAUSE_SECONDS, None
    while end is None or time.monotonic() < end:
        call = _go_on(make_call(run_id), after, end)
        came = False
        head = yield from sender.open(call)
        if head.status == 204:
            return
        reader = EventReader()
        while not _is_over(end):
            chunk: bytes | NoAnswer = yield Read()
            if isinstance(chunk, NoAnswer) or not chunk:
                break
            for event in reader.feed(chunk):
                came, after, run_id = True, str(event.get("id")), str(event.get("run_id"))
                yield Item(event)
                if event.get("type") in RUN_ENDS:
                    return
        pause = FIRST_PAUSE_SECONDS if came else min(pause * 2, LONGEST_PAUSE_SECONDS)
        yield Pause(pause)


def _is_over(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end


def _go_on(call: Call, after: str | None, end: float | None) -> Call:
    """Return the call for the events after `after`, within the time that is left."""
    headers = {**call.headers, "Accept": EVENT_STREAM}
    if after is not None:
        headers["Last-Event-ID"] = after
    left = SILENCE_SECONDS if end is None else max(0.1, end - time.monotonic())
    return replace(call, headers=headers, timeout_seconds=min(left, SILENCE_SECONDS))


class EventReader:
    """Reads events from the bytes of a stream. An event that the end of the bytes cuts is
    dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: str | None = None

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that `chunk` completes. Comments are skipped."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_ANSWER_BYTES:
            raise AosUnreachable(f"an event has more than {MAX_ANSWER_BYTES} bytes")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            if text.startswith("data:"):
                self._data = text.removeprefix("data:").removeprefix(" ")
            elif not text and self._data is not None:
                data, self._data = self._data, None
                event = parse_object(data)
                if event is None:
                    raise AosUnreachable(f"an event is not a JSON object: {data[:80]!r}")
                yield event
