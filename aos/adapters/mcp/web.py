"""How are MCP servers with a URL reached, and what keeps them from reaching further?

Streamable HTTP through the SDK, on a client that follows no redirect, takes in no answer over
16 MiB, knows no proxy of ours, and connects to public addresses only, whatever a host's name
resolves to, unless the operator listed the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aos.domain.hosts import is_listed_host, is_public_address

if TYPE_CHECKING:
    import httpx2

    from aos.adapters.mcp.stdio import Streams

LONGEST_ANSWER_BYTES = 16 * 1024 * 1024
CONNECT_SECONDS = 10.0
READ_SECONDS = 300.0


class AddressRefused(OSError):
    """The host's name leads to an address that servers may not be called at."""


@contextlib.asynccontextmanager
async def remote_server(
    url: str, headers: Mapping[str, str], *, listed: bool
) -> AsyncIterator[Streams]:
    """Connect to the server. `listed`: the operator lets its host have any address."""
    from mcp.client.streamable_http import streamable_http_client

    async with (
        _client(headers, public_only=not listed) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=LONGEST_ANSWER_BYTES
        ) as streams,
    ):
        yield streams  # type: ignore[misc]  # the SDK's context streams have the same methods


def is_listed(url: str, hosts: frozenset[str]) -> bool:
    """Did the operator list this host (or `host:port`)?"""
    return is_listed_host(urlsplit(url), hosts)


def _client(headers: Mapping[str, str], *, public_only: bool) -> httpx2.AsyncClient:
    import httpx2

    transport = httpx2.AsyncHTTPTransport(trust_env=False)
    if public_only:
        pool: Any = transport._pool  # there is no public way to choose how it connects
        pool._network_backend = _public_backend(pool._network_backend)
    return httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", **headers},
        transport=transport,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        max_redirects=0,
        trust_env=False,
        event_hooks={"response": [_bound]},
    )


def _public_backend(inner: Any) -> Any:
    """A way to connect that looks at where a name leads before it goes there."""
    import anyio
    import httpcore2

    class Public(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
            found = await anyio.getaddrinfo(host, port)
            address = str(found[0][4][0])
            for entry in found:
                if not is_public_address(str(entry[4][0])):
                    raise AddressRefused(f"{host!r} leads to an address that is not public")
            return await inner.connect_tcp(address, port, *args, **options)

        async def connect_unix_socket(self, *args: Any, **options: Any) -> Any:
            raise AddressRefused("no socket files")

        async def sleep(self, seconds: float) -> None:
            await inner.sleep(seconds)

    return Public()


async def _bound(response: httpx2.Response) -> None:
    """Let no more than LONGEST_ANSWER_BYTES of a JSON answer in (the SDK bounds SSE events)."""
    import httpx2

    if "text/event-stream" in response.headers.get("content-type", ""):
        return
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.RemoteProtocolError("a packed answer was not asked for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    inner: httpx2.AsyncByteStream = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in inner:
                size += len(chunk)
                if size > LONGEST_ANSWER_BYTES:
                    raise httpx2.ReadError("an answer over the bound of 16 MiB")
                yield chunk

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Bounded()
