"""Sends requests to a model endpoint with aiohttp. Entry points: `ModelClient`,
`open_token_provider`, `limit_time`.

It follows no redirect, repeats no question, and limits the size of an answer, also when that is
packed. aiohttp takes 0.2 s to import, so it loads with the first request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aos.adapters.model.streamed_answers import StreamedAnswer
from aos.domain.json_writer import write_json
from aos.errors import TransientError, UnreadableAnswer

if TYPE_CHECKING:
    import aiohttp
    from azure.identity.aio import DefaultAzureCredential

LONGEST_ANSWER_BYTES = 1024 * 1024
LONGEST_STREAM_BYTES = 16 * 1024 * 1024
"""A stream repeats its frame with each token; the answer in it has at most LONGEST_ANSWER_BYTES."""
DRAIN_SECONDS = 0.5
"""How long the end of a stream's body is awaited after its last event, to keep the connection."""
ARRIVE_TICKS = 2
ARRIVE_TICKS_TLS = 4
"""What has gathered in the socket is there after so many turns of the event loop."""
GATHER_SECONDS = 0.1
"""How long pieces of a text gather before they are read, where the sink passes them on at once: to
wake up for each costs more than to read it. An answer that has ended waits so long for its reader.
"""
LONGEST_GATHER_SECONDS = 0.25
"""The end of an answer is noticed so late at most."""
GATHERED_BYTES = 1
"""TLS, which has a buffer of its own, takes no more from the socket before that is read."""
LEAD_SECONDS = 0.01
"""How long before the sink passes text on the pieces are read that have gathered for it."""
EVENT_STREAM = "text/event-stream"
CONNECT_TIMEOUT_SECONDS = 10.0
CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 30.0
LARGEST_HEADER = 64 * 1024


class AnswerTooLarge(Exception):
    """The endpoint sent more than the accepted size."""

    def __init__(self, limit: int = LONGEST_ANSWER_BYTES) -> None:
        super().__init__(f"the model endpoint answered with more than {limit} bytes")


class Refusal(Exception):
    """The endpoint answered with a status other than 2xx."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"the model endpoint answered {status}")
        self.status = status
        self.body = body
        self.headers = headers


class ModelClient:
    """Sends requests to one endpoint and keeps connections to it open.

    `key` is a key, or a function that returns a fresh token. The methods raise Refusal,
    AnswerTooLarge, and TransientError if there is no whole answer.
    """

    def __init__(self, base_url: str, key: str | Callable[[], Awaitable[str]]) -> None:
        import aiohttp

        self._base_url = base_url.rstrip("/")
        self._key = key
        self._proxy = _find_proxy(base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "AOS",
            },
            max_field_size=LARGEST_HEADER,
            max_line_size=LARGEST_HEADER,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, path: str, *, timeout_seconds: float) -> bytes:
        """Return the body of the answer."""
        async with self._ask("GET", path, None, timeout_seconds) as response:
            return await _read_whole(response)

    async def post(self, path: str, body: Mapping[str, Any], *, timeout_seconds: float) -> bytes:
        """Post the body and return that of the answer."""
        async with self._ask("POST", path, body, timeout_seconds) as response:
            return await _read_whole(response)

    async def read_stream(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout_seconds: float,
        sink: Callable[[str], float],
    ) -> bytes:
        """Post the body and return the whole answer; the sink gets the model's text as it comes.

        An endpoint that does not stream answers at once. Raises UnreadableAnswer if the stream has
        no end.
        """
        async with self._ask("POST", path, body, timeout_seconds) as response:
            if not _is_stream(response):
                return await _read_whole(response)
            tap = _Tap(response)
            try:
                return await _join_events(_Body(response), tap, sink)
            finally:
                tap.remove()

    @contextlib.asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        timeout_seconds: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request. Raises Refusal unless the status is 2xx."""
        import aiohttp

        key = self._key if isinstance(self._key, str) else await self._key()
        headers = {"Authorization": f"Bearer {key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                data=None if body is None else _write_body(body),
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds),
                    sock_read=timeout_seconds,
                ),
            ) as response:
                if not 200 <= response.status < 300:
                    said = await _read_whole(response)
                    raise Refusal(response.status, said, response.headers)
                yield response
        except aiohttp.ServerTimeoutError as error:
            raise TransientError("the model endpoint did not answer in time") from error
        except aiohttp.ClientPayloadError as error:
            raise TransientError(
                f"the model endpoint broke its answer off ({type(error).__name__})"
            ) from error
        except aiohttp.ClientError as error:
            why = type(getattr(error, "os_error", None) or error).__name__
            raise TransientError(
                f"the model endpoint could not be reached ({why}); check AOS_MODEL_ENDPOINT"
            ) from error


