"""A stream is left in its socket until its text is due, and comes whole, over TLS too."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aos.adapters.model.http_client import ModelClient

TOKENS = 60
PAUSE_SECONDS = 0.005
BATCH_SECONDS = 0.1
SOON_SECONDS = 0.02
WHOLE = "".join(f"{number} " for number in range(TOKENS))
PATH, BROKEN_PATH = "/chat/completions", "/broken"
MOST_LATE_SECONDS = 0.2
"""A busy machine included; without the batches each token would be a text of its own."""


def make_certificate(folder: Path) -> ssl.SSLContext:
    """Write a certificate of 127.0.0.1 and its key; return the server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stream TOKENS, one after the other, to each request of a connection. At BROKEN_PATH all
    but the first come at once, and the connection is closed without the end of the body."""
    pieces = [make_piece(token) for token in WHOLE.split(" ")[:-1]]
    end = make_chunk("data: [DONE]\n\n")
    with contextlib.suppress(OSError, EOFError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            if BROKEN_PATH.encode() in head:
                writer.write(pieces[0])
                await asyncio.sleep(PAUSE_SECONDS)
                writer.write(b"".join([*pieces[1:], end]))
                break
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(PAUSE_SECONDS)
            writer.write(end + b"0\r\n\r\n")
            await writer.drain()
    writer.close()


def make_piece(token: str) -> bytes:
    """One event of a stream, as a chunk of a body."""
    event = {"choices": [{"index": 0, "delta": {"content": f"{token} "}}]}
    return make_chunk(f"data: {json.dumps(event)}\n\n")


def make_chunk(text: str) -> bytes:
    """One chunk of a body."""
    return f"{len(text):x}\r\n{text}\r\n".encode()


@pytest.fixture(params=["http", "https"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ModelClient]:
    """A client, and the server that it asks."""
    context = None
    if request.param == "https":
        context = make_certificate(tmp_path)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        monkeypatch.setattr(aiohttp, "TCPConnector", partial(aiohttp.TCPConnector, ssl=trusting))
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    client = ModelClient(f"{request.param}://127.0.0.1:{port}/v1", "key")
    try:
        async with asyncio.timeout(20):
            yield client
    finally:
        await client.close()
        server.close()


class Batches:
    """Takes texts, and wants the next ones after BATCH_SECONDS."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[float] = []
        self._due = 0.0

    def take(self, text: str) -> float:
        """Take a text; return the seconds to the end of its batch."""
        now = time.monotonic()
        self.texts.append(text)
        self.times.append(now)
        if self._due - now < SOON_SECONDS:
            self._due = now + BATCH_SECONDS
        return self._due - now


async def read(client: ModelClient, path: str, got: Batches) -> str:
    """The text of the whole answer."""
    whole = await client.read_stream(path, {}, timeout_seconds=10, sink=got.take)
    text: str = json.loads(whole)["choices"][0]["message"]["content"]
    return text


async def test_a_stream_comes_whole_and_in_batches(client: ModelClient) -> None:
    for _ in range(2):  # the second on the same connection
        got = Batches()
        assert await read(client, PATH, got) == "".join(got.texts) == WHOLE
        assert 3 <= len(got.texts) <= 2 * TOKENS * PAUSE_SECONDS / BATCH_SECONDS + 4
        late = max(after - before for before, after in itertools.pairwise(got.times))
        assert late < BATCH_SECONDS + MOST_LATE_SECONDS


async def test_an_answer_is_whole_though_its_body_is_broken_off(client: ModelClient) -> None:
    got = Batches()
    assert await read(client, BROKEN_PATH, got) == "".join(got.texts) == WHOLE
