"""The client for asyncio and the blocking one: the same methods, requests, errors and resumption.

Each test runs with both. `Both.call` and `Both.read` hide which of them it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aos.client import AosClient, AosClientError, AosUnreachable, AsyncAosClient, wire
from aos.errors import ConfigurationError
from tests.unit.client.stub_main import CUT, Say, StubMain, refusal

RUN: dict[str, Any] = {"run_id": "r1", "status": "completed", "output": "Sell."}
PAGE = Say(body={"items": [{"id": "1", "type": "run.queued"}], "next": None})
TOOLS = Say(body={"items": [{"server_id": "s1", "state": "ready"}], "next": None})
OWN = {"carry_out", "read_items"}
"""Methods of the transports."""


class Both:
    """One of the two clients; its waits are noted and not waited."""

    def __init__(self, url: str, kind: str) -> None:
        self.waits: list[float] = []
        self.kind = kind
        self._url = url

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method; the result, lists as lists."""
        if self.kind == "blocking":
            return await asyncio.to_thread(self._call_blocking, name, args, options)
        async with AsyncAosClient(url=self._url, key="s3cret", sleep=self._sleep) as client:
            found = getattr(client, name)(*args, **options)
            if isinstance(found, AsyncIterator):
                return [item async for item in found]
            return await found

    def _call_blocking(self, name: str, args: Any, options: Any) -> Any:
        client = AosClient(url=self._url, key="s3cret", sleep=self.waits.append)
        found = getattr(client, name)(*args, **options)
        return list(found) if inspect.isgenerator(found) else found

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture(params=["blocking", "asyncio"])
def both(main: StubMain, request: pytest.FixtureRequest) -> Both:
    return Both(main.url, request.param)


def event(number: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "run_id": "r1", "data": data}


def stream(*events: dict[str, Any], cut: str = "") -> Say:
    body = "".join(f": hi\n\nid: {e['id']}\ndata: {json.dumps(e)}\n\n" for e in events) + cut
    return Say(body=body.encode(), headers={"Content-Type": "text/event-stream"})


CARD = {"purpose": "Lead."}
CALLS: dict[str, tuple[Any, ...]] = {
    "ask": ("ceo", "Hello"),
    "stream": ("ceo", "Hello"),
    "start": ("ceo", "Hello"),
    "wait": ("r1",),
    "get_run": ("r1",),
    "events": ("r1",),
    "past_events": ("r1",),
    "cancel": ("r1",),
    "replay": ("r1",),
    "runs": (),
    "conversations": (),
    "conversation": ("c 1",),
    "messages": ("c/1",),
    "delete_conversation": ("c1",),
    "approvals": (),
    "decide": ("r1", "t1", "deny", "No."),
    "approve": ("r1", "t1"),
    "deny": ("r1", "t1", "No."),
    "questions": (),
    "answer": ("r1", "q1", {"seat": "1A"}),
    "agents": (),
    "agent": ("ceo",),
    "put_agent": ("ceo", CARD),
    "agent_versions": ("ceo",),
    "rollback_agent": ("ceo", "d1"),
    "delete_agent": ("ceo",),
    "mcp_servers": (),
    "mcp_server": ("s1",),
    "put_mcp_server": ("s1", CARD),
    "delete_mcp_server": ("s1",),
    "tools": (),
    "wait_for_tools": ("s1",),
    "usage": (),
    "dead_letters": (),
    "pause": ("Repair.",),
    "resume": (),
    "health": (),
    "status": (),
}
STREAMS = {"stream", "events"}


def test_each_method_is_in_both_clients_and_in_the_table_of_this_test() -> None:
    for kind, extra in ((AosClient, OWN), (AsyncAosClient, OWN | {"aclose"})):
        public = {name for name in dir(kind) if not name.startswith("_")}
        assert public - extra == CALLS.keys()
        for name in CALLS:
            assert inspect.getdoc(getattr(kind, name)), name
            assert "self" in inspect.signature(getattr(kind, name)).parameters
    assert inspect.iscoroutinefunction(AsyncAosClient.ask)


@pytest.mark.parametrize("name", CALLS)
async def test_both_clients_send_the_same_request_and_return_the_same(
    main: StubMain, name: str
) -> None:
    found = []
    for kind in ("blocking", "asyncio"):
        ended = stream(event("1", "run.queued"), event("2", "run.completed"))
        some = TOOLS if name == "wait_for_tools" else Say(body={**RUN, **PAGE.body})
        main.then(ended if name in STREAMS else some)
        found.append(await Both(main.url, kind).call(name, *CALLS[name]))
    assert found[0] == found[1]
    ours = ("accept", "content-type", "last-event-id", "x-functions-key", "accept-encoding")
    first, second = (
        (seen.method, seen.path, seen.body, [seen.headers.get(name) for name in ours])
        for seen in main.seen
    )
    assert first == second
    assert [("idempotency-key" in seen.headers) for seen in main.seen] == [
        name in ("ask", "stream", "start")
    ] * 2


