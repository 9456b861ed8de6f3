"""Makes the HTTP client for a model endpoint. Entry points: `open_client`, `limit_time`.

The client is the plain client of the `openai` SDK without retries or redirects, and with a limit on
the size of an answer, also when it is packed. Import this module only when a model is called,
because the SDK takes 0.7 to 1.3 s to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aos.errors import TransientError

if TYPE_CHECKING:
    import httpx2
    from azure.identity.aio import DefaultAzureCredential
    from openai import AsyncOpenAI

LONGEST_ANSWER_BYTES = 1024 * 1024
CONNECT_TIMEOUT_SECONDS = 10.0
CONNECTIONS = 256
KEEP_ALIVE_SECONDS = 30.0


class AnswerTooLarge(Exception):
    """The endpoint sent more than the accepted size."""

    def __init__(self) -> None:
        super().__init__(f"the model endpoint answered with more than {LONGEST_ANSWER_BYTES} bytes")


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


async def _bound_answer(response: httpx2.Response) -> None:
    """Limit the answer to LONGEST_ANSWER_BYTES."""
    import httpx2

    encoding = response.headers.get("content-encoding", "identity").lower()
    # AOS asked for no compression, but some gateways compress anyway. It is unpacked here, because
    # the client would unpack a body to any size.
    if encoding in ("gzip", "x-gzip"):
        del response.headers["content-encoding"]
    elif encoding != "identity":
        raise httpx2.RemoteProtocolError(f"the answer is compressed with {encoding!r}")
    response.stream = _make_bounded_stream_type()(response.stream, encoding != "identity")


@functools.cache
def _make_bounded_stream_type() -> Any:
    """Make the class when it is needed, because its base class comes with the SDK."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream, is_packed: bool) -> None:
            self._inner = inner
            self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if is_packed else None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._inner:
                plain = chunk if self._unpack is None else self._decompress(chunk)
                size += len(plain)
                if size > LONGEST_ANSWER_BYTES:
                    raise AnswerTooLarge
                yield plain

        def _decompress(self, chunk: bytes) -> bytes:
            """Unpack to at most one byte more than an answer may have."""
            assert self._unpack is not None
            try:
                return self._unpack.decompress(chunk, LONGEST_ANSWER_BYTES + 1)
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
