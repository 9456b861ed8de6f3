"""Clients read a run's text while it is written; they miss nothing when realm and main die."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent, connect_sse

from aos.domain.runs.run_events import ENDS
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Say

READER = Path(__file__).with_name("read_events.mjs")
TEXT = " ".join(f"word {number}" for number in range(70))
PAUSE_SECONDS = 0.03
"""Between two pieces of three letters: the text takes some 7 s."""
KILL_SECONDS = 60.0
SSE = {"Accept": "text/event-stream"}


class Reader:
    """Reads a run's events in a thread until its end, and comes again when it is cut."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    def has(self, kind: str, *, after: int = 0) -> bool:
        return any(event["event"] == kind for event in self.events[after:])

    def wait(self) -> None:
        self._thread.join(KILL_SECONDS)
        assert self.events[-1]["event"] in ENDS.values(), self.ids

    def _run(self) -> None:
        raise NotImplementedError


class PythonReader(Reader):
    """httpx-sse."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__()

    def _run(self) -> None:
        waiting = threading.Event()
        with httpx.Client(timeout=30.0) as client:
            while not self.events or self.events[-1]["event"] not in ENDS.values():
                headers = {"Last-Event-ID": self.ids[-1]} if self.events else {}
                try:
                    _read(client, self._url, headers, self.events.append)
                except httpx.HTTPError:
                    waiting.wait(0.2)


class NodeReader(Reader):
    """npm eventsource-parser."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(["node", READER, url], stdout=subprocess.PIPE, text=True)
        super().__init__()

    def _run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))
        self._process.wait(10)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _read(client: httpx.Client, url: str, headers: dict[str, str], take: Any) -> None:
    with connect_sse(client, "GET", url, headers=headers) as source:
        if source.response.status_code >= 500:
            raise httpx.ReadError("main is starting")
        for event in _list_told(source):
            take(_keep(event))


def _list_told(source: EventSource) -> Iterator[ServerSentEvent]:
    """The events; httpx-sse also gives the `retry` at the beginning, which has no data."""
    return (event for event in source.iter_sse() if event.data)


def _keep(event: ServerSentEvent) -> dict[str, Any]:
    return {"id": event.id, "event": event.event, "data": event.json()}


@pytest.fixture
def agent(road: Road, model: Model) -> str:
    model.server.always(Say(TEXT, pause=PAUSE_SECONDS))
    return road.live(f"streams-{uuid.uuid4().hex[:8]}")


def read_whole(url: str, after: str = "0") -> list[dict[str, Any]]:
    """The events of an ended run after an id, as a new client gets them."""
    found: list[dict[str, Any]] = []
    with httpx.Client(timeout=30.0) as client:
        _read(client, url, {"Last-Event-ID": after}, found.append)
    return found


def last_attempt(events: list[dict[str, Any]]) -> str:
    """The text after the last begin of an attempt."""
    text = ""
    for event in events:
        if event["event"] == "attempt.started":
            text = ""
        elif event["event"] == "message.delta":
            text += event["data"]["data"]["text"]
    return text


def sort_key(event_id: str) -> list[int]:
    return [int(number) for number in event_id.split(".")]


@pytest.fixture
def readers(road: Road, agent: str) -> Iterator[tuple[str, PythonReader, NodeReader]]:
    run_id = road.ask(agent, "Tell.", wait_seconds=0, stream=True).body["run_id"]
    url = f"{road.main}/api/runs/{run_id}/events"
    node = NodeReader(url)
    yield run_id, PythonReader(url), node
    node.close()


def test_clients_miss_nothing_while_realm_and_main_are_killed(
    road: Road, readers: tuple[str, PythonReader, NodeReader]
) -> None:
    run_id, python, node = readers
    for name in ("realm", "main"):
        seen = len(python.events)
        eventually(
            lambda start=seen: (
                python.has("message.delta", after=start) and node.has("message.delta")
            ),
            seconds=KILL_SECONDS,
            what="text at both readers",
        )
        child = road.laptop.child(name)
        restarts = child.restarts
        child.kill9()
        eventually(lambda c=child, n=restarts: c.restarts > n or None, seconds=5)
        if name == "realm":
            seen = len(python.events)
            eventually(
                lambda start=seen: python.has("attempt.started", after=start),
                seconds=KILL_SECONDS,
                what="another attempt",
            )
    run = road.ended(run_id, seconds=KILL_SECONDS)
    python.wait()
    node.wait()
    whole = read_whole(f"{road.main}/api/runs/{run_id}/events")
    assert python.events == node.events == whole
    assert python.ids == sorted(set(python.ids), key=sort_key)
    saved = [event_id for event_id in python.ids if "." not in event_id]
    assert saved == [str(number) for number in range(1, len(saved) + 1)]
    assert last_attempt(python.events) == run["output"] == TEXT
    attempts = [e["data"]["data"]["attempt"] for e in whole if e["event"] == "attempt.started"]
    assert attempts == [1, 2]
    for place in range(0, len(whole) - 1, 7):
        rest = read_whole(f"{road.main}/api/runs/{run_id}/events", after=whole[place]["id"])
        assert rest == whole[place + 1 :]


def test_one_request_starts_a_run_and_streams_it(road: Road, model: Model, agent: str) -> None:
    url, body = f"{road.main}/api/agents/{agent}/run", {"message": "Tell."}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with httpx.Client(timeout=60.0) as client:

        def post() -> list[dict[str, Any]]:
            with connect_sse(client, "POST", url, json=body, headers=headers) as source:
                return [_keep(event) for event in _list_told(source)]

        first = post()
        assert last_attempt(first) == TEXT
        assert len([e for e in first if e["event"] == "message.delta"]) > 5
        assert post() == first  # a repeat streams the same run
        refused = client.post(url.replace(agent, "nobody"), json=body, headers=SSE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "agent_not_found")
