"""An app that imports the web extension streams its answers; all else of HTTP stays as it was."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.contract.functions.hosting import (
    WAIT_SECONDS,
    Running,
    running_app,
    start_host,
    until,
)
from tests.unit.functions.conftest import write_app

EXTENSION = "import aos.bootstrap.http_server\n"
SETTING = {"PYTHON_ENABLE_INIT_INDEXING": "1"}
MOST_ON_THE_WAY = 32 * 1024 * 1024
"""What the buffers of two connections may hold on this machine, at most."""
APP = (
    EXTENSION
    + """
from aos.entrypoints.http.streams import StreamedResponse

go_on = asyncio.Event()

@app.route("seen/{name?}", methods=["GET", "POST"])
def seen(req: func.HttpRequest) -> func.HttpResponse:
    answer = {"method": req.method, "url": req.url, "headers": dict(req.headers),
              "params": dict(req.params), "route": dict(req.route_params),
              "body": req.get_body().decode()}
    return func.HttpResponse(json.dumps(answer), status_code=201, mimetype="application/json",
                             headers={"X-Own": "yes", "Content-Length": "3"})

@app.route("text")
def text(req: func.HttpRequest) -> str:
    return "plain"

@app.route("broken")
def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("as intended")

@app.route("stream")
async def stream(req: func.HttpRequest) -> func.HttpResponse:
    async def pieces():
        try:
            yield b"first"
            await go_on.wait()
            yield b"second"
        finally:
            note("stream.closed")
    go_on.clear()
    return StreamedResponse(pieces(), mimetype="text/event-stream", headers={"X-Own": "yes"})

@app.route("go-on", methods=["POST"])
async def release(req: func.HttpRequest) -> func.HttpResponse:
    go_on.set()
    return func.HttpResponse("")

import aos.bootstrap.http_server
import devhost.functions.http_streams
aos.bootstrap.http_server.WRITE_SECONDS = devhost.functions.http_streams.WRITE_SECONDS = 1.0

@app.route("flood")
async def flood(req: func.HttpRequest) -> func.HttpResponse:
    async def pieces():
        sent = 0
        try:
            while True:
                yield b"x" * 65536
                sent += 65536
        finally:
            note("flood.closed", sent=sent)
    return StreamedResponse(pieces(), mimetype="text/event-stream")

@app.route("broken-stream")
async def broken_stream(req: func.HttpRequest) -> func.HttpResponse:
    async def pieces():
        yield b"first"
        raise RuntimeError("as intended")
    return StreamedResponse(pieces(), mimetype="text/plain")

@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    note("slow.begins")
    await asyncio.sleep(0.3)
    note("slow.ends")
    return func.HttpResponse("done")
"""
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("streams") / "app"
    with running_app(folder, APP, environment=SETTING) as running:
        yield running


@contextlib.contextmanager
def opened(app: Running, path: str) -> Iterator[http.client.HTTPResponse]:
    """The answer whose body is not read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=WAIT_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path)
        yield connection.getresponse()


def test_a_request_arrives_as_without_the_extension(app: Running) -> None:
    status, headers, body = app.request(
        "POST",
        "/api/Seen/a%20b?q=1&q=&empty=&code=k",
        body=b"{}",
        headers={
            "X-Mixed-Case": "V",
            "X-MS-CLIENT-PRINCIPAL-ID": "forged",
            "x-ms-invocation-id": "forged",
        },
    )
    seen = json.loads(body)
    assert (status, headers["x-own"], headers["content-type"]) == (201, "yes", "application/json")
    assert (seen["method"], seen["body"], seen["route"]) == ("POST", "{}", {"name": "a b"})
    assert seen["params"] == {"q": "1", "code": "k"}
    assert seen["url"] == f"http://127.0.0.1:{app.port}/api/Seen/a%20b?q=1&q=&empty=&code=k"
    assert seen["headers"]["x-mixed-case"] == "V"
    assert seen["headers"]["x-ms-invocation-id"] != "forged"
    assert [name for name in seen["headers"] if name.startswith("x-ms-client")] == []
    assert app.request("GET", "/api/text")[2] == b"plain"
    assert app.request("GET", "/api/nothing")[0] == 404
    assert app.request("HEAD", "/api/text")[0] == 200


def test_a_body_without_its_length_arrives_empty_as_without_the_extension(app: Running) -> None:
    for sent in ([b'{"a":', b" 1}"], [b"x" * 100_000] * 3):
        seen = json.loads(app.request("POST", "/api/seen", body=sent)[2])
        assert (seen["body"], seen["headers"]["transfer-encoding"]) == ("", "chunked")


def test_each_piece_is_sent_as_soon_as_it_is_there(app: Running) -> None:
    with opened(app, "/api/stream") as answer:
        assert answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        assert answer.getheader("X-Own") == "yes"
        assert answer.read1(100) == b"first"
        assert app.request("POST", "/api/go-on", body=b"1")[0] == 200
        assert answer.read() == b"second"


def test_a_stream_is_closed_when_its_client_goes_away(app: Running) -> None:
    before = len(app.noted("stream.closed"))
    with opened(app, "/api/stream") as answer:
        assert answer.read1(100) == b"first"
    app.wait_for("stream.closed", count=before + 1)


def test_a_client_that_never_reads_is_cut_and_little_is_kept_for_it(app: Running) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(WAIT_SECONDS)
        client.connect(("127.0.0.1", app.port))
        client.sendall(b"GET /api/flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        app.wait_for("flood.closed")
        port = client.getsockname()[1]
        held = psutil.Process(app.process.pid).net_connections
        until(lambda: not any(one.raddr and one.raddr.port == port for one in held("tcp4")))
    assert app.noted("flood.closed")[-1]["sent"] < MOST_ON_THE_WAY


def test_a_stream_that_fails_is_cut_and_never_looks_complete(app: Running) -> None:
    broken = pytest.raises((http.client.IncompleteRead, ConnectionError))
    with opened(app, "/api/broken-stream") as answer, broken:
        answer.read()


def test_a_function_that_fails_is_answered_with_500(app: Running) -> None:
    assert app.request("GET", "/api/broken")[0] == 500
    assert app.request("GET", "/api/text")[2] == b"plain"


def test_a_function_runs_on_when_its_client_goes_away(app: Running) -> None:
    with socket.create_connection(("127.0.0.1", app.port)) as client:
        client.sendall(b"GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        app.wait_for("slow.begins")
    app.wait_for("slow.ends")


def test_an_upload_that_breaks_off_costs_no_later_request(app: Running) -> None:
    with socket.create_connection(("127.0.0.1", app.port)) as client:
        client.sendall(b"POST /api/seen HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    assert app.request("GET", "/api/text")[2] == b"plain"


def test_many_requests_at_once_each_get_their_own_answer(app: Running) -> None:
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = json.loads(app.request("GET", f"/api/seen/n{number}")[2])["route"]["name"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert answers == {number: f"n{number}" for number in range(40)}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="needed up to Python 3.12")
def test_the_setting_that_azures_worker_needs_is_asked_for(tmp_path: Path) -> None:
    source = EXTENSION + '@app.route("x")\ndef x(req: func.HttpRequest) -> str: return ""\n'
    process = start_host(write_app(tmp_path / "app", source))
    _, problem = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert "PYTHON_ENABLE_INIT_INDEXING=1" in problem
