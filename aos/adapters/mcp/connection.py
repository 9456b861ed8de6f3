"""How is one MCP server, once it runs, spoken to?

A `Connection` holds a session of the `mcp` SDK open in a task of its own. What the server does
wrong becomes one of our outcomes or errors, naming it; nothing here waits without a bound. The SDK
is loaded by the first connection (it costs about a second).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.results import outcome_of
from aos.adapters.mcp.tool_list import NotListable, all_tools
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import ServerFailed

if TYPE_CHECKING:
    from mcp.client.session import ClientSession

    from aos.adapters.mcp.stdio import ServerHandle, Streams

LIST_SECONDS = 30.0
PING_SECONDS = 3.0
CLOSE_SECONDS = 15.0
MOST_SAID = 2_000
"""Characters of what a server says of itself in one error."""
COURTESY_SECONDS = 6.0
"""For telling the server that a call has been given up."""
_QUIET = ("mcp", "client", "mcp.client.streamable_http")
Transport: TypeAlias = Callable[[], "AbstractAsyncContextManager[Streams]"]


class Connection:
    """A session with one server: opened once, used by many calls at once, closed once."""

    def __init__(
        self,
        server_id: str,
        transport: Transport,
        *,
        handle: ServerHandle | None = None,
        masker: Masker,
        on_tools_changed: Callable[[], None],
    ) -> None:
        self._server_id = server_id
        self._transport = transport
        self._handle = handle
        self._masker = masker
        self._on_tools_changed = on_tools_changed
        self._session: ClientSession | None = None
        self._runner: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._doubtful = False
        self._uses = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def in_use(self) -> bool:
        """Is something under way on it?"""
        return self._uses > 0

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Count a use, which `unused` waits for."""
        self._uses += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._unused.set()

    async def unused(self) -> None:
        """Until nothing is under way on it."""
        await self._unused.wait()

    @property
    def alive(self) -> bool:
        """Can it be called? Not once its process has ended, or it has stopped answering."""
        runner, handle = self._runner, self._handle
        if self._closing.is_set() or self._doubtful or runner is None or runner.done():
            return False
        return handle is None or handle.process is None or handle.process.exit_code is None

    @property
    def tail(self) -> str:
        """The last that the server wrote to its error output, without secrets."""
        if self._handle is None or self._handle.process is None:
            return ""
        return self._masker.printed(self._handle.process.tail)

    async def open(self, *, timeout_seconds: float) -> None:
        """Start the server and shake hands. Raises ServerFailed; then nothing is left running."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(ready))
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait([ready, self._runner], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise self._failed(
                f"did not answer within {timeout_seconds:g} s of its start"
            ) from None
        else:
            if not ready.done():
                self._runner.result()
            await ready
        finally:
            if not (ready.done() and not ready.cancelled() and ready.exception() is None):
                await self.close()

    async def list_tools(self) -> list[ToolSchema]:
        """Every tool that the server has. Raises ServerFailed."""
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await all_tools(self._opened(), self._masker)
        except NotListable as error:
            raise self._failed(str(error)) from error
        except TimeoutError as error:
            self._doubtful = True
            raise self._failed(f"did not list its tools within {LIST_SECONDS:g} s") from error

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, timeout_seconds: float
    ) -> ToolOutcome:
        """Call a tool; what can go wrong is said by the outcome."""
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult

        try:
            async with asyncio.timeout(timeout_seconds + COURTESY_SECONDS):
                result = await self._opened().call_tool(
                    tool, dict(arguments), read_timeout_seconds=timeout_seconds
                )
        except TimeoutError:
            self._doubtful = True  # it does not even read what it is sent
            return self._unknown(f"did not answer within {timeout_seconds:g} s")
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                await self._check()
                return self._unknown(f"did not answer within {timeout_seconds:g} s")
            if error.code == CONNECTION_CLOSED or not await self._answers_still():
                self._doubtful = True
                return self._unknown(f"ended while {tool!r} was being called")
            return self._error(f"answered with an error: {error}")
        except (ValueError, RuntimeError) as error:
            return self._error(f"gave an answer that is not MCP's: {error}")
        if not isinstance(result, CallToolResult):
            return self._error("asked back, which is not supported")
        return outcome_of(result, self._masker)

    def when_over(self, tell: Callable[[], None]) -> None:
        """Call this once the session is over, whoever ended it."""
        assert self._runner is not None  # it is open
        self._runner.add_done_callback(lambda _: tell())

    async def close(self) -> None:
        """End the session and the server; returns when it is gone."""
        self._closing.set()
        runner = self._runner
        if runner is None:
            return
        await asyncio.wait([runner], timeout=CLOSE_SECONDS)
        if not runner.done():
            runner.cancel()
            await asyncio.wait([runner], timeout=CLOSE_SECONDS)
        with contextlib.suppress(asyncio.CancelledError, ServerFailed):
            if runner.done():
                runner.result()

    async def _run(self, ready: asyncio.Future[None]) -> None:
        """The session's life; everything of the SDK is entered and left in this one task."""
        await asyncio.to_thread(_load)
        try:
            async with (
                self._transport() as (read, write),
                self._new_session(read, write) as session,
            ):
                opening = asyncio.create_task(session.initialize())
                closing = asyncio.create_task(self._closing.wait())
                opening.add_done_callback(_looked_at)
                try:
                    await asyncio.wait([opening, closing], return_when=asyncio.FIRST_COMPLETED)
                    if opening.done():
                        opening.result()
                        self._session = session
                        if not ready.done():
                            ready.set_result(None)
                        await self._over(closing)
                finally:
                    opening.cancel()
                    closing.cancel()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            failed = self._failed(_why(error))
            if ready.done():
                return  # calls see that it has ended; who needs it starts another
            raise failed from error

    async def _over(self, closing: asyncio.Task[bool]) -> None:
        """Until we close it, or its process ends by itself."""
        process = None if self._handle is None else self._handle.process
        if process is None:
            await asyncio.wait([closing])
            return
        ended = asyncio.create_task(process.wait())
        await asyncio.wait([closing, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        await asyncio.wait([ended])

    def _new_session(self, read: Any, write: Any) -> ClientSession:
        import mcp_types as types
        from mcp.client.session import ClientSession

        from aos.version import __version__

        async def heard(message: object) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                self._on_tools_changed()

        return ClientSession(
            read,
            write,
            message_handler=heard,
            client_info=types.Implementation(name="aos", version=__version__),
        )

    async def _answers_still(self) -> bool:
        """After an error: a process tells by itself that it has ended, a URL must be asked."""
        if self._handle is None:
            await self._check()
        return self.alive

    async def _check(self) -> None:
        """After a call that was not answered: does the server answer at all?"""
        from mcp.shared.exceptions import MCPError

        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._opened().send_ping()
        except (TimeoutError, MCPError, ValueError):
            self._doubtful = True

    def _opened(self) -> ClientSession:
        assert self._session is not None  # `open` has returned
        return self._session

    def _unknown(self, what: str) -> ToolOutcome:
        return ToolOutcome(outcome="outcome_unknown", content=self._said(what))

    def _error(self, what: str) -> ToolOutcome:
        return ToolOutcome(outcome="error", content=self._said(what)[:MOST_SAID])

    def _failed(self, what: str) -> ServerFailed:
        tail = self.tail
        said = f"; it last said: {tail}" if tail else ""
        brief = self._said(what)[:MOST_SAID]
        return ServerFailed(brief + said, brief=brief, server_id=self._server_id)

    def _said(self, what: str) -> str:
        return f"the MCP server {self._server_id!r} {self._masker.printed(what)}"


def _looked_at(task: asyncio.Task[Any]) -> None:
    """What became of it is known otherwise, or not wanted any more."""
    if not task.cancelled():
        task.exception()


def _why(error: BaseException) -> str:
    """What went wrong, in the words of the innermost error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"cannot be started: {error.strerror}: {error.filename}"
    text = str(error)
    if text == "Connection closed":
        return "ended, or closed its output, before it had answered"
    return f"cannot be spoken to: {text or type(error).__name__}"


def _load() -> None:
    """Import the SDK; what it logs holds contents, which are not for logs."""
    import mcp.client.session
    import mcp.client.streamable_http  # noqa: F401

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
