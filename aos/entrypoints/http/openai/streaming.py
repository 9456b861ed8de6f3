"""Sends the streams of OpenAI's API. Entry points: `answer_stream`, `write_event`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from aos.domain.json_writer import write_json
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.event_streams import EVENT_STREAM, HEADERS
from aos.entrypoints.http.responder import Answer


async def answer_stream(pieces: AsyncGenerator[bytes, None], *, streams: bool) -> Answer:
    """Return the answer that is a stream of these pieces.

    Where an answer cannot be sent in pieces, it comes as a whole when the stream is over: clients
    of this API do not come again for the rest.
    """
    if streams:
        return Answer(body=None, stream=pieces, mimetype=EVENT_STREAM, headers=HEADERS)
    found: list[bytes] = []
    async with aclosing(pieces):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                async for piece in pieces:
                    found.append(piece)
    return Answer(body=None, raw=b"".join(found), mimetype=EVENT_STREAM, headers=HEADERS)


def write_event(body: Mapping[str, Any], *, name: str | None = None) -> bytes:
    """Return one event of a stream."""
    text = write_json(body, ensure_ascii=False, separators=(",", ":"))
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {text}\n\n".encode("utf-8", "replace")
