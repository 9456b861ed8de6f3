"""The proxy of the benchmarks and of `make chaos`, before a server of HTTP."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.counting import CountingProxy
from benchmarks.proxy import Proxy, RequestReader
from devhost.ports import HOST

LATE = 0.3
REQUEST = (
    b"POST /account/aosruns HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    b"GET /account/aosruns(PartitionKey='a',RowKey='b') HTTP/1.1\r\nHost: x\r\n\r\n"
    b"PUT /account/blob HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n10\r\n\r\n\r\n0\r\n\r\n"
    b"DELETE /account/last HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
)


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about: object) -> None:
        """Stay silent."""


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer((HOST, 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(5)
    server.server_close()


def _post(client: socket.socket, *pieces: bytes) -> float:
    """Send a request in pieces; return the seconds until its answer."""
    began = time.perf_counter()
    for piece in pieces:
        client.sendall(piece)
        time.sleep(0.01)  # so that the pieces do not arrive as one
    with contextlib.closing(http.client.HTTPResponse(client)) as answer:
        answer.begin()
        assert answer.read() == b"{}"
    return time.perf_counter() - began


def test_a_request_waits_once_however_many_pieces_it_comes_in(port: int) -> None:
    head = b"POST /account/aosruns HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    with (
        Proxy({"table": port}) as proxy,
        socket.create_connection((HOST, proxy.ports["table"]), timeout=10) as client,
    ):
        assert _post(client, head, b"{}") < LATE
        proxy.delay = LATE
        for _ in range(2):
            assert LATE <= _post(client, head, b"{", b"}") < 2 * LATE


def test_calls_are_counted_by_service_method_and_object(port: int) -> None:
    with CountingProxy({"table": port}) as proxy:
        client = http.client.HTTPConnection(HOST, proxy.ports["table"], timeout=10)
        for path in ("/account/aosruns?timeout=5", "/account/$batch"):
            client.request("POST", path, body=b"{}")
            assert client.getresponse().read() == b"{}"
        client.close()
        assert dict(proxy.calls) == {"table POST aosruns": 1, "table POST $batch": 1}
        assert proxy.seconds["table POST aosruns"] > 0
        assert proxy.bytes["table POST aosruns"] > 100


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_requests_are_found_however_their_bytes_are_cut(size: int) -> None:
    found: list[object] = []
    reader = RequestReader(lambda *line: found.append(line), found.append)
    for start in range(0, len(REQUEST), size):
        reader.feed(REQUEST[start : start + size])
    assert found == [
        ("POST", "/account/aosruns"),
        b"{}",
        ("GET", "/account/aosruns(PartitionKey='a',RowKey='b')"),
        b"",
        ("PUT", "/account/blob"),
        b"6\r\n10\r\n\r\n\r\n0\r\n\r\n",
        ("DELETE", "/account/last"),
        b"",
    ]
