"""Performs a client's HTTP calls in asyncio with httpx2 (ADR 0071). Entry point:
`HttpxTransport`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from aos.client.address import Address
from aos.client.errors import AosUnreachable
from aos.client.flows import Awaiting, Flow, Json, Pause, Work, iterate_later, run_later
from aos.client.transport import is_loopback
from aos.client.wire import Call, Head, NoAnswer, Read
from aos.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[Any]]


class HttpxTransport(Awaiting):
    """Carries flows out in the running event loop. Several tasks and event loops may use it."""

    def __init__(self, address: Address, *, sleep: Sleep = asyncio.sleep) -> None:
        self._address = address
        self._sleep = sleep
        self._https: dict[asyncio.AbstractEventLoop, httpx2.AsyncClient] = {}
        """The connections of an event loop cannot be used in another."""

    async def carry_out(self, flow: Flow[T]) -> T:
        """Perform the flow's effects; return its result."""
        async with aclosing(_Exchange(self._open(), self._address.url, self._sleep)) as exchange:
            return await run_later(flow, exchange.perform)

    async def read_items(self, flow: Flow[None]) -> AsyncIterator[Json]:
        """Perform the flow's effects; yield its items."""
        async with (
            aclosing(_Exchange(self._open(), self._address.url, self._sleep)) as exchange,
            aclosing(iterate_later(flow, exchange.perform)) as items,
        ):
            async for item in items:
                yield item

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The next call opens others; calls and
        streams that go on raise AosUnreachable."""
        http = self._https.pop(asyncio.get_running_loop(), None)
        if http is not None:
            await http.aclose()

    def _open(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._https:
            try:
                import httpx2  # takes 70 ms; the blocking client does not need it
            except ModuleNotFoundError as error:
                raise ConfigurationError(
                    "AsyncAosClient needs httpx2: pip install 'aos[async]'"
                ) from error
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
            for old in [known for known in list(self._https) if known.is_closed()]:
                self._https.pop(old, None)
            self._https[loop] = httpx2.AsyncClient(
                limits=limits, trust_env=not is_loopback(self._address.url)
            )
        return self._https[loop]


class _Exchange:
    """The calls of one flow, of which the last is open."""

    def __init__(self, http: httpx2.AsyncClient, url: str, sleep: Sleep) -> None:
        self._http = http
        self._url = url
        self._sleep = sleep
        self._response: httpx2.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, effect: object) -> Any:
        """Perform an effect; return its answer."""
        match effect:
            case Call():
                return await self._send(effect)
            case Read():
                return await self._read()
            case Pause(seconds):
                await self.aclose()
                return await self._sleep(seconds)
            case Work(do):
                return await asyncio.to_thread(do)
        raise TypeError(f"{effect!r} is not an effect")

    async def aclose(self) -> None:
        """Close what is open."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            await response.aclose()

    async def _send(self, call: Call) -> Head | NoAnswer:
        import httpx2

        await self.aclose()
        if self._http.is_closed:
            raise AosUnreachable("the client was closed while this call went on")
        request = self._http.build_request(
            call.method,
            self._url + call.path,
            content=call.body,
            headers=dict(call.headers),
            timeout=call.timeout_seconds,
        )
        try:
            self._response = await self._http.send(request, stream=True)
        except httpx2.TransportError as error:
            reached = not isinstance(error, httpx2.ConnectError)
            return NoAnswer(reason=_explain(error), reached=reached)
        self._chunks = self._response.aiter_raw()
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Head(status=self._response.status_code, headers=headers)

    async def _read(self) -> bytes | NoAnswer:
        import httpx2

        assert self._chunks is not None  # a flow reads after its call was answered
        try:
            return await anext(self._chunks, b"")
        except httpx2.TransportError as error:
            return NoAnswer(reason=_explain(error), reached=True)


def _explain(error: Exception) -> str:
    cause: BaseException | None = error
    for _ in range(8):
        if cause is None:
            break
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
