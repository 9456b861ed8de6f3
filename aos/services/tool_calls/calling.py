"""What becomes of a CallTool, however often it comes?

The call is entered as begun before it is made, and its result before it is sent. A CallTool that
comes again finds the result and sends that; or finds the call held by another, and comes back when
that is over; or finds one that was begun and never ended, which is made again only if that is safe.
What nobody can know is told as it is: `outcome_unknown`. Past the run's deadline nothing is called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aos.domain.envelope import CallTool, ToolResult, to_mcp, to_realm
from aos.domain.tools.tool import ToolCallRow, ToolOutcome, ToolSchema
from aos.errors import OutcomeUnknown, Refused, ServerFailed, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.servers import LiveServer, ServerCards, ToolServers
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.ports.tools import ToolCatalog, ToolLedger

MARGIN = timedelta(seconds=30)
"""Beyond a call's time limit, before anybody else may begin it."""
LOOKS = 8
MAKINGS = 2
QUICK_SECONDS = 30.0
"""A repeatable call that was lost so soon is made once more by the same handler."""
KEEP_TRIES = 8
KEEP_SECONDS = 60.0
LONGEST_KEEP_DELAY_SECONDS = 8.0
_CHANGED = (
    "changed since a person was asked about this call; if it is still needed, call the tool again,"
    " and a person is asked about it as it is now"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """`timeout_seconds` of a call whose server's card names none."""

    timeout_seconds: float = 60.0


class ToolCalls:
    """Makes tool calls."""

    def __init__(
        self,
        *,
        ledger: ToolLedger,
        catalog: ToolCatalog,
        cards: ServerCards,
        servers: ToolServers,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        limits: CallLimits | None = None,
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._cards = cards
        self._servers = servers
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._limits = limits or CallLimits()

    async def handle(self, command: CallTool) -> None:
        """Make the call unless it has been made, and send what it came to.

        Raises TransientError when that cannot be now; the command is then handled again.
        """
        with self._telemetry.span(
            f"execute_tool {command.tool}",
            kind="internal",
            traceparent=command.traceparent,
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            agent_id=command.agent_id,
            **{
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": command.tool,
                "gen_ai.tool.call.id": command.tool_call_id,
            },
        ) as span:
            end = await self.settle(command)
            if isinstance(end, datetime):
                await self._bus.send(replace(to_mcp(command), scheduled_at=end))
                return
            await self._send(command, end, traceparent=span.traceparent)

    async def give_up(self, command: CallTool) -> None:
        """End a call that breaks something of ours with every delivery, and say so."""
        row = await self._ledger.find(command.run_id, command.tool_call_id)
        why = "something is broken on our side; the operator finds the tool call's id in the logs"
        end = row.result if row is not None and row.result is not None else None
        end = end or await self._end(command, row, _uncalled(row, why))
        await self._send(command, end, traceparent=command.traceparent)

    async def _send(self, command: CallTool, end: ToolOutcome, *, traceparent: str | None) -> None:
        result = ToolResult(
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            tool_call_id=command.tool_call_id,
            outcome=end.outcome,
            content=end.content,
            parts=end.parts,
            traceparent=traceparent,
        )
        await self._bus.send(to_realm(result))

    async def settle(self, command: CallTool) -> ToolOutcome | datetime:
        """What the call came to, made now if need be; or until when another holds it."""
        for _ in range(LOOKS):
            row = await self._ledger.find(command.run_id, command.tool_call_id)
            if row is not None and row.result is not None:
                return row.result
            now = self._clock.now()
            try:
                if now >= command.deadline:
                    return await self._end(command, row, _too_late(row))
                if row is not None and now < row.until:
                    return row.until
                return await self._make(command, row)
            except StaleWrite:
                continue  # another was faster: look what it did
        raise TransientError(f"the row of tool call {command.tool_call_id!r} is contended")

    async def _make(self, command: CallTool, row: ToolCallRow | None) -> ToolOutcome:
        """Make a call that nobody holds: a new one, or (`row`) one that was never ended."""
        try:
            live = await self._cards.live_server(command.server_id)
        except Refused as refused:
            return await self._end(command, row, _uncalled(row, str(refused)))
        why_not = _why_not(live, command)
        if why_not is not None:
            return await self._end(command, row, _uncalled(row, why_not))
        changed = await self._what_changed(live, command)
        if changed is not None:
            return await self._end(command, row, _uncalled(row, changed))
        repeatable = await self._may_repeat(live, command.tool)
        if row is not None and not repeatable:
            return await self._end(command, row, _lost(command))
        return await self._call(command, row, live, repeatable=repeatable)

    async def _call(
        self, command: CallTool, row: ToolCallRow | None, live: LiveServer, *, repeatable: bool
    ) -> ToolOutcome:
        began = self._clock.monotonic()
        for making in range(1, MAKINGS + 1):
            try:
                async with self._servers.hold(live.card, live.digest) as line:
                    if self._clock.now() >= command.deadline:  # a server may take its time to start
                        return await self._end(command, row, _too_late(row))
                    limit = self._limit(live, command)
                    row = await self._begin(command, row, seconds=limit)
                    outcome = await line.call(
                        command.tool, command.arguments, timeout_seconds=limit
                    )
            except ServerFailed as failed:
                self._telemetry.log(
                    "tool_not_called",
                    level="warning",
                    run_id=command.run_id,
                    conversation_id=command.conversation_id,
                    server=command.server_id,
                    reason=failed.brief,
                )
                return await self._end(command, row, _uncalled(row, _not_running(command)))
            if outcome.outcome != "outcome_unknown" or not repeatable:
                break
            if making == MAKINGS or self._clock.monotonic() - began > QUICK_SECONDS:
                outcome = replace(outcome, outcome="error")
                break
        return await self._end(command, row, outcome)

    async def _begin(
        self, command: CallTool, row: ToolCallRow | None, *, seconds: float
    ) -> ToolCallRow:
        """Enter the call as begun, by us. Raises StaleWrite when another was faster."""
        now = self._clock.now()
        ours = ToolCallRow(
            run_id=command.run_id,
            tool_call_id=command.tool_call_id,
            conversation_id=command.conversation_id,
            server_id=command.server_id,
            tool=command.tool,
            started_at=now,
            until=now + timedelta(seconds=seconds) + MARGIN,
            holder=self._ids.new_id(),
            etag=None if row is None else row.etag,
        )
        try:
            return await self._ledger.start(ours)
        except OutcomeUnknown as error:
            found = await self._ledger.find(command.run_id, command.tool_call_id)
            if found is not None and found.holder == ours.holder and found.result is None:
                return found
            raise StaleWrite(f"tool call {command.tool_call_id!r} was not entered") from error

    async def _end(
        self, command: CallTool, row: ToolCallRow | None, outcome: ToolOutcome
    ) -> ToolOutcome:
        """Keep the result; the one that stands.

        That a call was not made can be said only by who holds it: raises StaleWrite when another
        began it meanwhile.
        """
        if row is None:
            row = await self._begin(command, None, seconds=0.0)
        stands = await self._keep(row, outcome)
        self._telemetry.custom_event(
            "MCPToolCall",
            tool=command.tool,
            server=command.server_id,
            outcome=stands.outcome,
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            agent_id=command.agent_id,
            tool_call_id=command.tool_call_id,
        )
        return stands

    async def _keep(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result, again and again: it is nowhere else. Raises TransientError."""
        ends = self._clock.monotonic() + KEEP_SECONDS
        for tried in range(KEEP_TRIES):
            try:
                return await self._ledger.finish(row, outcome)
            except TransientError:
                if tried == KEEP_TRIES - 1 or self._clock.monotonic() >= ends:
                    raise
            ceiling = min(LONGEST_KEEP_DELAY_SECONDS, 0.25 * 2.0**tried)
            await self._clock.sleep(self._ids.jitter() * ceiling)
        raise AssertionError("the last try returns or raises")

    async def _what_changed(self, live: LiveServer, command: CallTool) -> str | None:
        """What is other than when a person was asked about this call; None when nothing is.

        The server itself is asked for its tools: the row may be older than the tool is.
        """
        if command.server_digest is None:
            return None
        if live.digest != command.server_digest:
            return f"the card of the MCP server {live.server_id!r} has {_CHANGED}"
        try:
            listed = await self._servers.list_tools(live.card, live.digest)
        except ServerFailed as failed:
            return str(failed)
        if command.schema_digest in {t.digest for t in listed if t.name == command.tool}:
            return None
        await self._enter_tools(live, tuple(t for t in listed if live.card.can_offer(t.name)))
        return f"the tool {command.tool!r} has {_CHANGED}"

    async def _enter_tools(self, live: LiveServer, tools: tuple[ToolSchema, ...]) -> None:
        """The next question to a person is about the tool as it is now."""
        seen = await self._catalog.find(live.server_id)
        if seen is not None and seen.card_digest == live.digest:
            now = self._clock.now()
            await self._catalog.put(replace(seen, tools=tools, listed_at=now, seen_at=now))

    async def _may_repeat(self, live: LiveServer, tool: str) -> bool:
        """May this tool be called twice: by the card, or by what the server says of it?"""
        if live.card.may_repeat(tool):
            return True
        listed = await self._catalog.find(live.server_id)
        hints = [t.annotations for t in (listed.tools if listed else ()) if t.name == tool]
        return any(h.get("readOnlyHint") is True or h.get("idempotentHint") is True for h in hints)

    def _limit(self, live: LiveServer, command: CallTool) -> float:
        """The time limit of the call, in seconds: no longer than its run has."""
        left = (command.deadline - self._clock.now()).total_seconds()
        wanted = live.card.timeout_seconds or self._limits.timeout_seconds
        return max(1.0, min(float(wanted), left))


def _why_not(live: LiveServer, command: CallTool) -> str | None:
    """Why the card forbids this call, if it does."""
    if not live.card.enabled:
        return f"the MCP server {live.server_id!r} is disabled by its card"
    if not live.card.can_offer(command.tool):
        return f"the card of the MCP server {live.server_id!r} does not list {command.tool!r}"
    return None


def _uncalled(row: ToolCallRow | None, why: str) -> ToolOutcome:
    """The end of a call that is not made now; was it begun before, nobody knows what it did."""
    if row is None:
        return ToolOutcome(outcome="not_called", content=f"The tool was not called: {why}.")
    return ToolOutcome(
        outcome="outcome_unknown",
        content=f"The call was begun, and how it ended is not known. It was not repeated: {why}.",
    )


def _not_running(command: CallTool) -> str:
    """Why, for the model: what a server prints holds paths, and is for admins."""
    return f"the MCP server {command.server_id!r} is not available now"


def _too_late(row: ToolCallRow | None) -> ToolOutcome:
    return _uncalled(row, "the run's time was over")


def _lost(command: CallTool) -> ToolOutcome:
    return ToolOutcome(
        outcome="outcome_unknown",
        content=(
            f"The call of {command.tool!r} was begun, and how it ended is not known: it may or may"
            " not have had its effect. It was not repeated, because that may not be safe; find out"
            " whether it took effect before you try again."
        ),
    )
