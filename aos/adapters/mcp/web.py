"""Reaches MCP servers that have a URL. Entry point: `remote_server`.

Streamable HTTP through the SDK, on a client that follows no redirect, takes in no answer over
16 MiB, knows no proxy of ours, and connects to public addresses only, whatever a host's name
resolves to, unless the operator listed the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aos.domain.cards.hosts import is_listed_host, is_public_address

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

    transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(trust_env=False)
    if public_only:
        transport = public_transport(transport)
    return httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", **headers},
        transport=transport,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        max_redirects=0,
        trust_env=False,
        event_hooks={"response": [_bound]},
    )


def public_transport(inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    """A transport that resolves the host's name itself and connects to that very address.

    The Host header and the name that TLS verifies stay those of the URL.
    """
    import httpx2

    class Public(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            url = request.url
            address = await _public_address(url.host, url.port)
            request.extensions = {**request.extensions, "sni_hostname": url.host}
            request.url = url.copy_with(host=address)
            try:
                return await inner.handle_async_request(request)
            finally:
                request.url = url

        async def aclose(self) -> None:
            await inner.aclose()

    return Public()


async def _public_address(host: str, port: int | None) -> str:
    """The first address of the host. Raises AddressRefused unless all of them are public."""
    import anyio

    addresses = [str(entry[4][0]) for entry in await anyio.getaddrinfo(host, port)]
    for address in addresses:
        if not is_public_address(address):
            raise AddressRefused(f"{host!r} leads to an address that is not public")
    return addresses[0]


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
