"""Connects to MCP servers that have a URL. Entry point: `connect_to_server`.

It uses Streamable HTTP through the SDK. The HTTP client follows no redirect, accepts no answer over
16 MiB, and uses no proxy. Unless the operator listed the host, it connects only to public
addresses, whatever the host name resolves to.
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
    """The host name resolves to an address that servers may not have."""


@contextlib.asynccontextmanager
async def connect_to_server(
    url: str, headers: Mapping[str, str], *, listed: bool
) -> AsyncIterator[Streams]:
    """Connect to the server. With `listed`, its host may have any address."""
    from mcp.client.streamable_http import streamable_http_client

    async with (
        _make_client(headers, public_only=not listed) as client,
        streamable_http_client(
            url, http_client=client, max_sse_event_size=LONGEST_ANSWER_BYTES
        ) as streams,
    ):
        yield streams  # type: ignore[misc]  # the SDK's context streams have the same methods


def is_listed(url: str, hosts: frozenset[str]) -> bool:
    """Whether the operator listed this host or `host:port`."""
    return is_listed_host(urlsplit(url), hosts)


def _make_client(headers: Mapping[str, str], *, public_only: bool) -> httpx2.AsyncClient:
    import httpx2

    transport: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(trust_env=False)
    if public_only:
        transport = make_public_transport(transport)
    return httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", **headers},
        transport=transport,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        max_redirects=0,
        trust_env=False,
        event_hooks={"response": [_bound_answer]},
    )


def make_public_transport(inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    """Make a transport that resolves the host name itself and connects to the checked address.

    The Host header and the name that TLS verifies are still those of the URL.
    """
    import httpx2

    class Public(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            url = request.url
            address = await _find_public_address(url.host, url.port)
            request.extensions = {**request.extensions, "sni_hostname": url.host}
            request.url = url.copy_with(host=address)
            try:
                return await inner.handle_async_request(request)
            finally:
                request.url = url

        async def aclose(self) -> None:
            await inner.aclose()

    return Public()


async def _find_public_address(host: str, port: int | None) -> str:
    """Return the first address of the host. Raises AddressRefused unless all its addresses are
    public."""
    import anyio

    addresses = [str(entry[4][0]) for entry in await anyio.getaddrinfo(host, port)]
    for address in addresses:
        if not is_public_address(address):
            raise AddressRefused(f"the host {host!r} resolves to an address that is not public")
    return addresses[0]


async def _bound_answer(response: httpx2.Response) -> None:
    """Limit a JSON answer to LONGEST_ANSWER_BYTES. The SDK limits SSE events."""
    import httpx2

    if "text/event-stream" in response.headers.get("content-type", ""):
        return
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.RemoteProtocolError("the answer is compressed, which AOS did not ask for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    inner: httpx2.AsyncByteStream = response.stream

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in inner:
                size += len(chunk)
                if size > LONGEST_ANSWER_BYTES:
                    raise httpx2.ReadError("an answer over the limit of 16 MiB")
                yield chunk

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Bounded()
