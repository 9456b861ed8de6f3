"""Calls AOS over HTTP from a program in asyncio. Entry point: `AsyncAosClient`.

    async with AsyncAosClient() as client:
        async for event in client.stream("ceo", "What should we do first?"):
            print(event["type"])

It has the methods of AosClient. Operations are awaited, lists and streams are read with
`async for`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aos.client.address import find_address
from aos.client.async_transport import HttpxTransport
from aos.client.flows import make_methods
from aos.client.http import Operations
from aos.client.wire import RETRY_SECONDS, Sender


@make_methods
class AsyncAosClient(HttpxTransport, Operations):
    """The main app's HTTP API for asyncio: the methods of AosClient, awaited.

    Needs httpx2 (`pip install 'aos[async]'`). Several tasks may use one client, also in
    several event loops. Close it with `aclose` in each of them, or use it as
    `async with AsyncAosClient() as client`.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        address = find_address(url=url, key=key)
        super().__init__(address, sleep=sleep)
        self.url = address.url
        self._sender = Sender(address, retry_seconds=retry_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
