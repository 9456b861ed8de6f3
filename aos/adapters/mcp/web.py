"""Connects to MCP servers that have a URL. Entry point: `connect_to_server`.

It uses Streamable HTTP through the SDK. The HTTP client follows no redirect, accepts no answer over
16 MiB, and uses no proxy. Unless the operator listed the host, it connects only to public
addresses, whatever the host name resolves to. Answers are changed before the SDK reads them by
`web_answers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aos.adapters.mcp.messages import replace_half_surrogates
from aos.adapters.mcp.web_answers import explain_status
from aos.domain.cards.hosts import is_listed_host, require_public

if TYPE_CHECKING:
    import httpx2

    from aos.adapters.mcp.stdio import Streams

LONGEST_ANSWER_BYTES = 16 * 1024 * 1024
OK = 200
FIRST_ERROR = 400
_UNNAMED = frozenset({"", "text/plain", "text/json", "application/octet-stream"})
"""Content types of servers that do not say that they answer with JSON."""
CONNECT_SECONDS = 10.0
READ_SECONDS = 300.0


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
        event_hooks={"response": [_mend_answer]},
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
    require_public(host, addresses)
    return addresses[0]


async def _mend_answer(response: httpx2.Response) -> None:
    """Limit an answer's size, and let its text be what the SDK can read.

    An error status becomes a JSON-RPC error that says what to do. The SDK limits SSE events.
    """
    import httpx2

    kind = response.headers.get("content-type", "").lower()
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise httpx2.RemoteProtocolError("the answer is compressed, which AOS did not ask for")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    inner: httpx2.AsyncByteStream = response.stream
    is_refusal = response.status_code >= FIRST_ERROR and response.request.method == "POST"
    is_stream = "text/event-stream" in kind and not is_refusal

    class Mended(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            if is_stream:
                async for line in _split_lines(inner):
                    yield replace_half_surrogates(line)
                return
            body = await _read_whole(inner)
            if is_refusal:
                yield explain_status(response.status_code, body, kind)
            else:
                yield replace_half_surrogates(body)

        async def aclose(self) -> None:
            await inner.aclose()

    if is_refusal or (response.status_code == OK and kind.partition(";")[0].strip() in _UNNAMED):
        response.headers["content-type"] = "application/json"
    response.stream = Mended()


async def _read_whole(stream: httpx2.AsyncByteStream) -> bytes:
    import httpx2

    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > LONGEST_ANSWER_BYTES:
            raise httpx2.ReadError("an answer over the limit of 16 MiB")
    return bytes(body)


async def _split_lines(stream: httpx2.AsyncByteStream) -> AsyncIterator[bytes]:
    """Yield whole lines, and pieces of a line that is over the limit."""
    rest = bytearray()
    async for chunk in stream:
        rest += chunk
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        if end >= 0:
            end += len(rest) - len(chunk) + 1
        elif len(rest) > LONGEST_ANSWER_BYTES:
            end = len(rest)
        if end > 0:
            yield bytes(rest[:end])
            del rest[:end]
    if rest:
        yield bytes(rest)
