"""Makes the HTTP client for a model endpoint. Entry points: `open_client`, `read_stream`,
`limit_time`.

The client is the plain client of the `openai` SDK without retries or redirects, and with a limit on
the size of an answer, also when it is packed. Import this module only when a model is called,
because the SDK takes 0.7 to 1.3 s to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aos.adapters.model.streamed_answers import StreamedAnswer
from aos.domain.json_writer import write_json
from aos.errors import TransientError, UnreadableAnswer

if TYPE_CHECKING:
    import httpx2
    from azure.identity.aio import DefaultAzureCredential
    from openai import AsyncOpenAI

LONGEST_ANSWER_BYTES = 1024 * 1024
LONGEST_STREAM_BYTES = 16 * 1024 * 1024
"""A stream repeats its frame with each token; the answer in it has at most LONGEST_ANSWER_BYTES."""
DRAIN_SECONDS = 0.5
"""How long the end of a stream's body is awaited after its last event, to keep the connection."""
WAITED_SECONDS = 0.001
"""A piece that took longer was not there yet; shorter, it had come together with others."""
GATHER_SECONDS = 0.1
"""How long pieces of a text gather before they are read, where the sink passes them on at once: to
wake up for each costs more than to read it. An answer that has ended waits so long for its reader.
"""
LONGEST_GATHER_SECONDS = 0.25
"""The end of an answer is noticed so late at most."""
LEAD_SECONDS = 0.01
"""How long before the sink passes text on the pieces are read that have gathered for it."""
EVENT_STREAM = "text/event-stream"
CONNECT_TIMEOUT_SECONDS = 10.0
CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 30.0


class AnswerTooLarge(Exception):
    """The endpoint sent more than the accepted size."""

    def __init__(self, limit: int = LONGEST_ANSWER_BYTES) -> None:
        super().__init__(f"the model endpoint answered with more than {limit} bytes")


def open_client(base_url: str, key: str | Callable[[], Awaitable[str]]) -> AsyncOpenAI:
    """Open a client for an endpoint. `key` is a key, or a function that returns a fresh token."""
    import httpx2
    from openai import AsyncOpenAI

    # Both log every request. The span of the run records what is needed about a call.
    for chatty in ("httpx2", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    transport = httpx2.AsyncClient(
        follow_redirects=False,
        event_hooks={"response": [_bound_answer]},
        headers={"Accept-Encoding": "identity"},
        limits=httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
    )
    return AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=transport)


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


def make_request_options(timeout_seconds: float) -> Any:
    """Return the SDK's options for one request."""
    import httpx2

    connect = min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
    return {"timeout": httpx2.Timeout(timeout_seconds, connect=connect)}


def load_response_type() -> type[httpx2.Response]:
    """Return the type of the raw answer. AOS reads it itself, which skips the SDK's typed
    models."""
    import httpx2

    return httpx2.Response


async def read_stream(
    client: AsyncOpenAI,
    path: str,
    body: dict[str, Any],
    options: Any,
    *,
    sink: Callable[[str], float],
) -> bytes:
    """Post the body and return the whole answer; the sink gets the model's text as it comes.

    An endpoint that does not stream answers at once. Raises UnreadableAnswer if the stream has no
    end, TransientError if the connection breaks, and what the SDK raises before the first byte.
    """
    import httpx2
    from openai import AsyncStream

    response: Any = await client.post(
        path,
        body=body,
        cast_to=httpx2.Response,
        options=options,
        stream=True,
        stream_cls=AsyncStream[object],
    )
    async with contextlib.aclosing(response):
        try:
            if EVENT_STREAM not in response.headers.get("content-type", "").lower():
                content: bytes = await response.aread()
                return content
            return await _join_events(aiter(response.stream), sink)
        except httpx2.TimeoutException as error:
            raise TransientError("the model endpoint did not answer in time") from error
        except httpx2.TransportError as error:
            raise TransientError(
                f"the model endpoint broke its stream off ({type(error).__name__})"
            ) from error


async def _join_events(pieces: AsyncIterator[bytes], sink: Callable[[str], float]) -> bytes:
    import httpx2

    answer = StreamedAnswer()
    began, is_heard, due = time.monotonic(), False, 0.0
    async for piece in pieces:
        waited = time.monotonic() - began
        text = answer.feed(piece)
        if text:
            due = time.monotonic() + sink(text)
        if answer.size > LONGEST_ANSWER_BYTES:
            raise AnswerTooLarge
        if answer.is_done:
            break
        is_heard = is_heard or bool(text)
        if is_heard and waited > WAITED_SECONDS:
            until_due = due - LEAD_SECONDS - time.monotonic()
            gather = min(until_due, LONGEST_GATHER_SECONDS)
            await asyncio.sleep(gather if gather > LEAD_SECONDS else GATHER_SECONDS)
        began = time.monotonic()
    with contextlib.suppress(TimeoutError, httpx2.TransportError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in pieces:
                pass
    whole = answer.finish()
    if whole is None:
        raise UnreadableAnswer("the model endpoint's stream ended before the answer did")
    return write_json(whole).encode()


async def _bound_answer(response: httpx2.Response) -> None:
    """Limit the answer to LONGEST_ANSWER_BYTES, a stream to LONGEST_STREAM_BYTES."""
    import httpx2

    encoding = response.headers.get("content-encoding", "identity").lower()
    # AOS asked for no compression, but some gateways compress anyway. It is unpacked here, because
    # the client would unpack a body to any size.
    if encoding in ("gzip", "x-gzip"):
        del response.headers["content-encoding"]
    elif encoding != "identity":
        raise httpx2.RemoteProtocolError(f"the answer is compressed with {encoding!r}")
    kind = response.headers.get("content-type", "").lower()
    limit = LONGEST_STREAM_BYTES if EVENT_STREAM in kind else LONGEST_ANSWER_BYTES
    response.stream = _make_bounded_stream_type()(response.stream, encoding != "identity", limit)


@functools.cache
def _make_bounded_stream_type() -> Any:
    """Make the class when it is needed, because its base class comes with the SDK."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream, is_packed: bool, limit: int) -> None:
            self._inner = inner
            self._limit = limit
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if is_packed else None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._inner:
                plain = chunk if self._unpack is None else self._decompress(chunk)
                size += len(plain)
                if size > self._limit:
                    raise AnswerTooLarge(self._limit)
                yield plain

        def _decompress(self, chunk: bytes) -> bytes:
            """Unpack to at most one byte more than an answer may have."""
            assert self._unpack is not None
            try:
                return self._unpack.decompress(chunk, self._limit + 1)
            except zlib.error as error:
                raise httpx2.RemoteProtocolError(f"broken gzip: {error}") from error

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Bounded


@contextlib.asynccontextmanager
async def limit_time(seconds: float) -> AsyncIterator[None]:
    """Limit the time of the whole call. The SDK's time-outs restart with each byte."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TransientError(f"the model endpoint did not answer within {seconds:g} s") from error
