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
    """Stream TOKENS, one after the other, to each request of a connection."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            for number in range(TOKENS):
                chunk = {"choices": [{"index": 0, "delta": {"content": f"{number} "}}]}
                write_piece(writer, f"data: {json.dumps(chunk)}\n\n")
                await asyncio.sleep(PAUSE_SECONDS)
            write_piece(writer, "data: [DONE]\n\n")
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    writer.close()


def write_piece(writer: asyncio.StreamWriter, text: str) -> None:
    """Write one chunk of a body."""
    writer.write(f"{len(text):x}\r\n{text}\r\n".encode())


@contextlib.asynccontextmanager
async def client_of_a_stream(context: ssl.SSLContext | None) -> AsyncIterator[ModelClient]:
    """A client, and the server that it asks."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    scheme = "http" if context is None else "https"
    port = server.sockets[0].getsockname()[1]
    client = ModelClient(f"{scheme}://127.0.0.1:{port}/v1", "key")
    try:
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


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_stream_comes_whole_and_in_batches(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = None
    if scheme == "https":
        context = make_certificate(tmp_path)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        monkeypatch.setattr(aiohttp, "TCPConnector", partial(aiohttp.TCPConnector, ssl=trusting))
    async with asyncio.timeout(20), client_of_a_stream(context) as client:
        for _ in range(2):  # the second on the same connection
            got = Batches()
            whole = await client.read_stream(
                "/chat/completions", {}, timeout_seconds=10, sink=got.take
            )
            said = json.loads(whole)["choices"][0]["message"]["content"]
            assert said == "".join(got.texts) == "".join(f"{number} " for number in range(TOKENS))
            assert 3 <= len(got.texts) <= 2 * TOKENS * PAUSE_SECONDS / BATCH_SECONDS + 4
            late = max(after - before for before, after in itertools.pairwise(got.times))
            assert late < BATCH_SECONDS + MOST_LATE_SECONDS
