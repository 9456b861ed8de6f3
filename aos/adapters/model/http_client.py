"""How is the HTTP client for a model endpoint made, and what does it let in?

The `openai` SDK's plain client, without retries, redirects or packed bodies, and with a bound on
the size of an answer. Everything here is called late: it loads the SDK (0.7 to 1.3 s).
"""

from __future__ import annotations

import functools
import logging
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
    """The endpoint sends more than we take."""

    def __init__(self) -> None:
        super().__init__(f"the model endpoint answered with more than {LONGEST_ANSWER_BYTES} bytes")


def open_client(base_url: str, key: str | Callable[[], Awaitable[str]]) -> AsyncOpenAI:
    """A client for an endpoint; `key` is a key, or gives a fresh token for each request."""
    import httpx2
    from openai import AsyncOpenAI

    # Both log every request; what there is to say about a call, the run's span says.
    for chatty in ("httpx2", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    transport = httpx2.AsyncClient(
        follow_redirects=False,
        event_hooks={"response": [_bound_answer]},
        headers={"Accept-Encoding": "identity"},
        limits=httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
    )
    return AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=transport)


def token_provider(
    scope: str, client_id: str | None
) -> tuple[Callable[[], Awaitable[str]], DefaultAzureCredential]:
    """Tokens of the app's identity for `scope`, and the credential to close in the end.

    A token that cannot be had is a TransientError.
    """
    from azure.core.exceptions import AzureError
    from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

    credential = DefaultAzureCredential(managed_identity_client_id=client_id)
    provider = get_bearer_token_provider(credential, scope)

    async def token() -> str:
        try:
            return await provider()
        except AzureError as error:
            message = "no token for the model endpoint: check the app's identity and its role"
            raise TransientError(message) from error

    return token, credential


def request_options(timeout_seconds: float) -> Any:
    """The SDK's options for one request."""
    import httpx2

    connect = min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
    return {"timeout": httpx2.Timeout(timeout_seconds, connect=connect)}


def response_type() -> type[httpx2.Response]:
    """The raw answer: reading it ourselves skips the SDK's typed models."""
    import httpx2

    return httpx2.Response


async def _bound_answer(response: httpx2.Response) -> None:
    """Let no more than LONGEST_ANSWER_BYTES of an answer in."""
    import httpx2

    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":  # unpacked it could be any size, and we asked for it plain
        raise httpx2.RemoteProtocolError(f"answer packed with {encoding!r}")
    response.stream = _bounded_stream_type()(response.stream)


@functools.cache
def _bounded_stream_type() -> Any:
    """A class made late, because its base comes with the SDK."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._inner:
                size += len(chunk)
                if size > LONGEST_ANSWER_BYTES:
                    raise AnswerTooLarge
                yield chunk

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Bounded