async def test_a_retryable_fault_is_repeated_with_the_same_key(main: StubMain, both: Both) -> None:
    slow = Say(body=refusal("unavailable").body, status=503, headers={"Retry-After": "3"})
    cut = Say(body=b'{"run_id"', headers={"Content-Length": "500"})
    main.then(CUT, Say(body=b"<html>", status=502), slow, cut, Say(body=RUN))
    assert await both.call("ask", "ceo", "Hello") == RUN
    assert len(main.seen) == 5
    assert len({seen.headers["idempotency-key"] for seen in main.seen}) == 1
    assert both.waits[2] == 3.0
    assert 0.1 <= both.waits[0] <= 0.2


async def test_a_decision_whose_answer_is_lost_is_not_repeated(main: StubMain, both: Both) -> None:
    main.then(CUT)
    with pytest.raises(AosUnreachable):
        await both.call("approve", "r1", "t1")
    assert len(main.seen) == 1


async def test_a_refusal_has_code_message_advice_status_and_wait(
    main: StubMain, both: Both
) -> None:
    told = refusal("budget_spent", "the budget of 'ceo' is spent")
    main.then(Say(body=told.body, status=429, headers={"Retry-After": "60"}))
    with pytest.raises(AosClientError) as raised:
        await both.call("ask", "ceo", "Hello")
    error = raised.value
    assert (error.code, error.message) == ("budget_spent", "the budget of 'ceo' is spent")
    assert (error.status, error.retry_after, error.retryable) == (429, 60.0, False)
    assert error.advice == (
        "wait for the reset that the error names, or raise the budget; then ask again"
    )


async def test_nothing_there_is_said_at_once(both: Both) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(AosUnreachable) as raised:
        await Both(url, both.kind).call("status")
    assert str(raised.value) == (
        f"nothing answers at {url} (connection refused); start AOS with `make run`, or set"
        " another address with --url or AOS_URL"
    )


async def test_a_redirect_is_not_followed(main: StubMain, both: Both) -> None:
    main.then(Say(body=b"", status=302, headers={"Location": f"{main.url}/api/runs/x"}))
    with pytest.raises(AosUnreachable, match="answered 302"):
        await both.call("get_run", "r1")
    assert len(main.seen) == 1


async def test_a_stream_that_is_cut_goes_on_after_the_last_event(
    main: StubMain, both: Both
) -> None:
    half = 'id: 3\ndata: {"id": "3", "ty'
    main.then(
        CUT,
        stream(cut=half),
        stream(event("1", "run.queued"), event("2.1.1", "message.delta", text="Se"), cut=half),
        CUT,
        stream(event("3", "message.completed", content="Sell.")),
        stream(event("4", "run.completed")),
    )
    found = await both.call("stream", "ceo", "Hello", key="k-1", conversation_id="board")
    assert [item["id"] for item in found] == ["1", "2.1.1", "3", "4"]
    assert [(seen.method, seen.path) for seen in main.seen] == [
        *[("POST", "/api/agents/ceo/run")] * 3,
        *[("GET", "/api/runs/r1/events")] * 3,
    ]
    assert {seen.headers.get("idempotency-key") for seen in main.seen[:3]} == {"k-1"}
    assert [seen.body for seen in main.seen[:3]] == [
        {"message": "Hello", "stream": True, "conversation_id": "board"}
    ] * 3
    after = [seen.headers.get("last-event-id") for seen in main.seen]
    assert after == [None, None, None, "2.1.1", "2.1.1", "3"]


async def test_a_stream_that_is_never_begun_ends_with_an_error(main: StubMain, both: Both) -> None:
    main.then(refusal("agent_not_found"))
    with pytest.raises(AosClientError, match="no") as raised:
        await both.call("stream", "ceo", "Hello")
    assert raised.value.code == "agent_not_found"


async def test_a_stream_stops_after_its_time(main: StubMain, both: Both) -> None:
    main.then(*[stream()] * 2000)
    assert await both.call("stream", "ceo", "Hello", timeout_seconds=0.3) == []


async def test_a_run_that_waits_for_a_person_is_returned_if_wanted(
    main: StubMain, both: Both
) -> None:
    main.then(Say(body={**RUN, "status": "in_progress"}))
    main.then(Say(body={**RUN, "status": "waiting_approval"}))
    run = await both.call("wait", "r1", stop_for_people=True)
    assert run["status"] == "waiting_approval"


async def test_the_tools_of_a_server_are_waited_for(main: StubMain, both: Both) -> None:
    def listed(state: str) -> Say:
        servers = [{"server_id": "s0", "state": "ready"}, {"server_id": "s1", "state": state}]
        return Say(body={"items": servers, "next": None})

    main.then(PAGE, listed("starting"), listed("failed"))
    assert (await both.call("wait_for_tools", "s1"))["state"] == "failed"
    assert both.waits == [0.5, 0.5]
    main.then(PAGE)
    late = await both.call("wait_for_tools", "s1", timeout_seconds=0)
    assert late == {"server_id": "s1", "state": None, "tools": []}


