"""Writes a response as a stream of Server-Sent Events. Entry point: `write_stream`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from aos.domain.runs.run import AdmittedRequest
from aos.entrypoints.http.event_streams import COMMENT, Following, write_data
from aos.entrypoints.http.openai.errors import describe_error
from aos.entrypoints.http.openai.reading import conclude
from aos.entrypoints.http.openai.response_object import Asked, Outcome, describe_response
from aos.entrypoints.http.openai.unfolding import Told, Unfolding
from aos.entrypoints.http.responder import Explain

_ENDS = {"completed": "response.completed", "failed": "response.failed"}


async def write_stream(
    following: Following,
    request: AdmittedRequest,
    *,
    part: int,
    asked: Asked,
    after: int,
    explain: Explain,
) -> AsyncGenerator[bytes, None]:
    """Yield the stream's events whose number is over `after`, until the response is over.

    `explain` says what the client is told of an error.
    """
    unfolding = Unfolding(request.run_id, part=part)

    def describe(outcome: Outcome) -> dict[str, Any]:
        return {"response": describe_response(request, outcome, part=part, asked=asked)}

    begun = describe(Outcome(status="in_progress"))
    queued = describe(Outcome(status="queued")) if asked.background else begun
    beginning = (Told(0, "response.created", queued), Told(1, "response.in_progress", begun))
    for told in beginning:
        if told.number > after:
            yield _write(told)
    try:
        async with aclosing(_tell(following, unfolding, after=after)) as pieces:
            async for piece in pieces:
                yield piece
    except Exception as error:
        body = {**describe_error(explain(error).info, status=503), "type": "error"}
        yield _write(Told(unfolding.next_number, "error", body))
        return
    outcome = conclude(unfolding)
    end = Told(unfolding.next_number, _ENDS.get(outcome.status, "response.incomplete"), {})
    if end.number > after:
        yield _write(replace(end, body=describe(outcome)))


async def _tell(
    following: Following, unfolding: Unfolding, *, after: int
) -> AsyncGenerator[bytes, None]:
    async with aclosing(following) as events:
        async for event in events:
            if event is None:
                yield COMMENT
                continue
            for told in unfolding.read(event):
                rest = told.cut(after)
                if rest is not None:
                    yield _write(rest)
            if unfolding.is_over:
                return


def _write(told: Told) -> bytes:
    body = {**told.body, "sequence_number": told.number, "type": told.type}
    return write_data(body, name=told.type)
