"""HTTP on the local Functions host is HTTP on Azure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.functions.hosting import (
    STOP_SECONDS,
    Running,
    free_port,
    running_app,
    start_host,
    until,
)
from tests.unit.functions.conftest import write_app

APP = """
@app.route("seen/{name?}", methods=["GET", "POST"])
def seen(req: func.HttpRequest) -> func.HttpResponse:
    answer = {"method": req.method, "url": req.url, "headers": dict(req.headers),
              "params": dict(req.params), "route": dict(req.route_params),
              "body": req.get_body().decode()}
    return func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json",
                             headers={"X-Own": "yes", "Content-Length": "3"})

@app.route("cookie")
def cookie(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse(status_code=204)
    answer.headers.add("Set-Cookie", "a=1; Path=/")
    answer.headers.add("Set-Cookie", "b=2; Path=/")
    return answer

@app.route("text")
def text(req: func.HttpRequest) -> str:
    return "plain"

@app.route("broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("as intended")

@app.route("dict")
def returns_dict(req: func.HttpRequest):
    return {"a": 1}

@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    note("slow.begins")
    await asyncio.sleep(float(req.params["seconds"]))
    note("slow.ends")
    return func.HttpResponse("done")

@app.route("stuck")
def stuck(req: func.HttpRequest) -> func.HttpResponse:
    note("stuck.begins")
    time.sleep(60)
    return func.HttpResponse("never")

@app.timer_trigger("timer", "* * * * * *")
async def tick(timer: func.TimerRequest) -> None:
    note("tick", past_due=timer.past_due)
"""

KEYED = """
@app.route("open", auth_level=func.AuthLevel.ANONYMOUS)
def opened(req: func.HttpRequest) -> str: return "open"

@app.route("keyed", auth_level=func.AuthLevel.FUNCTION)
def keyed(req: func.HttpRequest) -> str: return req.headers.get("x-functions-key", "none")

@app.route("master", auth_level=func.AuthLevel.ADMIN)
def master(req: func.HttpRequest) -> str: return "master"
"""


def _ask_in_vain(app: Running, path: str) -> None:
    with contextlib.suppress(OSError):
        app.request("GET", path)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_app(tmp_path_factory.mktemp("http") / "app", APP) as running:
        yield running


def test_a_request_arrives_as_azures_host_hands_it_over(app: Running) -> None:
    status, headers, body = app.request(
        "POST",
        "/api/Seen/a%20b?q=1&Q=2&q=&empty=&code=k",
        body=b"{}",
        headers={
            "X-Mixed-Case": "V",
            "X-MS-CLIENT-PRINCIPAL": "forged",
            "X-MS-CLIENT-PRINCIPAL-ID": "forged",
            "Content-Encoding": "gzip",
        },
    )
    seen = json.loads(body)
    assert (status, headers["x-own"], headers["content-type"]) == (201, "yes", "application/json")
    assert (seen["method"], seen["body"], seen["route"]) == ("POST", "{}", {"name": "a b"})
    assert seen["params"] == {"q": "1,2", "code": "k"}
    assert seen["url"].endswith("/api/Seen/a%20b?q=1&Q=2&q=&empty=&code=k")
    assert seen["headers"]["x-mixed-case"] == "V"
    assert [name for name in seen["headers"] if name.startswith("x-ms-client")] == []


def test_a_body_without_its_length_arrives_empty(app: Running) -> None:
    for body in ([b'{"a":', b" 1}"], [b"x" * 100_000] * 3, [b""]):
        status, _, answer = app.request("POST", "/api/seen", body=body)
        seen = json.loads(answer)
        assert (status, seen["body"]) == (201, "")
        assert seen["headers"]["transfer-encoding"] == "chunked"
        assert "content-length" not in seen["headers"]


def test_what_was_not_read_of_a_body_is_not_the_next_request(app: Running) -> None:
    head = b"POST /api/seen HTTP/1.1\r\nHost: x\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    last = head + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    with connection:
        connection.sendall(chunked + last)
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    assert raw.count(b"HTTP/1.1 201 ") == 2
    assert b'"body": "{}"' in raw
    assert b"hello" not in raw


def test_a_request_without_a_body_has_no_length(app: Running) -> None:
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    with connection:
        connection.sendall(b"POST /api/seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    seen = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert seen["body"] == ""
    assert {"content-length", "transfer-encoding"} & set(seen["headers"]) == set()


def test_cookies_stay_apart_and_text_is_text(app: Running) -> None:
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    with connection:
        connection.sendall(b"GET /api/cookie HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    assert raw.count(b"Set-Cookie: ") == 2
    assert app.request("GET", "/api/text")[2] == b"plain"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/api/nothing", 404),
        ("GET", "/seen", 404),
        ("PUT", "/api/seen", 404),
        ("HEAD", "/api/seen", 404),
        ("HEAD", "/api/text", 200),
        ("GET", "/api/broken", 500),
        ("GET", "/api/dict", 500),
        ("GET", "/admin/host/status", 200),
        ("GET", "/admin/functions", 404),
    ],
)
def test_statuses_are_azures(app: Running, method: str, path: str, status: int) -> None:
    answer = app.request(method, path)
    assert answer[0] == status
    assert method != "HEAD" or answer[2] == b""


def test_a_failure_is_one_line_that_names_the_function(app: Running) -> None:
    before = len(app.noted("function.failed"))
    app.request("GET", "/api/broken")
    line = app.wait_for("function.failed", count=before + 1)
    assert (line["function"], line["error"]) == ("broken", "RuntimeError: as intended")


def test_a_large_body_goes_through_and_expect_is_answered(app: Running) -> None:
    size = 4 * 1024 * 1024
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    with connection:
        connection.sendall(
            b"POST /api/seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"x" * size)
        raw = b"".join(iter(lambda: connection.recv(1 << 20), b""))
    assert raw.startswith(b"HTTP/1.1 201 ")
    assert len(raw) > size


def test_a_body_over_100_mb_is_refused(app: Running) -> None:
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    with connection:
        connection.sendall(
            b"POST /api/seen HTTP/1.1\r\nHost: x\r\nContent-Length: 104857601\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_requests_on_one_connection_may_follow_each_other_unanswered(app: Running) -> None:
    connection = socket.create_connection(("127.0.0.1", app.port), timeout=10)
    request = b"GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with connection:
        connection.sendall(request * 20)
        received = b""
        while received.count(b"pong") < 20:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 20


def test_a_timer_fires_on_its_seconds(app: Running) -> None:
    first = app.wait_for("tick")
    second = app.wait_for("tick", count=2)
    assert first["past_due"] is False
    assert 0.8 < second["at"] - first["at"] < 1.3


def test_keys_open_what_they_may(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"default": "d", "admin": "a"}))
    with running_app(tmp_path / "app", KEYED, arguments=("--keys", str(file))) as app:
        assert app.request("GET", "/api/open")[0] == 200
        status, _, body = app.request("GET", "/api/keyed")
        assert (status, body) == (401, b"")
        assert app.request("GET", "/api/keyed?code=d")[::2] == (200, b"none")
        wrong = {"x-functions-key": "wrong"}
        assert app.request("GET", "/api/keyed?code=d", headers=wrong)[0] == 401
        assert app.request("GET", "/api/keyed", headers={"x-functions-key": "d"})[2] == b"d"
        assert app.request("GET", "/api/master?code=d")[0] == 401
        assert app.request("GET", "/api/master?code=a")[0] == 200
        assert app.request("GET", "/admin/host/status")[0] == 401
        assert app.request("GET", "/admin/host/status?code=a")[0] == 200


def test_a_call_that_runs_is_answered_after_sigterm(tmp_path: Path) -> None:
    with running_app(tmp_path / "app", APP) as app:
        answers: list[int] = []
        caller = threading.Thread(
            target=lambda: answers.append(app.request("GET", "/api/slow?seconds=0.7")[0])
        )
        caller.start()
        app.wait_for("slow.begins")
        assert app.terminate() == 0
        caller.join(10)
        assert answers == [200]
        assert app.noted("slow.ends") != []


def test_a_call_that_does_not_end_is_cut_after_five_seconds(tmp_path: Path) -> None:
    with running_app(tmp_path / "app", APP) as app:
        caller = threading.Thread(target=_ask_in_vain, args=(app, "/api/stuck"), daemon=True)
        caller.start()
        app.wait_for("stuck.begins")
        began = time.monotonic()
        assert app.terminate() == 0
        assert 4.5 < time.monotonic() - began < 9
        assert app.wait_for("host.stopped")["calls_cut_off"] == 1
        caller.join(10)


def test_a_second_host_on_the_port_says_so_in_one_line(app: Running, tmp_path: Path) -> None:
    folder = write_app(tmp_path, '@app.route("a")\ndef a(req: func.HttpRequest) -> str: ...')
    process = start_host(folder, arguments=("--port", str(app.port)))
    _, errors = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 1
    assert errors.splitlines() == [
        f"port {app.port} is in use; stop what listens there or give another --port"
    ]


def test_an_app_that_cannot_load_ends_with_one_line(tmp_path: Path) -> None:
    folder = write_app(tmp_path, '@app.route("admin")\ndef a(req: func.HttpRequest) -> str: ...')
    process = start_host(folder)
    _, errors = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 1
    assert errors.startswith("cannot load the a function: the route 'admin' conflicts")
    assert errors.count("\n") == 1


def test_settings_of_the_folder_reach_the_app(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    values = {"GIVEN": "by the file", "PATH": "not this"}
    (tmp_path / "app" / "local.settings.json").write_text(json.dumps({"Values": values}))
    source = """
note("settings", given=os.environ["GIVEN"], path=os.environ["PATH"],
     environment=os.environ["AZURE_FUNCTIONS_ENVIRONMENT"],
     hostname=os.environ["WEBSITE_HOSTNAME"])
"""
    port = free_port()
    with running_app(tmp_path / "app", source, arguments=("--port", str(port))) as app:
        line = app.wait_for("settings")
    assert (line["given"], line["environment"]) == ("by the file", "Development")
    assert line["hostname"] == f"localhost:{port}"
    assert line["path"] == os.environ["PATH"]


def test_ctrl_c_ends_it_as_sigterm_does(tmp_path: Path) -> None:
    with running_app(tmp_path / "app", "") as app:
        app.process.send_signal(signal.SIGINT)
        until(lambda: app.process.poll() is not None)
        assert app.process.returncode == 0