class _Tap:
    """Lets a stream out of its socket only while it is open: else the process would wake up for
    each token."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        transport = self._find_transport()
        self._tls = transport if hasattr(transport, "set_read_buffer_limits") else None
        if self._tls is not None:
            self._tls.set_read_buffer_limits(high=GATHERED_BYTES)

    def close(self) -> None:
        """Leave what comes in the socket."""
        transport = self._find_transport()
        if transport is not None:
            transport.pause_reading()

    def open(self) -> int:
        """Take what is there, and what comes; return after how many turns of the event loop what
        has gathered is there."""
        transport = self._find_transport()
        if transport is not None:
            transport.resume_reading()
        return ARRIVE_TICKS if self._tls is None else ARRIVE_TICKS_TLS

    def remove(self) -> None:
        """Leave the connection as it was."""
        transport = self._find_transport()
        if transport is not None:
            transport.resume_reading()
        if self._tls is not None and not self._tls.is_closing():
            self._tls.set_read_buffer_limits()

    def _find_transport(self) -> Any:
        """The connection's transport; None when it is closed, or given back after the answer."""
        connection = self._response.connection
        transport: Any = None if connection is None else connection.transport
        return None if transport is None or transport.is_closing() else transport


def _find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this address."""
    address = urlsplit(url)
    if proxy_bypass(address.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")


def _write_body(body: Mapping[str, Any]) -> bytes:
    text = write_json(body, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def open_token_provider(
    scope: str, client_id: str | None
) -> tuple[Callable[[], Awaitable[str]], DefaultAzureCredential]:
    """Return a function for tokens of the app's identity, and the credential to close at the end.

    The function raises TransientError if it gets no token.
    """
    from azure.core.exceptions import AzureError
    from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

    credential = DefaultAzureCredential(managed_identity_client_id=client_id)
    provider = get_bearer_token_provider(credential, scope)

    async def token() -> str:
        try:
            return await provider()
        except AzureError as error:
            message = (
                "no token for the model endpoint was issued: check the app's identity and its role"
            )
            raise TransientError(message) from error

    return token, credential


async def _join_events(body: _Body, tap: _Tap, sink: Callable[[str], float]) -> bytes:
    """Read the stream when its text is due, and all that has gathered then at once.

    In between it is read to notice the end. Text that is found then is held for the batch, because
    each call of the sink costs; if no more comes, the sink gets it and writes it in time.
    """
    answer, is_heard, held, due = StreamedAnswer(), False, "", 0.0
    while not answer.is_done:
        piece: bytes | None = await body.read_gathered(tap.open())
        if not piece:
            if held:
                due, held = time.monotonic() + sink(held), ""
            piece = await body.read()
        if piece is None:
            break
        held += answer.feed(piece)
        if answer.size > LONGEST_ANSWER_BYTES:
            raise AnswerTooLarge
        if held and (answer.is_done or due - time.monotonic() < 2 * LEAD_SECONDS):
            due, held, is_heard = time.monotonic() + sink(held), "", True
        if is_heard and not answer.is_done:
            gather = min(due - LEAD_SECONDS - time.monotonic(), LONGEST_GATHER_SECONDS)
            tap.close()
            await asyncio.sleep(gather if gather > LEAD_SECONDS else GATHER_SECONDS)
    await _drain(body)
    whole = answer.finish()
    if whole is None:
        raise UnreadableAnswer("the model endpoint's stream ended before the answer did")
    return write_json(whole).encode()


async def _drain(body: _Body) -> None:
    import aiohttp

    with contextlib.suppress(TimeoutError, aiohttp.ClientError, AnswerTooLarge):
        async with asyncio.timeout(DRAIN_SECONDS):
            while await body.read() is not None:
                pass


async def _read_whole(response: aiohttp.ClientResponse) -> bytes:
    body, pieces = _Body(response), list[bytes]()
    while (piece := await body.read()) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    return EVENT_STREAM in response.headers.get("Content-Type", "").lower()


class _Body:
    """The body of an answer, of up to LONGEST_ANSWER_BYTES, of a stream LONGEST_STREAM_BYTES.

    AOS asked for no compression, but some gateways pack an answer with gzip anyway.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        import aiohttp

        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise aiohttp.ClientPayloadError(f"the answer is compressed with {encoding!r}")
        self._unpacker = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._limit = LONGEST_STREAM_BYTES if _is_stream(response) else LONGEST_ANSWER_BYTES
        self._content = response.content
        self._size = 0

    async def read_gathered(self, ticks: int) -> bytes:
        """Return what is there within so many turns of the event loop. An error that comes after it
        is left to `read`: the answer may be whole."""
        import aiohttp

        found = b""
        with contextlib.suppress(aiohttp.ClientError):
            for _ in range(ticks):
                await asyncio.sleep(0)
                found += self._take(self._content.read_nowait())
        return found

    async def read(self) -> bytes | None:
        """Return what is there, or else the next piece; None after the end."""
        piece = await self._content.readany()
        return self._take(piece) if piece or not self._content.at_eof() else None

    def _take(self, piece: bytes) -> bytes:
        # Unpacked to at most one byte more than an answer may have.
        more = self._limit + 1
        plain = piece if self._unpacker is None else _unpack(self._unpacker, piece, more)
        self._size += len(plain)
        if self._size > self._limit:
            raise AnswerTooLarge(self._limit)
        return plain


def _unpack(unpack: Any, piece: bytes, most: int) -> bytes:
    import aiohttp

    try:
        return bytes(unpack.decompress(piece, most))
    except zlib.error as error:
        raise aiohttp.ClientPayloadError(f"broken gzip: {error}") from error


@contextlib.asynccontextmanager
async def limit_time(seconds: float) -> AsyncIterator[None]:
    """Limit the time of the whole call. The time-outs of a request restart with each byte."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TransientError(f"the model endpoint did not answer within {seconds:g} s") from error
