"""Talks to one running MCP server. Entry point: `Connection.call`.

A `Connection` keeps a session of the `mcp` SDK open in its own task. A fault of the server becomes
an outcome or an error that names the server. Every wait has a time limit. The first connection
imports the SDK, which takes about a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.results import read_outcome
from aos.adapters.mcp.tool_list import NotListable, list_all_tools
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import ServerFailed

if TYPE_CHECKING:
    from mcp.client.session import ClientSession

    from aos.adapters.mcp.stdio import ServerHandle, Streams

LIST_SECONDS = 30.0
PING_SECONDS = 3.0
CLOSE_SECONDS = 15.0
MOST_SAID = 2_000
"""The most characters of a server's own error output that one error repeats."""
COURTESY_SECONDS = 6.0
"""How long to wait while telling the server that a call was given up."""
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
        """Whether a call or a listing is under way."""
        return self._uses > 0

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Count a use; `wait_until_unused` waits for its end."""
        self._uses += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._uses -= 1
            if not self._uses:
                self._unused.set()

    async def wait_until_unused(self) -> None:
        """Wait until nothing is under way."""
        await self._unused.wait()

    @property
    def alive(self) -> bool:
        """Whether the server can be called: its process runs and it has not stopped answering."""
        runner, handle = self._runner, self._handle
        if self._closing.is_set() or self._doubtful or runner is None or runner.done():
            return False
        return handle is None or handle.process is None or handle.process.exit_code is None

    @property
    def tail(self) -> str:
        """The last lines of the server's error output, without secrets."""
        if self._handle is None or self._handle.process is None:
            return ""
        return self._masker.mask_printed(self._handle.process.tail)

    async def open(self, *, timeout_seconds: float) -> None:
        """Start the server and open the session. Raises ServerFailed; then nothing is left
        running."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(ready))
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait([ready, self._runner], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise self._make_failure(
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
        """List all tools of the server. Raises ServerFailed."""
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return await list_all_tools(self._get_session(), self._masker)
        except NotListable as error:
            raise self._make_failure(str(error)) from error
        except TimeoutError as error:
            self._doubtful = True
            raise self._make_failure(f"did not list its tools within {LIST_SECONDS:g} s") from error

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, timeout_seconds: float
    ) -> ToolOutcome:
        """Call a tool. A failure is reported in the outcome."""
        from mcp.shared.exceptions import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult

        try:
            async with asyncio.timeout(timeout_seconds + COURTESY_SECONDS):
                result = await self._get_session().call_tool(
                    tool, dict(arguments), read_timeout_seconds=timeout_seconds
                )
        except TimeoutError:
            self._doubtful = True  # the server does not even read what is sent to it
            return self._make_unknown(f"did not answer within {timeout_seconds:g} s")
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                await self._check()
                return self._make_unknown(f"did not answer within {timeout_seconds:g} s")
            if error.code == CONNECTION_CLOSED or not await self._is_answering():
                self._doubtful = True
                return self._make_unknown(f"ended while {tool!r} was being called")
            return self._make_error(f"answered with an error: {error}")
        except (ValueError, RuntimeError) as error:
            return self._make_error(f"gave an answer that is not valid MCP: {error}")
        if not isinstance(result, CallToolResult):
            return self._make_error("sent a request back, which AOS does not support")
        return read_outcome(result, self._masker)

    def watch_end(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the session ends, for any reason."""
        assert self._runner is not None  # the session is open
        self._runner.add_done_callback(lambda _: tell())

    async def close(self) -> None:
        """End the session and the server. Returns when the server has ended."""
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
        """Run the session. The SDK requires that it is opened and closed in the same task."""
        await asyncio.to_thread(_load)
        try:
            async with (
                self._transport() as (read, write),
                self._make_session(read, write) as session,
            ):
                opening = asyncio.create_task(session.initialize())
                closing = asyncio.create_task(self._closing.wait())
                opening.add_done_callback(_ignore_result)
                try:
                    await asyncio.wait([opening, closing], return_when=asyncio.FIRST_COMPLETED)
                    if opening.done():
                        opening.result()
                        self._session = session
                        if not ready.done():
                            ready.set_result(None)
                        await self._wait_for_end(closing)
                finally:
                    opening.cancel()
                    closing.cancel()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            failed = self._make_failure(_explain(error))
            if ready.done():
                return  # calls in progress notice the end; the next caller starts another server
            raise failed from error

    async def _wait_for_end(self, closing: asyncio.Task[bool]) -> None:
        """Wait until `close` is called or the server's process ends."""
        process = None if self._handle is None else self._handle.process
        if process is None:
            await asyncio.wait([closing])
            return
        ended = asyncio.create_task(process.wait())
        await asyncio.wait([closing, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        await asyncio.wait([ended])

    def _make_session(self, read: Any, write: Any) -> ClientSession:
        import mcp_types as types
        from mcp.client.session import ClientSession

        from aos.version import __version__

        async def handle_message(message: object) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                self._on_tools_changed()

        return ClientSession(
            read,
            write,
            message_handler=handle_message,
            client_info=types.Implementation(name="aos", version=__version__),
        )

    async def _is_answering(self) -> bool:
        """After an error, check whether the server still answers.

        A process that ended is noticed anyway; a server with a URL must be asked.
        """
        if self._handle is None:
            await self._check()
        return self.alive

    async def _check(self) -> None:
        """After a call without an answer, check whether the server answers at all."""
        from mcp.shared.exceptions import MCPError

        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._get_session().send_ping()
        except (TimeoutError, MCPError, ValueError):
            self._doubtful = True

    def _get_session(self) -> ClientSession:
        assert self._session is not None  # `open` has returned
        return self._session

    def _make_unknown(self, what: str) -> ToolOutcome:
        return ToolOutcome(outcome="outcome_unknown", content=self._write_text(what))

    def _make_error(self, what: str) -> ToolOutcome:
        return ToolOutcome(outcome="error", content=self._write_text(what)[:MOST_SAID])

    def _make_failure(self, what: str) -> ServerFailed:
        tail = self.tail
        said = f"; last output: {tail}" if tail else ""
        brief = self._write_text(what)[:MOST_SAID]
        return ServerFailed(brief + said, brief=brief, server_id=self._server_id)

    def _write_text(self, what: str) -> str:
        return f"the MCP server {self._server_id!r} {self._masker.mask_printed(what)}"


def _ignore_result(task: asyncio.Task[Any]) -> None:
    """Ignore the result of a task whose outcome is known or not needed."""
    if not task.cancelled():
        task.exception()


def _explain(error: BaseException) -> str:
    """Describe an error by its innermost cause."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"cannot be started: {error.strerror}: {error.filename}"
    text = str(error)
    if text == "Connection closed":
        return "ended, or closed its output, before it had answered"
    return f"cannot be reached: {text or type(error).__name__}"


def _load() -> None:
    """Import the SDK and silence its log, which contains contents of calls."""
    import mcp.client.session
    import mcp.client.streamable_http  # noqa: F401

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
