"""Sends the SDK's requests to Azure Storage, each write once. Entry point: `open_transport`.

aiohttp repeats a PUT or a DELETE by itself when a kept connection ends before the answer. The
service may have done the first one; then the repeat finds a changed ETag, or no row, and reports it
as another writer's. The session of this transport raises instead, so the caller gets
`OutcomeUnknown`. Importing this module loads aiohttp and azure-core.
"""

from __future__ import annotations

from typing import Any
from urllib.request import getproxies

import aiohttp
from azure.core.pipeline import transport

from aos.adapters.storage_calls import CONNECT_TIMEOUT_SECONDS

READS = ("GET", "HEAD")


class UnansweredWrite(aiohttp.ClientConnectionError):
    """The connection ended before the answer to a write."""


def open_transport(*, read_timeout: float, **options: Any) -> Any:
    """Open the SDK's transport on a session that repeats no write. Needs a running loop."""
    session = aiohttp.ClientSession(
        # To look for a proxy and a .netrc file costs each call two switches to another thread.
        trust_env=bool(getproxies()),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        middlewares=(_raise_unanswered,),
    )
    return transport.AioHttpTransport(
        session=session,
        connection_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout,
        **options,
    )


async def _raise_unanswered(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request. aiohttp repeats after two kinds of errors; a write raises another kind."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # no connection was made; aiohttp repeats nothing then
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method in READS:
            raise
        raise UnansweredWrite(f"the connection ended before the answer: {error}") from error
