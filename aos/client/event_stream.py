"""Follows a run's event stream and reconnects where it was cut. Entry point: `follow_events`.

It reads Server-Sent Events (WHATWG HTML, section 9.2) as AOS writes them: lines that end with a
line feed, `data` in one line.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from aos.client.errors import AosUnreachable
from aos.client.transport import EVENT_STREAM, MAX_ANSWER_BYTES, Call, Transport

SILENCE_SECONDS = 45.0
"""AOS sends a comment every 15 s: after so long without one the connection is dead."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
RUN_ENDS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.timed_out"})
"""The types of a run's last event."""


def follow_events(
    transport: Transport,
    path: str,
    *,
    after: str | None = None,
    timeout_seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Any]]:
    """Yield the events after `after` as they happen, to the run's end or the end of the time.

    A connection that is cut is opened again with `Last-Event-ID`, so no event is missing and none
    comes twice. Raises AosClientError, and AosUnreachable if AOS is away for too long.
    """
    end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pause = FIRST_PAUSE_SECONDS
    while end is None or time.monotonic() < end:
        came = False
        for event in _read_once(transport, path, after=after, end=end):
            if event is None:
                return
            came, after = True, str(event.get("id"))
            yield event
            if event.get("type") in RUN_ENDS:
                return
        pause = FIRST_PAUSE_SECONDS if came else min(pause * 2, LONGEST_PAUSE_SECONDS)
        sleep(pause)


def _read_once(
    transport: Transport, path: str, *, after: str | None, end: float | None
) -> Iterator[dict[str, Any] | None]:
    """Yield the events of one connection until it is cut; None: there are no more at all."""
    headers = {"Accept": EVENT_STREAM}
    if after is not None:
        headers["Last-Event-ID"] = after
    left = SILENCE_SECONDS if end is None else max(0.1, end - time.monotonic())
    call = Call(
        method="GET", path=path, headers=headers, timeout_seconds=min(left, SILENCE_SECONDS)
    )
    try:
        with transport.open(call) as response:
            if response.status == 204:
                yield None
                return
            for data in read_event_data(response):
                if data is not None:
                    yield json.loads(data)
                if end is not None and time.monotonic() >= end:
                    return
    except (OSError, http.client.HTTPException):
        return


def read_event_data(response: http.client.HTTPResponse) -> Iterator[str | None]:
    """Yield the data of each whole event, and None for each comment. An event that the end of the
    stream cuts is dropped."""
    data: str | None = None
    while line := response.readline(MAX_ANSWER_BYTES):
        if not line.endswith(b"\n"):
            if len(line) == MAX_ANSWER_BYTES:
                raise AosUnreachable(f"an event has more than {MAX_ANSWER_BYTES} bytes")
            return
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith(":"):
            yield None
        elif text.startswith("data:"):
            data = text.removeprefix("data:").removeprefix(" ")
        elif not text and data is not None:
            yield data
            data = None
