"""`@ag-ui/client`, unmodified: texts through a kill of realm, an approval, a cancellation."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say
from tests.unit.ag_ui.client import check_events, text_of

CLIENT = Path(__file__).with_name("ag_ui_client.mjs")
TEXT = " ".join(f"word {number}" for number in range(40))
PAUSE_SECONDS = 0.03
"""Between two pieces of three letters: the text takes some 4 s."""
TURN_SECONDS = 60.0
Json = dict[str, Any]


class Browser:
    """One thread of an application that uses `@ag-ui/client`."""

    def __init__(self, road: Road, agent: str, thread: str | None = None) -> None:
        self.thread = thread or f"ag-ui-{uuid.uuid4().hex[:8]}"
        url = f"{road.main}/api/ag-ui/{agent}"
        self._process = subprocess.Popen(
            ["node", CLIENT, url, self.thread],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[Json] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.events: list[Json] = []

    def begin(self, **turn: Any) -> None:
        """Begin a turn."""
        assert self._process.stdin is not None
        self.events = []
        self._process.stdin.write(json.dumps(turn) + "\n")
        self._process.stdin.flush()

    def wait_for(self, kind: str) -> Json:
        """Return the next event of this type."""
        while True:
            line = self._lines.get(timeout=TURN_SECONDS)
            assert "event" in line, line
            self.events.append(line["event"])
            if line["event"]["type"] == kind:
                return self.events[-1]

    def end(self) -> Json:
        """Return what the client has at the end of the turn."""
        while "event" in (line := self._lines.get(timeout=TURN_SECONDS)):
            self.events.append(line["event"])
        check_events(self.events)
        done: Json = line["done"]
        return done

    def close(self) -> None:
        """End the client."""
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))


@pytest.fixture
def agent(road: Road, model: Model) -> str:
    model.server.always(Say(TEXT, pause=PAUSE_SECONDS))
    return road.live(f"ag-ui-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def browser(road: Road, agent: str) -> Iterator[Browser]:
    opened = Browser(road, agent)
    yield opened
    opened.close()


def test_the_text_goes_on_when_realm_is_killed_and_the_conversation_is_whole(
    road: Road, model: Model, browser: Browser, agent: str
) -> None:
    browser.begin(say="Tell.")
    browser.wait_for("TEXT_MESSAGE_CONTENT")
    child = road.laptop.child("realm")
    restarts = child.restarts
    child.kill9()
    eventually(lambda: child.restarts > restarts or None, seconds=5)
    done = browser.end()
    assert (done["error"], text_of(browser.events)) == (None, TEXT)
    model.says("More.")
    browser.begin(say="More?")
    done = browser.end()
    assert [m["content"] for m in done["messages"]] == ["Tell.", TEXT, "More?", "More."]
    path = f"/api/conversations/{browser.thread}/messages"
    items = road.call("GET", path).body["items"]
    assert [item["content"] for item in items] == [m["content"] for m in done["messages"]]
    other = Browser(road, agent, browser.thread)  # the page is loaded again
    try:
        other.begin(say="And?")
        assert [m["content"] for m in other.end()["messages"]][:4] == [i["content"] for i in items]
    finally:
        other.close()


def test_a_cancelled_run_ends_so(road: Road, browser: Browser) -> None:
    browser.begin(say="Tell.")
    started = browser.wait_for("RUN_STARTED")
    browser.wait_for("TEXT_MESSAGE_CONTENT")
    run_id = started["metadata"]["aos"]["run_id"]
    assert road.call("POST", f"/api/runs/{run_id}/cancel").status == 202
    done = browser.end()
    assert done["error"] is None
    assert browser.events[-1]["outcome"] == {"type": "cancelled"}


def mark_and_tell(request: Request) -> Say:
    """The model marks what it was asked to, then says what the tool said."""
    last = request.messages[-1]
    if last["role"] == "tool":
        return Say(f"the tool said: {last['content']}")
    return Say(calls=[(request.body["tools"][0]["function"]["name"], {"text": last["content"]})])


def test_an_interrupt_is_answered_and_the_run_goes_on(
    road: Road, model: Model, tmp_path: Path
) -> None:
    marks, name = tmp_path / "marks", uuid.uuid4().hex[:8]
    model.server.always(mark_and_tell)
    road.live_server(f"s-{name}", command=sys.executable, args=[NASTY, "--marks", str(marks)])
    grant = {"server": f"s-{name}", "tools": ["mark"], "approval": "always"}
    agent = road.live(f"a-{name}", mcp_tools=[grant])
    before = Browser(road, agent)
    try:
        before.begin(say="this")
        (first,) = before.end()["interrupts"]
    finally:
        before.close()
    browser = Browser(road, agent, before.thread)
    try:
        browser.begin()  # the page was loaded again
        (asked,) = browser.end()["interrupts"]
        assert asked["toolCallId"] == first["toolCallId"]
        assert asked["message"] == f"May the agent call s-{name}/mark?"
        assert not marks.exists()
        browser.begin(answers=[{"approved": True}])
        done = browser.end()
    finally:
        browser.close()
    assert (done["error"], done["interrupts"]) == (None, [])
    assert text_of(browser.events).startswith("the tool said: ")
    assert [m["role"] for m in done["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert marks.read_text().split() == ["this"]


def kill_and_await(road: Road, name: str) -> None:
    """Kill a process and wait until another takes requests in its place."""
    child = road.laptop.child(name)
    restarts = child.restarts
    child.kill9()
    eventually(lambda: child.restarts > restarts or None, seconds=10)

    def is_up() -> bool | None:
        try:
            return road.call("GET", "/api/status").status == 200 or None
        except OSError:
            return None

    eventually(is_up, seconds=20)


def test_a_call_of_the_pages_own_tool_outlives_the_processes(road: Road, model: Model) -> None:
    model.server.always(
        lambda request: (
            Say(f"You are in {request.messages[-1]['content']}.")
            if request.messages[-1]["role"] == "tool"
            else Say(calls=(("get_place", {}), ("get_place", {})))
        )
    )
    browser = Browser(road, road.live(f"ag-ui-{uuid.uuid4().hex[:8]}"))
    try:
        browser.begin(say="Where am I?", tools=[{"name": "get_place", "description": "Where."}])
        done = browser.end()
        assert (done["error"], len(done["pending"])) == (None, 2)
        for name in ("realm", "main"):
            kill_and_await(road, name)
        browser.begin(results=["Oslo", "Rome"])
        done = browser.end()
    finally:
        browser.close()
    assert (done["error"], done["pending"]) == (None, [])
    assert text_of(browser.events) == "You are in Rome."
    roles = [m["role"] for m in done["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]
