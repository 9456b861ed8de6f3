"""Does what a client of MCP asks of agents: list them, ask one, and ask for a task. Entry point:
`AgentCalls`.

One object serves one request. A failure that the model which made the call can mend is a result;
another is an error of the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from aos.domain.caller import Caller
from aos.domain.conversation_ids import CONVERSATION_RULE, is_conversation_id
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import EventId
from aos.entrypoints.http.agent_tools.sessions import Session
from aos.entrypoints.http.agent_tools.tasks import (
    EXTENSION,
    Response,
    read_responses,
    write_task,
)
from aos.entrypoints.http.agent_tools.tools import (
    PREFIX,
    write_error,
    write_result,
    write_tool,
    write_unfinished,
)
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.runs import check_agent_id
from aos.entrypoints.ids import parse_run_id
from aos.errors import AosError, Refused
from aos.ports.agents import ListedAgents
from aos.ports.system import Clock
from aos.services.admission import Admission, RunRequest

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext

    Context = ServerRequestContext[Any, Any]

DOOR = "mcp"
TOOLS_A_PAGE = 100
TASK_AFTER_SECONDS = 10.0
"""A run that takes longer becomes a task, for clients that know tasks."""
PROGRESS_SECONDS = 1.0
QUIET_SECONDS = 15.0
LONGEST_SECONDS = 220.0
"""Where answers cannot be streamed, a call waits so long."""
EVENTS_A_LOOK = 100
CANCEL_SECONDS = 10.0
_TOLD = {
    "run.started": "the agent has begun",
    "message.completed": "the agent has answered, or asks for tools",
    "tool.called": "the agent calls {name}",
    "approval.requested": "a person has to decide about {name}",
    "input.requested": "{name} asks a person",
    "run.retrying": "something is away, and is tried again",
}
_cancelling: set[asyncio.Task[None]] = set()
"""Cancellations that go on after the request is gone; asyncio itself keeps no task."""


class AgentCalls:
    """The handlers of one request, for the SDK's server."""

    def __init__(
        self,
        *,
        callers: CallerRuns,
        agents: ListedAgents,
        clock: Clock,
        caller: Caller,
        key: str | None,
        session: Session | None,
        name: str | None,
        traceparent: str | None,
        streams: bool,
    ) -> None:
        self._callers = callers
        self._agents = agents
        self._clock = clock
        self._caller = caller
        self._key = key
        self._session = session
        self._name = name
        self._traceparent = traceparent
        self._streams = streams

    async def list_tools(self, context: Context, params: Any) -> types.ListToolsResult:
        """`tools/list`"""
        import mcp_types as types

        after = "" if params is None or params.cursor is None else str(params.cursor)
        page = await self._agents.list_live(after=after, limit=TOOLS_A_PAGE + 1)
        shown = page[:TOOLS_A_PAGE]
        listed: dict[str, Any] = {"tools": [write_tool(live.card) for live in shown]}
        if len(page) > len(shown):
            listed["nextCursor"] = shown[-1].agent_id
        return types.ListToolsResult.model_validate(listed)

    async def call_tool(
        self, context: Context, params: Any
    ) -> types.CallToolResult | dict[str, Any]:
        """`tools/call`; a task is JSON, because the SDK has no type of it."""
        import mcp_types as types

        told = await self._call(context, params)
        return told if "resultType" in told else types.CallToolResult.model_validate(told)

    async def _call(self, context: Context, params: Any) -> dict[str, Any]:
        name = str(params.name)
        if not name.startswith(PREFIX):
            raise _make_error(f"there is no tool {name[:80]!r}; see tools/list")
        try:
            request = self._read(name.removeprefix(PREFIX), params.arguments or {})
            admission = await self._start(request, context)
        except AosError as error:
            if error.code in ("agent_not_found", "agent_removed"):
                raise _make_error(f"{error}; see tools/list") from error
            return write_error(f"{error} ({error.code})")
        run = await self._wait(context, admission.request, admission.run)
        if run.status.has_ended:
            return write_result(run)
        if _knows_tasks(context):
            asks, kinds = await self._callers.list_asks(admission.request), _list_kinds(context)
            task = write_task(run, now=self._clock.now(), asks=asks, kinds=kinds)
            return {"resultType": "task", **task}
        return write_unfinished(run)

    async def hear(self, message: Mapping[str, Any]) -> None:
        """Cancel the run of the call that a message of an older revision cancels."""
        cancelled = None if self._session is None else self._session.find_cancelled(message)
        if cancelled is None:
            return
        request = await self._callers.find_started(cancelled, caller=self._caller, door=DOOR)
        if request is not None:
            await self._cancel(request.run_id)

    async def get_task(self, context: Context, params: Any) -> dict[str, Any]:
        """`tasks/get`"""
        request, run = await self._find(context, params.task_id)
        asks = [] if run.status.has_ended else await self._callers.list_asks(request)
        return write_task(run, now=self._clock.now(), asks=asks, kinds=_list_kinds(context))

    async def update_task(self, context: Context, params: Any) -> dict[str, Any]:
        """`tasks/update`"""
        _, run = await self._find(context, params.task_id)
        for response in read_responses(params.input_responses or {}):
            await self._give(run, response)
        return {}

    async def cancel_task(self, context: Context, params: Any) -> dict[str, Any]:
        """`tasks/cancel`"""
        await self._find(context, params.task_id)
        await self._callers.cancel(params.task_id, caller=self._caller)
        return {}

    async def _start(self, request: RunRequest, context: Context) -> Admission:
        """Start the run, under the name that a cancellation of this call would give it."""
        start = partial(
            self._callers.start,
            request,
            caller=self._caller,
            door=DOOR,
            traceparent=self._traceparent,
        )
        if self._key is not None or self._session is None or _is_newest(context):
            return await start(key=self._key)
        try:
            admission = await start(key=self._session.name_call(context.request_id))
            if admission.created or not admission.run.status.has_ended:
                return admission
        except Refused as error:
            if error.code not in ("idempotency_conflict", "conversation_deleted"):
                raise
        return await start(key=None)  # a client that uses an id of a request twice

    def _read(self, agent_id: str, arguments: Mapping[str, Any]) -> RunRequest:
        """Check the arguments of a call. Raises Refused `invalid_request` or `too_large`."""
        unknown = sorted(set(arguments) - {"message", "conversation_id"})
        if unknown:
            raise Refused(
                "invalid_request",
                f"there is no argument {unknown[0][:80]!r}; write message and conversation_id",
            )
        message = arguments.get("message")
        if not isinstance(message, str):
            raise Refused("invalid_request", "message is not a text; write what to ask the agent")
        conversation_id = arguments.get("conversation_id")
        is_text = isinstance(conversation_id, str)
        if conversation_id is not None and not (is_text and is_conversation_id(conversation_id)):
            raise Refused("invalid_request", f"conversation_id is not {CONVERSATION_RULE}")
        content = self._callers.read_content(message)
        check_agent_id(agent_id)
        return RunRequest(agent_id=agent_id, message=content.text, conversation_id=conversation_id)

    async def _wait(self, context: Context, request: AdmittedRequest, run: Run) -> Run:
        """Wait for the run's end. A client of the newest revision cancels by going away."""
        try:
            return await self._look_until_end(context, request, run)
        except asyncio.CancelledError:
            if _is_newest(context) and not self._callers.is_ending:
                cancelling = asyncio.create_task(self._cancel(request.run_id))
                _cancelling.add(cancelling)
                cancelling.add_done_callback(_cancelling.discard)
            raise

    async def _look_until_end(self, context: Context, request: AdmittedRequest, run: Run) -> Run:
        reports = context.meta is not None and context.meta.get("progress_token") is not None
        progress = _Progress(self._callers, context, request)
        if reports and not run.status.has_ended:
            await progress.begin()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limit(context)
        while (left := end - loop.time()) > 0 and not self._callers.is_ending:
            seconds = min(left, PROGRESS_SECONDS if reports else QUIET_SECONDS)
            run = await self._callers.wait_until(
                request, run, seconds=seconds, until=lambda seen: seen.status.has_ended
            )
            if run.status.has_ended:
                return run
            if reports:
                await progress.tell_news()
        return await self._callers.read(request)

    def _limit(self, context: Context) -> float:
        """How long a call may wait. A stream is kept alive, so it waits for the end."""
        if _knows_tasks(context):
            return TASK_AFTER_SECONDS
        return float("inf") if self._streams else LONGEST_SECONDS

    async def _cancel(self, run_id: str) -> None:
        with contextlib.suppress(AosError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._callers.cancel(run_id, caller=self._caller)

    async def _find(self, context: Context, task_id: str) -> tuple[AdmittedRequest, Run]:
        """Return the run of a task of this caller. Raises MCPError."""
        if not _knows_tasks(context):
            raise _make_missing_capability()
        if self._name is not None and self._name.strip() != task_id:
            raise _make_mismatch()
        run_id = parse_run_id(task_id)
        try:
            if run_id is None:
                raise Refused("run_not_found", "the id is not one of a run")
            return await self._callers.find(run_id, caller=self._caller)
        except Refused as error:
            raise _make_error(f"there is no task {task_id[:80]!r} of yours") from error

    async def _give(self, run: Run, response: Response) -> None:
        """Store one answer; one that nobody waits for is ignored, as MCP says. Raises MCPError."""
        try:
            if response.kind == "approval":
                verdict, reason = response.verdict
                await self._callers.decide(
                    run.run_id, response.ask_id, verdict, reason, caller=self._caller
                )
            else:
                values = response.content if response.action == "accept" else None
                await self._callers.answer(
                    run.run_id, response.ask_id, response.action, values, caller=self._caller
                )
        except Refused as error:
            if error.code in ("invalid_request", "too_large", "forbidden"):
                raise _make_error(str(error)) from error


class _Progress:
    """Tells the client of a run's events, as it asked for. The text itself is not told."""

    def __init__(self, callers: CallerRuns, context: Context, request: AdmittedRequest) -> None:
        self._callers = callers
        self._context = context
        self._request = request
        self._told = EventId()
        self._count = 0

    async def begin(self) -> None:
        """Say that the run is admitted."""
        await self._tell(f"run {self._request.run_id} has been admitted")

    async def tell_news(self) -> None:
        """Say what has happened since."""
        page = await self._callers.list_events(self._request, after=self._told, limit=EVENTS_A_LOOK)
        for event in page.items:
            self._told = event.event_id
            if event.type in _TOLD:
                await self._tell(_TOLD[event.type].format(name=event.data.get("name", "")))

    async def _tell(self, message: str) -> None:
        self._count += 1
        await self._context.session.report_progress(self._count, None, message)


def _is_newest(context: Context) -> bool:
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def _knows_tasks(context: Context) -> bool:
    """Whether the client has said with this request that it takes tasks."""
    known = context.session.client_capabilities
    return _is_newest(context) and known is not None and EXTENSION in (known.extensions or {})


def _list_kinds(context: Context) -> list[str]:
    """Return the kinds of elicitation that the client can do; one that names none can do forms."""
    known = context.session.client_capabilities
    elicits = None if known is None else known.elicitation
    if elicits is None:
        return []
    kinds = [kind for kind in ("form", "url") if getattr(elicits, kind) is not None]
    return kinds or ["form"]


def _make_error(text: str) -> Exception:
    import mcp_types as types
    from mcp.shared.exceptions import MCPError

    return MCPError(types.INVALID_PARAMS, text)


def _make_mismatch() -> Exception:
    from mcp.shared.exceptions import MCPError

    return MCPError(-32020, "mcp-name header does not match the request body's taskId")


def _make_missing_capability() -> Exception:
    from mcp.shared.exceptions import MCPError

    needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return MCPError(-32021, f"the request does not declare {EXTENSION}", needed)
