"""Our clients of Python on real processes: streams through kills of realm and main, and the queue.

tests/e2e/test_python_face.py has the blocking client's other methods.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

from aos.client import AosClient, AsyncAosClient, AsyncQueueClient
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

TEXT = " ".join(f"word {number}" for number in range(60))
PAUSE_SECONDS = 0.03
"""Between two pieces of three letters: the text takes some 5 s."""
KILL_SECONDS = 60.0
Json = dict[str, Any]


async def test_streams_of_both_clients_go_through_kills_of_realm_and_main(
    road: Road, model: Model
) -> None:
    model.server.always(Say(TEXT, pause=PAUSE_SECONDS))
    agent = await asyncio.to_thread(road.live, f"ours-{uuid.uuid4().hex[:8]}")
    told: dict[str, list[Json]] = {"blocking": [], "asyncio": []}

    def read_blocking() -> None:
        for event in AosClient(url=road.main).stream(agent, "Tell."):
            told["blocking"].append(event)

    async def read_in_asyncio() -> None:
        async with AsyncAosClient(url=road.main) as client:
            async for event in client.stream(agent, "Tell."):
                told["asyncio"].append(event)

    def kill() -> None:
        for name in ("realm", "main"):
            seen = {kind: len(text_of(events)) for kind, events in told.items()}
            for kind, events in told.items():
                enough = partial(has_told, events, seen[kind] + 20)
                eventually(enough, seconds=KILL_SECONDS, what=f"text at {kind}")
            road.laptop.child(name).kill9()

    async with asyncio.timeout(KILL_SECONDS):
        await asyncio.gather(
            asyncio.to_thread(read_blocking), read_in_asyncio(), asyncio.to_thread(kill)
        )
    for kind, events in told.items():
        assert events[-1]["type"] == "run.completed", kind
        assert text_of(events) == TEXT
        ids = [event["id"] for event in events]
        assert len(ids) == len(set(ids))
        assert len({event["run_id"] for event in events}) == 1
        past = AosClient(url=road.main).past_events(events[0]["run_id"])
        saved = [event["id"] for event in await asyncio.to_thread(list, past)]
        assert [one for one in saved if "." not in one] == [one for one in ids if "." not in one]


def text_of(events: list[Json]) -> str:
    """The text that counts so far: that of the last attempt."""
    text = ""
    for event in events:
        if event["type"] == "attempt.started":
            text = ""
        elif event["type"] == "message.delta":
            text += event["data"]["text"]
    return text


def has_told(events: list[Json], characters: int) -> bool:
    return len(text_of(events)) > characters


async def test_many_tasks_ask_by_the_queue_at_once(road: Road, model: Model) -> None:
    agent = await asyncio.to_thread(road.live, f"ours-{uuid.uuid4().hex[:8]}")

    def echo(request: Request) -> Say:
        return Say(f"You said {request.messages[-1]['content']}")

    model.server.always(echo)
    connection = road.laptop.servicebus_connection_string
    async with AsyncQueueClient(connection_string=connection) as queue:
        asks = [queue.ask(agent, f"{number}", timeout_seconds=30) for number in range(8)]
        replies = await asyncio.gather(*asks)
    assert [reply["output"] for reply in replies] == [f"You said {n}" for n in range(8)]
