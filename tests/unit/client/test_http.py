"""The HTTP client: what it sends, what it repeats, how it follows a run, how it fails."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from aos.client import AosClient, AosClientError, AosUnreachable
from aos.client.address import find_address
from aos.errors import ConfigurationError
from tests.unit.client.stub_main import CUT, Say, StubMain, refusal

RUN: dict[str, Any] = {"run_id": "r1", "status": "completed", "output": "Sell."}
GOING = RUN | {"status": "in_progress", "output": ""}


def client(main: StubMain, **options: Any) -> AosClient:
    """A client that does not really wait between tries."""
    options.setdefault("sleep", lambda seconds: None)
    return AosClient(url=main.url, **options)


def test_a_run_is_asked_for_with_key_body_and_an_idempotency_key(main: StubMain) -> None:
    main.then(Say(body=RUN))
    run = client(main, key="s3cret").ask(
        "ceo", "What now?", conversation_id="board", metadata={"order": 7}, key="order-7"
    )
    assert run == RUN
    [seen] = main.seen
    assert (seen.method, seen.path) == ("POST", "/api/agents/ceo/run")
    assert seen.body == {
        "message": "What now?",
        "conversation_id": "board",
        "metadata": {"order": 7},
        "wait_seconds": 100,
    }
    assert seen.headers["idempotency-key"] == "order-7"
    assert seen.headers["x-functions-key"] == "s3cret"


def test_a_202_is_followed_by_its_location_on_our_own_address(main: StubMain) -> None:
    accepted = Say(
        body=GOING, status=202, headers={"Location": "https://elsewhere.example/api/runs/r1?x=1"}
    )
    main.then(accepted, Say(body=GOING), Say(body=RUN))
    assert client(main).ask("ceo", "Hello") == RUN
    assert [seen.path for seen in main.seen[1:]] == ["/api/runs/r1?x=1", "/api/runs/r1?x=1"]


def test_a_run_that_takes_longer_is_given_back_as_it_stands(main: StubMain) -> None:
    main.then(Say(body=GOING, status=202, headers={"Location": "/api/runs/r1"}))
    assert client(main).ask("ceo", "Hello", timeout_seconds=0)["status"] == "in_progress"
    assert main.seen[0].body["wait_seconds"] == 0
    main.then(Say(body=RUN))
    assert client(main).wait("r1") == RUN


def test_a_start_does_not_wait(main: StubMain) -> None:
    main.then(Say(body=GOING, status=202))
    assert client(main).start("ceo", "Hello") == GOING
    assert len(main.seen) == 1


def test_transient_failures_are_repeated_under_the_same_key(main: StubMain) -> None:
    main.then(
        Say(body=GOING),
        refusal("unavailable"),
        Say(body=b"<html>bad gateway</html>", status=502),
        CUT,
        refusal("conversation_full"),
        Say(body=RUN),
    )
    asking = client(main)
    asking.get_run("r1")
    assert asking.ask("ceo", "Hello") == RUN
    asks = main.seen[1:]
    assert len(asks) == 5
    keys = {seen.headers["idempotency-key"] for seen in asks}
    assert len(keys) == 1
    main.then(Say(body=RUN))
    asking.ask("ceo", "Hello")
    assert len({*keys, main.seen[-1].headers["idempotency-key"], ""}) == 3


def test_the_waits_between_tries_grow_and_obey_retry_after(main: StubMain) -> None:
    waits: list[float] = []
    asking = client(main, sleep=waits.append)
    hurry = refusal("unavailable")
    main.then(hurry, hurry, Say(body=hurry.body, status=503, headers={"Retry-After": "3"}))
    main.then(Say(body=RUN))
    asking.get_run("r1")
    assert 0.1 <= waits[0] <= 0.2
    assert 0.2 <= waits[1] <= 0.4
    assert waits[2] == 3.0


def test_a_failure_that_lasts_is_raised_when_the_budget_is_spent(main: StubMain) -> None:
    main.then(*[refusal("paused", "paused by the operator")] * 50)
    with pytest.raises(AosClientError, match="paused by the operator") as error:
        client(main, retry_seconds=0.3).get_run("r1")
    assert (error.value.code, error.value.status, error.value.retryable) == ("paused", 503, True)
    assert len(main.seen) < 50


@pytest.mark.parametrize("code", ["agent_not_found", "conversation_busy", "budget_spent"])
def test_a_refusal_is_raised_at_once_with_the_wires_error(main: StubMain, code: str) -> None:
    main.then(refusal(code, "this is why", near="cfo"))
    with pytest.raises(AosClientError, match="this is why") as error:
        client(main).ask("ceo", "Hello")
    assert (error.value.code, error.value.info.details) == (code, {"near": "cfo"})
    assert len(main.seen) == 1


def test_a_code_of_a_newer_aos_is_kept_and_read_by_its_status(main: StubMain) -> None:
    error = {"code": "moon_phase", "message": "wait", "type": "caller", "retryable": False}
    main.then(Say(body={"error": error}, status=409))
    with pytest.raises(AosClientError) as raised:
        client(main).get_run("r1")
    assert (raised.value.code, raised.value.error["code"]) == ("invalid_request", "moon_phase")


def test_a_key_that_the_host_refuses_is_said_so(main: StubMain) -> None:
    main.then(Say(body=b"", status=401))
    with pytest.raises(AosClientError, match="--key or AOS_KEY") as error:
        client(main).get_run("r1")
    assert error.value.code == "unauthorized"


def test_an_answer_that_is_not_of_aos_is_said_so(main: StubMain) -> None:
    main.then(Say(body=b"hello", status=200))
    with pytest.raises(AosUnreachable, match="answered 200, but the answer is not from AOS"):
        client(main).get_run("r1")


def test_a_redirect_is_not_followed_for_it_would_carry_the_key_away(main: StubMain) -> None:
    main.then(Say(body=b"", status=302, headers={"Location": f"{main.url}/api/runs/x"}))
    with pytest.raises(AosUnreachable, match="answered 302"):
        client(main, key="s3cret").get_run("r1")
    assert len(main.seen) == 1


def test_nothing_there_is_one_line_that_says_what_to_start() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(AosUnreachable) as error:
        AosClient(url=url).status()
    assert str(error.value) == (
        f"nothing answers at {url} (connection refused); start AOS with `make run`, or set"
        " another address with --url or AOS_URL"
    )


def test_a_main_that_was_there_and_is_restarted_is_waited_for(main: StubMain) -> None:
    waits: list[float] = []

    def restart(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            main.then(Say(body=RUN))
            revived.append(_listen_again(main))

    revived: list[HTTPServer] = []
    asking = client(main, sleep=restart)
    main.then(Say(body=GOING))
    asking.get_run("r1")
    port = main.server.server_address[1]
    main.server.shutdown()
    main.server.server_close()
    assert asking.get_run("r1")["status"] == "completed"
    assert len(waits) >= 3
    assert revived[0].server_address[1] == port
    revived[0].shutdown()
    revived[0].server_close()


def _listen_again(main: StubMain) -> HTTPServer:
    handler: type[BaseHTTPRequestHandler] = main.server.RequestHandlerClass  # type: ignore[assignment]
    server = HTTPServer(("127.0.0.1", int(main.server.server_address[1])), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def test_a_change_at_an_etag_is_not_repeated_after_a_lost_answer(main: StubMain) -> None:
    asking = client(main)
    main.then(Say(body={}), CUT)
    asking.status()
    with pytest.raises(AosUnreachable):
        asking.put_agent("ceo", {"agent_id": "ceo"}, if_match='"0x1"')
    assert [seen.method for seen in main.seen] == ["GET", "PUT"]
    main.then(CUT, Say(body={"state": "active"}))
    assert asking.put_agent("ceo", {"agent_id": "ceo"}) == {"state": "active"}


def test_lists_are_read_page_by_page_as_far_as_wanted(main: StubMain) -> None:
    first = {"items": [{"run_id": "1"}, {"run_id": "2"}], "next": "/api/runs?after=2"}
    last = {"items": [{"run_id": "3"}], "next": None}
    main.then(Say(body=first), Say(body=last))
    found = list(client(main).runs(agent_id="ceo", status="failed", since="2030-01-01T00:00:00Z"))
    assert [run["run_id"] for run in found] == ["1", "2", "3"]
    assert [seen.path for seen in main.seen] == [
        "/api/runs?agent_id=ceo&status=failed&since=2030-01-01T00%3A00%3A00Z",
        "/api/runs?after=2",
    ]
    main.then(Say(body=first))
    assert [run["run_id"] for run in client(main).runs(limit=2)] == ["1", "2"]
    assert len(main.seen) == 3


def test_every_other_call_has_its_method_and_path(main: StubMain) -> None:
    asking = client(main)
    page = Say(body={"items": [{"digest": "d"}], "next": None})
    main.then(Say(body=RUN, status=202), page, Say(body={}), page, page, page, Say(body={}))
    main.then(Say(body={}), Say(body={"status": "unhealthy"}, status=503), Say(body={}))
    asking.cancel("r1")
    assert list(asking.conversations()) == [{"digest": "d"}]
    asking.conversation("a b")
    assert list(asking.messages("a/b")) == [{"digest": "d"}]
    assert list(asking.agents()) == [{"digest": "d"}]
    assert asking.agent_versions("ceo") == [{"digest": "d"}]
    asking.rollback_agent("ceo", "d")
    asking.put_agent("ceo", b"{}", dry_run=True, only_new=True)
    assert asking.health() == {"status": "unhealthy"}
    asking.status()
    assert [(seen.method, seen.path) for seen in main.seen] == [
        ("POST", "/api/runs/r1/cancel"),
        ("GET", "/api/conversations"),
        ("GET", "/api/conversations/a%20b"),
        ("GET", "/api/conversations/a%2Fb/messages"),
        ("GET", "/api/agents"),
        ("GET", "/api/agents/ceo/versions"),
        ("POST", "/api/agents/ceo/rollback"),
        ("PUT", "/api/agents/ceo?dry_run=true"),
        ("GET", "/api/health"),
        ("GET", "/api/status"),
    ]
    assert main.seen[7].headers["if-none-match"] == "*"


def test_the_address_comes_from_the_arguments_then_the_environment_then_the_laptop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert AosClient().url == "http://127.0.0.1:7071"
    monkeypatch.setenv("AOS_URL", "https://aos.example/api/")
    assert AosClient().url == "https://aos.example"
    assert AosClient(url="http://localhost:1").url == "http://localhost:1"
    with pytest.raises(ConfigurationError, match="is not an address of AOS"):
        AosClient(url="localhost:7071")


def test_the_key_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOS_KEY", "s3cret")
    address = find_address()
    assert address.key == "s3cret"
    assert "s3cret" not in repr(address)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    main: StubMain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    main.then(Say(body=RUN))
    assert client(main).get_run("r1") == RUN
