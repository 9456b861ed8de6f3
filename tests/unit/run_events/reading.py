"""How tests read the events of a run, through the route that clients use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld

STREAM_SECONDS = 10.0


async def ask(
    world: MemoryWorld, run_id: str, *, params: Mapping[str, str] | None = None, **headers: str
) -> func.HttpResponse:
    """The answer to GET /api/runs/{run_id}/events."""
    query = "&".join(f"{name}={value}" for name, value in (params or {}).items())
    return await world.main.run_events.get(
        func.HttpRequest(
            "GET",
            f"http://localhost/api/runs/{run_id}/events?{query}",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            params=dict(params or {}),
            route_params={"run_id": run_id},
            body=b"",
        )
    )


async def page(world: MemoryWorld, run_id: str, **params: str) -> dict[str, Any]:
    """One page of events, as JSON."""
    answer = await ask(world, run_id, params=params)
    assert answer.status_code == 200, answer.get_body()
    read: dict[str, Any] = json.loads(answer.get_body())
    return read


async def events_of(world: MemoryWorld, run_id: str) -> list[dict[str, Any]]:
    """All events of a run."""
    items: list[dict[str, Any]] = (await page(world, run_id))["items"]
    return items


async def stream(world: MemoryWorld, run_id: str, **headers: str) -> list[dict[str, Any]]:
    """All events of an ended run, as a stream tells them; each id and type is also in its data."""
    answer = await ask(world, run_id, accept="text/event-stream", **headers)
    assert isinstance(answer, StreamedResponse), answer.get_body()
    async with asyncio.timeout(STREAM_SECONDS):
        text = b"".join([piece async for piece in answer.pieces]).decode()
    return read_stream(text)


def read_stream(text: str) -> list[dict[str, Any]]:
    """The events in a text of Server-Sent Events."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in fields:
            event = json.loads(fields["data"])
            assert (fields["id"], fields["event"]) == (event["id"], event["type"])
            found.append(event)
    return found
