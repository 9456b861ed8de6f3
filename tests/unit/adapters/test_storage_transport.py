"""Is a write sent once to storage, even when a kept connection ends before its answer?

aiohttp repeats a PUT and a DELETE by itself then. The repeat would find what the first one did.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.tables.account import Table, TableAccount, TableClients
from aos.errors import OutcomeUnknown

ACCOUNT = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5"
ROW = {"PartitionKey": "p", "RowKey": "r", "text": "x"}
GOOD = (
    b'HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nETag: "1"\r\nContent-Length: 2\r\n\r\n{}'
)


@dataclass(slots=True)
class Dropping:
    """A server that keeps connections open. While `is_dropping`, it reads each request and ends the
    connection without an answer."""

    port: int = 0
    is_dropping: bool = False
    read: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                lengths = [n[15:] for n in head.split("\r\n") if n.startswith("content-length:")]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                method = head.split()[0].upper()
                self.read[method] += 1
                if self.is_dropping:
                    break
                writer.write(GOOD % (200 if method == "GET" else 201))
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Dropping]:
    dropping = Dropping()
    listening = await asyncio.start_server(dropping.serve, "127.0.0.1", 0)
    dropping.port = listening.sockets[0].getsockname()[1]
    yield dropping
    listening.close()


TABLE_WRITES: dict[str, Callable[[Table], Awaitable[object]]] = {
    "PUT": lambda table: table.replace(ROW, etag='"0"'),
    "DELETE": lambda table: table.delete("p", "r", etag='"0"'),
    "POST": lambda table: table.insert(ROW),
}


@pytest.mark.parametrize("method", TABLE_WRITES)
async def test_a_write_of_a_row_on_a_kept_connection_is_sent_once(
    server: Dropping, method: str
) -> None:
    connection = f"{ACCOUNT};TableEndpoint=http://127.0.0.1:{server.port}/a"
    clients = TableClients(TableAccount(connection_string=connection))
    table = Table(clients, "rows")
    try:
        await table.get("p", "r")
        server.is_dropping = True
        with pytest.raises(OutcomeUnknown):
            await TABLE_WRITES[method](table)
    finally:
        await clients.close()
    assert server.read == {"GET": 1, method: 1}


@pytest.mark.parametrize("condition", [{"if_match": '"0"'}, {"create_only": True}])
async def test_a_conditional_write_of_a_blob_on_a_kept_connection_is_sent_once(
    server: Dropping, condition: dict[str, str]
) -> None:
    connection = f"{ACCOUNT};BlobEndpoint=http://127.0.0.1:{server.port}/a"
    blobs = AzureBlobs(BlobAccount(connection_string=connection))
    store = blobs.container("data")
    try:
        await store.write("other", b"1")
        server.is_dropping = True
        with pytest.raises(OutcomeUnknown):
            await store.write("head", b"1", **condition)  # type: ignore[arg-type]
    finally:
        await blobs.close()
    assert server.read == {"PUT": 2}