async def test_files_are_read_and_sent(main: StubMain, both: Both, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    main.then(Say(body=RUN))
    await both.call("ask", "ceo", "Read.", files=[tmp_path / "a.txt"])
    assert [part["type"] for part in main.seen[0].body["message"]] == ["text", "file"]


async def test_many_tasks_ask_at_once_with_one_client(main: StubMain) -> None:
    """A pool of threads would let five at a time wait for their answers."""
    everybody = threading.Event()

    def answer(seen: Any) -> Say:
        if len(main.seen) == 40:
            everybody.set()
        return Say(body=RUN, after=everybody)

    main.then(*[answer] * 40)
    async with AsyncAosClient(url=main.url) as client:
        asks = [client.ask(f"a{n}", "Hello") for n in range(40)]
        runs = await asyncio.wait_for(asyncio.gather(*asks), 10)
    assert runs == [RUN] * 40


async def test_a_task_that_is_cancelled_leaves_nothing_behind(main: StubMain) -> None:
    main.then(*[Say(body={**RUN, "status": "in_progress"})] * 100)
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async with AsyncAosClient(url=main.url, sleep=sleep) as client:
        task = asyncio.create_task(client.ask("ceo", "Hello"))
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get_run("r1"))["run_id"] == "r1"


async def test_a_client_without_httpx2_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'aos\[async\]'"):
        await AsyncAosClient(url="http://127.0.0.1:9").status()


RUBBISH = {
    "not JSON": b"{rubbish",
    "a list": b"[1]",
    "null": b"null",
    "nested too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
async def test_an_answer_or_an_event_that_is_not_an_object_is_an_error_of_the_client(
    main: StubMain, both: Both, rubbish: bytes
) -> None:
    kind = {"Content-Type": "text/event-stream"}
    main.then(Say(body=rubbish), Say(body=b"data: " + rubbish + b"\n\n", headers=kind))
    with pytest.raises(AosUnreachable, match="not from AOS"):
        await both.call("get_run", "r1")
    with pytest.raises(AosUnreachable, match="not a JSON object"):
        await both.call("events", "r1")


@pytest.mark.parametrize("given", ["@127.0.0.2:9/x", "//127.0.0.2:9/x", "http://127.0.0.2:9/x"])
async def test_no_address_in_an_answer_leads_to_another_host(
    main: StubMain, both: Both, given: str
) -> None:
    started = {"run_id": "r1", "status": "running"}
    main.then(Say(body=started, status=202, headers={"Location": given}), Say(body=RUN))
    assert await both.call("ask", "ceo", "Hello") == RUN
    main.then(Say(body={"items": [], "next": given}), PAGE)
    assert len(await both.call("conversations")) == 1
    assert len(main.seen) == 4


@pytest.mark.parametrize("key", ["naïve", "a\nb", " "])
async def test_a_key_that_cannot_be_sent_is_said_before(
    main: StubMain, both: Both, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="Idempotency-Key"):
        await both.call("ask", "ceo", "Hello", key=key)
    assert main.seen == []


async def test_an_answer_that_does_not_end_is_given_up(
    main: StubMain, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10_000, 40))
    monkeypatch.setattr(wire, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    main.then(Say(body=RUN))
    with pytest.raises(AosUnreachable, match="did not end within"):
        await both.call("get_run", "r1")


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:s3cret@aos.example",
        "http://aos.example/?code=s3cret",
        "http://aos.example/#a",
        "http://aos example",
        "http://aos.example/é",
    ],
)
@pytest.mark.parametrize("kind", [AosClient, AsyncAosClient])
def test_an_address_that_is_not_plain_is_refused_and_tells_no_secret(kind: Any, url: str) -> None:
    with pytest.raises(ConfigurationError, match="not an address") as error:
        kind(url=url)
    assert "s3cret" not in str(error.value)


def test_one_client_for_asyncio_serves_several_event_loops() -> None:
    with keeping_connections() as url:
        client = AsyncAosClient(url=url)

        async def ask_once() -> None:
            assert (await client.get_run("r1"))["status"] == "completed"

        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        for loop in (first, second, first):
            loop.run_until_complete(ask_once())
        for loop in (first, second):
            loop.run_until_complete(client.aclose())
            loop.close()


async def test_a_client_that_is_closed_ends_its_streams_with_an_error(main: StubMain) -> None:
    main.then(stream(event("1", "run.queued")), stream(event("2", "turn.started")))
    client = AsyncAosClient(url=main.url)
    events = client.events("r1")
    assert (await anext(events))["id"] == "1"
    await client.aclose()
    with pytest.raises(AosUnreachable, match="was closed"):
        await anext(events)


@contextlib.contextmanager
def keeping_connections() -> Iterator[str]:
    """A server whose connections go on after an answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(RUN).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)
