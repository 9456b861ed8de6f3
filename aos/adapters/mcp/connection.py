"""Talks to one running MCP server. Entry point: `Connection.call`.

A `Connection` keeps a session open in its own task. A fault of the server becomes an outcome or an
error that names the server. Every wait has a time limit. The first connection imports the `mcp`
SDK, which takes about a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.mcp.asking import Asking, NoAsker
from aos.adapters.mcp.continuing import talk
from aos.adapters.mcp.failures import (
    Report,
    explain_failure,
    find_cause,
    is_away,
    is_cut_off,
    is_lost,
    is_without_session,
)
from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.messages import UNREADABLE
from aos.adapters.mcp.results import AsksFirst
from aos.adapters.mcp.tasks import Tasks
from aos.adapters.mcp.tool_list import NotListable, list_all_tools
from aos.domain.tools.questions import CallResume
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import ServerFailed

if TYPE_CHECKING:
    from mcp.shared.exceptions import MCPError

    from aos.adapters.mcp.session import Session
    from aos.adapters.mcp.stdio import ServerHandle, Streams

LIST_SECONDS = 30.0
PING_SECONDS = 3.0
CLOSE_SECONDS = 15.0
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
        self._transport = transport
        self._handle = handle
        self._masker = masker
        self._report = Report(server_id, masker)
        self._asking = Asking(masker)
        self._on_tools_changed = on_tools_changed
        self._session: Session | None = None
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

    @property
    def is_newest(self) -> bool:
        """Whether the open session speaks the newest revision of MCP."""
        return self._get_session().is_newest

    async def open(self, *, timeout_seconds: float, newest: bool = True) -> None:
        """Start the server and open the session. Raises ServerFailed; then nothing is left
        running.

        `newest` is False for a server that is known not to speak the newest revision.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(ready, newest=newest))
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
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
        resume: CallResume | None = None,
    ) -> ToolOutcome:
        """Call a tool, or go on with a call. A failure is reported in the outcome."""
        if resume is not None and resume.task_id is not None:
            return await self.follow_task(
                resume.task_id, timeout_seconds=timeout_seconds, resume=resume
            )
        answers = () if resume is None or resume.kind != "replay" else resume.all_answers
        asking, sent = self._asking.call(answers), False
        try:
            async with asyncio.timeout(timeout_seconds), asking as call:
                sent = True
                outcome = await self._make_call(tool, arguments, resume)
        except TimeoutError:
            if not sent:
                return self._report.make_not_called("is busy with calls that ask people")
            await self._check()
            return self._report.make_unknown(f"did not answer within {timeout_seconds:g} s")
        if call.pause is None or outcome.outcome not in ("ok", "error"):
            return outcome
        return replace(outcome, pause=call.pause)

    async def follow_task(
        self, task_id: str, *, timeout_seconds: float, resume: CallResume | None = None
    ) -> ToolOutcome:
        """Ask for a task, after it was told the answers of `resume`."""
        tasks = Tasks(self._get_session(), self._report, self._masker)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await tasks.follow(task_id, resume)
        except TimeoutError:
            await self._check()
            return tasks.make_waiting(task_id)

    async def cancel_task(self, task_id: str, *, timeout_seconds: float) -> None:
        """Ask the server to cancel a task. It may have ended, or be unknown."""
        from mcp.shared.exceptions import MCPError

        with contextlib.suppress(MCPError, TimeoutError, ValueError):
            async with asyncio.timeout(timeout_seconds):
                await self._get_session().ask_task("tasks/cancel", task_id)

    async def _make_call(
        self, tool: str, arguments: Mapping[str, Any], resume: CallResume | None
    ) -> ToolOutcome:
        from mcp.shared.exceptions import MCPError

        async def send(responses: Mapping[str, Any] | None, state: str | None) -> dict[str, Any]:
            return await self._send_call(tool, arguments, responses, state)

        try:
            result = await talk(send, resume, self._masker)
            return self._report.read_answer(result)
        except AsksFirst as error:
            return self._report.make_error(str(error))
        except MCPError as error:
            return await self._read_refusal(error, tool)
        except (ValueError, RuntimeError) as error:
            return self._report.make_unknown(f"gave an answer that is not MCP's: {error}")

    async def _send_call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        responses: Mapping[str, Any] | None,
        state: str | None,
    ) -> dict[str, Any]:
        """Call a tool. A server that refuses the headers did nothing: list the tools, call again.

        Raises MCPError.
        """
        from mcp.shared.exceptions import MCPError
        from mcp_types import HEADER_MISMATCH

        session = self._get_session()
        try:
            return await session.call(tool, arguments, responses=responses, state=state)
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            with contextlib.suppress(NotListable):
                await list_all_tools(session, self._masker)
            return await session.call(tool, arguments, responses=responses, state=state)

    async def _read_refusal(self, error: MCPError, tool: str) -> ToolOutcome:
        """Build the outcome of a call that ended with an error: the server's, or a lost line."""
        is_url = self._handle is None
        if is_url and is_without_session(error):
            self._doubtful = True  # the next call makes a new session
            said = "has ended the session, so nothing was called; call it again"
            return self._report.make_not_called(said)
        if is_url or is_lost(error):
            await self._check()
        if error.code == UNREADABLE:  # the server has answered: the tool may have run
            return self._report.make_unknown(f"gave an answer that cannot be read: {error}")
        if not self.alive or (is_url and is_cut_off(error)):
            self._doubtful = True
            return self._report.make_unknown(f"ended while {tool!r} was being called")
        return self._report.read_error(error)

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

    async def _run(self, ready: asyncio.Future[None], *, newest: bool) -> None:
        """Run the session. The SDK requires that it is opened and closed in the same task."""
        await asyncio.to_thread(_load)
        try:
            try:
                await self._hold_session(ready, newest=newest)
            except (Exception, BaseExceptionGroup) as error:
                if ready.done() or not self._has_hung_up(error):
                    raise
                await self._hold_session(ready, newest=False)
        except (Exception, BaseExceptionGroup) as error:  # the SDK's task groups raise groups
            failed = self._make_failure(explain_failure(error))
            if ready.done():
                return  # calls in progress notice the end; the next caller starts another server
            raise failed from error

    def _has_hung_up(self, error: BaseException) -> bool:
        """Whether a process ended at its first message, as some do that know only the old one."""
        known = self._handle is not None and not self._closing.is_set()
        return known and is_lost(find_cause(error))

    async def _hold_session(self, ready: asyncio.Future[None], *, newest: bool) -> None:
        """Open the session, and keep it open until `close` or its end."""
        from aos.adapters.mcp.session import Session

        async with (
            self._transport() as (read, write),
            Session(
                read,
                write,
                on_tools_changed=self._on_tools_changed,
                on_question=self._answer_question,
            ) as session,
        ):
            opening = asyncio.create_task(session.negotiate(newest=newest))
            closing = asyncio.create_task(self._closing.wait())
            opening.add_done_callback(_ignore_result)
            following: asyncio.Task[None] | None = None
            try:
                await asyncio.wait([opening, closing], return_when=asyncio.FIRST_COMPLETED)
                if opening.done():
                    opening.result()
                    self._session = session
                    if self._handle is not None:  # a URL would hold a request open for it
                        following = asyncio.create_task(session.follow_changes())
                        following.add_done_callback(_ignore_result)
                    if not ready.done():
                        ready.set_result(None)
                    await self._wait_for_end(closing)
            finally:
                opening.cancel()
                closing.cancel()
                if following is not None:
                    following.cancel()
                    await asyncio.wait([following])

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

    async def _check(self) -> None:
        """Check whether the server answers at all. An error is an answer, too."""
        from mcp.shared.exceptions import MCPError

        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._get_session().ping()
        except MCPError as error:
            if is_lost(error) or (self._handle is None and is_away(error)):
                self._doubtful = True
        except TimeoutError:
            self._doubtful = True
        except ValueError:
            """The answer has another form than the SDK expects; it is an answer."""

    async def _answer_question(self, params: Any) -> dict[str, Any]:
        """Answer a question that the server asks during a call. Raises MCPError."""
        from mcp.shared.exceptions import MCPError
        from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND

        try:
            return await self._asking.answer(params)
        except NoAsker as error:
            raise MCPError(METHOD_NOT_FOUND, str(error)) from error
        except AsksFirst as error:
            raise MCPError(INVALID_PARAMS, str(error)) from error

    def _get_session(self) -> Session:
        assert self._session is not None  # `open` has returned
        return self._session

    def _make_failure(self, what: str) -> ServerFailed:
        return self._report.make_failure(what, tail=self.tail)


def _ignore_result(task: asyncio.Task[Any]) -> None:
    """Ignore the result of a task whose outcome is known or not needed."""
    if not task.cancelled():
        task.exception()


def _load() -> None:
    """Import the SDK and silence its log, which contains contents of calls."""

    import aos.adapters.mcp.session  # noqa: F401

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
