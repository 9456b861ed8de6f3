"""Calls one function and encodes what it returns. Entry point: `Invoker.call`.

Async functions run on the event loop, others in a thread pool. The host's time limit holds for
both. As under Azure's worker, a function without a return binding fails if it returns a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import azure.functions as func
from azure.functions import get_binding_registry
from azure.functions.meta import Datum

from devhost.functions.indexing import LoadedFunction

if TYPE_CHECKING:
    from devhost.functions.http_streams import LocalExtension


class InvocationError(Exception):
    """A call failed for a reason that the host found, not by an exception of the function."""


class InvocationContext(func.Context):
    """The `context` parameter of a function."""

    def __init__(self, function: LoadedFunction) -> None:
        self._function = function
        self._invocation_id = str(uuid.uuid4())
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        """The id of the call."""
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        """The place where the worker keeps the invocation id for threads of the function."""
        return self._local

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def function_directory(self) -> str:
        """The app's folder."""
        return self._function.directory

    @property
    def trace_context(self) -> Any:
        """None, because the local host makes no traces."""
        return None

    @property
    def retry_context(self) -> Any:
        """None, because the local host has no retry policies."""
        return None


class Invoker:
    """Calls functions and counts the running calls."""

    def __init__(
        self, *, timeout_seconds: float | None, extension: LocalExtension | None = None
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._extension = extension
        self._threads = ThreadPoolExecutor(thread_name_prefix="function")
        self._idle = asyncio.Event()
        self._idle.set()
        self.running = 0
        self.threads_running = 0

    async def start(self) -> str | None:
        """Return the address to which the app's HTTP requests are forwarded; None if they come
        with their calls. Raises HostError."""
        return None if self._extension is None else await self._extension.start()

    async def call(
        self,
        function: LoadedFunction,
        data: Datum,
        metadata: Mapping[str, Datum],
        *,
        forwarded: str | None = None,
    ) -> Any:
        """Decode the input, call the function, and return the encoded result (a Datum) or None.

        `forwarded` is the invocation's id, if its HTTP request is forwarded; the response then
        goes the same way, and the result is None. Raises what the function raises, and
        TimeoutError after host.json's functionTimeout.
        """
        async with self.count():
            return await self.invoke(function, data, metadata, forwarded=forwarded)

    @contextlib.asynccontextmanager
    async def count(self) -> AsyncIterator[None]:
        """Count what is inside as a running call, and limit its time."""
        self.running += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        finally:
            self.running -= 1
            if self.running == 0:
                self._idle.set()

    async def invoke(
        self,
        function: LoadedFunction,
        data: Datum,
        metadata: Mapping[str, Datum],
        *,
        forwarded: str | None = None,
    ) -> Any:
        """Make the call that `call` counts and limits. Other invokers call in another place."""
        arguments = _decode_arguments(function, data, metadata)
        if forwarded is None or self._extension is None:
            return _encode_result(function, await self._run(function, arguments))
        await self._invoke_forwarded(self._extension, function, arguments, forwarded)
        return None

    async def close(self) -> None:
        """End what the calls were made with: a web server, or another process."""
        if self._extension is not None:
            await self._extension.close()

    async def wait_idle(self) -> None:
        """Wait until no call is running."""
        await self._idle.wait()

    async def _invoke_forwarded(
        self,
        extension: LocalExtension,
        function: LoadedFunction,
        arguments: dict[str, Any],
        invocation_id: str,
    ) -> None:
        name = str(function.trigger["name"])
        response: Any = RuntimeError("the function was stopped")
        try:
            route_params = arguments[name].route_params
            arguments[name] = await extension.take_request(invocation_id, route_params)
            response = await self._run(function, arguments)
        except Exception as error:
            response = error
            raise
        finally:
            extension.respond(invocation_id, response)
            extension.drop(invocation_id)

    async def _run(self, function: LoadedFunction, arguments: dict[str, Any]) -> Any:
        if function.is_async:
            return await function.call(**arguments)
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        work = self._threads.submit(lambda: context.run(function.call, **arguments))
        self.threads_running += 1
        work.add_done_callback(lambda _: self._handle_thread_end(loop))
        return await asyncio.wrap_future(work)

    def _handle_thread_end(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may have ended by then
            loop.call_soon_threadsafe(self._count_thread_out)

    def _count_thread_out(self) -> None:
        self.threads_running -= 1


def _decode_arguments(
    function: LoadedFunction, data: Datum, metadata: Mapping[str, Datum]
) -> dict[str, Any]:
    if function.converter == "generic":
        value = data.value
    else:
        converter = get_binding_registry().get(function.converter)
        value = converter.decode(data, trigger_metadata=metadata)
    arguments = {str(function.trigger["name"]): value}
    if function.wants_context:
        arguments["context"] = InvocationContext(function)
    return arguments


def _encode_result(function: LoadedFunction, result: Any) -> Datum | None:
    if not function.has_return:
        if result is not None:
            raise InvocationError(
                f"function {function.name!r} without a $return binding returned "
                f"{type(result).__name__}; return nothing"
            )
        return None
    try:
        encoded: Datum = get_binding_registry().get("http").encode(result, expected_type=None)
    except NotImplementedError:
        raise InvocationError(
            f"function {function.name!r} returned {type(result).__name__}; "
            "return an azure.functions.HttpResponse or a str"
        ) from None
    return encoded
