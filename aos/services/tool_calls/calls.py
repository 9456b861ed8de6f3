"""Makes each tool call once, as far as that is possible. Entry point: `ToolCalls.handle`.

The call's row is written before the call, and its result before the result is sent. A repeated
CallTool finds one of three rows. With a result: the result is sent again. Held by another handler:
the command is scheduled for the end of that hold. Begun without a result: the call is repeated if
its tool allows that; otherwise its outcome is `outcome_unknown`. After the run's deadline nothing
is called.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from aos.domain.envelope import CallTool, ToolResult, to_mcp, to_realm
from aos.domain.tools.tool import ToolCallRow, ToolOutcome, ToolSchema
from aos.errors import OutcomeUnknown, Refused, ServerFailed, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.servers import LiveServer, ServerCards, ToolServers
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.ports.tools import ToolCatalog, ToolLedger

MARGIN = timedelta(seconds=30)
"""Added to a call's time limit: until then no other handler may begin the call."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
CONTENTION_TRIES = 8
CALL_TRIES = 2
RETRY_WITHIN_SECONDS = 30.0
"""The handler repeats a repeatable call itself when the call was lost within this time."""
SAVE_TRIES = 8
SAVE_SECONDS = 60.0
LONGEST_SAVE_DELAY_SECONDS = 8.0
_CHANGED = (
    "changed since a person was asked about this call; if it is still needed, call the tool again,"
    " and a person is asked about it as it is now"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """The time limit of a call when the server's card sets none."""

    timeout_seconds: float


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
        limits: CallLimits,
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._cards = cards
        self._servers = servers
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._limits = limits

    async def handle(self, command: CallTool, *, not_before: datetime | None = None) -> None:
        """Make the call unless it was made, and send its result.

        `not_before` is a time that the broker's clock has reached, even if ours has not: a command
        that was scheduled for the end of a hold and has come finds the hold over.
        Raises TransientError when that is not possible now; the command is then delivered again.
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
            end = await self.settle(command, not_before=not_before)
            if isinstance(end, datetime):
                await self._bus.send(replace(to_mcp(command), scheduled_at=end))
                return
            await self._send(command, end, traceparent=span.traceparent)

    async def give_up(self, command: CallTool) -> None:
        """End a call whose command failed at every delivery, and send that as its result."""
        row = await self._ledger.find(command.run_id, command.tool_call_id)
        why = "AOS failed on its own side; the operator finds the tool call's id in the logs"
        end = row.result if row is not None and row.result is not None else None
        end = end or await self._end(command, row, _uncalled_outcome(row, why))
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

    async def settle(
        self, command: CallTool, *, not_before: datetime | None = None
    ) -> ToolOutcome | datetime:
        """The outcome of the call, made now if necessary, or when another handler's hold ends."""
        for _ in range(CONTENTION_TRIES):
            row = await self._ledger.find(command.run_id, command.tool_call_id)
            if row is not None and row.result is not None:
                return row.result
            now = max(self._clock.now(), not_before or EARLIEST)
            try:
                if now >= command.deadline:
                    return await self._end(command, row, _too_late_outcome(row))
                if row is not None and now < row.until:
                    return row.until
                return await self._make(command, row)
            except StaleWrite:
                continue  # another handler was first: read its row
        raise TransientError(f"the row of tool call {command.tool_call_id!r} changes too often")

    async def _make(self, command: CallTool, row: ToolCallRow | None) -> ToolOutcome:
        """Make a call that no handler holds: a new one, or (`row`) one that has no result."""
        try:
            live = await self._cards.live_server(command.server_id)
        except Refused as refused:
            return await self._end(command, row, _uncalled_outcome(row, str(refused)))
        refusal = _find_card_refusal(live, command)
        if refusal is not None:
            return await self._end(command, row, _uncalled_outcome(row, refusal))
        changed = await self._find_change(live, command)
        if changed is not None:
            return await self._end(command, row, _uncalled_outcome(row, changed))
        repeatable = await self._may_repeat(live, command.tool)
        if row is not None and not repeatable:
            return await self._end(command, row, _lost_outcome(command))
        return await self._call(command, row, live, repeatable=repeatable)

    async def _call(
        self, command: CallTool, row: ToolCallRow | None, live: LiveServer, *, repeatable: bool
    ) -> ToolOutcome:
        began = self._clock.monotonic()
        for attempt in range(1, CALL_TRIES + 1):
            try:
                async with self._servers.hold(live.card, live.digest) as connection:
                    if self._clock.now() >= command.deadline:  # the server may have started slowly
                        return await self._end(command, row, _too_late_outcome(row))
                    limit = self._limit_seconds(live, command)
                    row = await self._hold(command, row, seconds=limit)
                    try:
                        outcome = await connection.call(
                            command.tool, command.arguments, timeout_seconds=limit
                        )
                    except asyncio.CancelledError:  # this process ends
                        if repeatable:
                            await self._let_go(row)
                            raise
                        outcome = _lost_outcome(command)
            except ServerFailed as failed:
                self._telemetry.log(
                    "tool_not_called",
                    level="warning",
                    run_id=command.run_id,
                    conversation_id=command.conversation_id,
                    server=command.server_id,
                    reason=failed.brief,
                )
                return await self._end(
                    command, row, _uncalled_outcome(row, _unavailable_text(command))
                )
            is_lost = outcome.outcome == "outcome_unknown" and repeatable
            if not is_lost and outcome.outcome != "not_called":
                break
            if attempt == CALL_TRIES or self._clock.monotonic() - began > RETRY_WITHIN_SECONDS:
                outcome = replace(outcome, outcome="error") if is_lost else outcome
                break
        return await self._end(command, row, outcome)

    async def _hold(
        self, command: CallTool, row: ToolCallRow | None, *, seconds: float
    ) -> ToolCallRow:
        """Begin the call and hold it for as long as it may last.

        Where the write itself took longer than the margin, another handler may begin the call
        before ours has ended, so the row is written again. Raises StaleWrite when one did.
        """
        for _ in range(CONTENTION_TRIES):
            row = await self._begin(command, row, seconds=seconds)
            if self._clock.now() + timedelta(seconds=seconds) <= row.until:
                return row
        raise TransientError(f"the row of tool call {command.tool_call_id!r} is written too slowly")

    async def _let_go(self, row: ToolCallRow) -> None:
        """End the hold, so that another instance repeats the call at once."""
        with contextlib.suppress(TransientError, StaleWrite):
            await self._ledger.start(replace(row, until=self._clock.now()))

    async def _begin(
        self, command: CallTool, row: ToolCallRow | None, *, seconds: float
    ) -> ToolCallRow:
        """Write that this handler begins the call; raises StaleWrite when another was first."""
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
            raise StaleWrite(f"tool call {command.tool_call_id!r} was not written") from error

    async def _end(
        self, command: CallTool, row: ToolCallRow | None, outcome: ToolOutcome
    ) -> ToolOutcome:
        """Save the outcome; returns the stored one.

        Only the handler that holds a call may say that it was not made: raises StaleWrite when
        another handler began the call meanwhile.
        """
        if row is None:
            row = await self._begin(command, None, seconds=0.0)
        stored = await self._save(row, outcome)
        self._telemetry.custom_event(
            "MCPToolCall",
            tool=command.tool,
            server=command.server_id,
            outcome=stored.outcome,
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            agent_id=command.agent_id,
            tool_call_id=command.tool_call_id,
        )
        return stored

    async def _save(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result with retries: no other copy exists. Raises TransientError."""
        ends = self._clock.monotonic() + SAVE_SECONDS
        for tried in range(SAVE_TRIES):
            try:
                return await self._ledger.finish(row, outcome)
            except TransientError:
                if tried == SAVE_TRIES - 1 or self._clock.monotonic() >= ends:
                    raise
            ceiling = min(LONGEST_SAVE_DELAY_SECONDS, 0.25 * 2.0**tried)
            await self._clock.sleep(self._ids.jitter() * ceiling)
        raise AssertionError("the last try returns or raises")

    async def _find_change(self, live: LiveServer, command: CallTool) -> str | None:
        """What changed since a person was asked about this call; None when nothing changed.

        The tools are listed again: the stored list may be older than the tool.
        """
        if command.server_digest is None:
            return None
        if live.digest != command.server_digest:
            return f"the card of the MCP server {live.server_id!r} has {_CHANGED}"
        try:
            listed = await self._servers.list_tools(live.card, live.digest)
        except ServerFailed:
            return _unavailable_text(command)
        if command.schema_digest in {t.digest for t in listed if t.name == command.tool}:
            return None
        await self._save_tools(live, tuple(t for t in listed if live.card.can_offer(t.name)))
        return f"the tool {command.tool!r} has {_CHANGED}"

    async def _save_tools(self, live: LiveServer, tools: tuple[ToolSchema, ...]) -> None:
        """Save the tools as they are now, so that the next approval is about them."""
        seen = await self._catalog.find(live.server_id)
        if seen is not None and seen.card_digest == live.digest:
            now = self._clock.now()
            await self._catalog.put(replace(seen, tools=tools, listed_at=now, seen_at=now))

    async def _may_repeat(self, live: LiveServer, tool: str) -> bool:
        """True when the card or the server's annotations allow to call this tool twice."""
        if live.card.may_repeat(tool):
            return True
        listed = await self._catalog.find(live.server_id)
        hints = [t.annotations for t in (listed.tools if listed else ()) if t.name == tool]
        return any(h.get("readOnlyHint") is True or h.get("idempotentHint") is True for h in hints)

    def _limit_seconds(self, live: LiveServer, command: CallTool) -> float:
        """The time limit of the call, at most the rest of its run's time."""
        left = (command.deadline - self._clock.now()).total_seconds()
        wanted = live.card.timeout_seconds or self._limits.timeout_seconds
        return max(1.0, min(float(wanted), left))


def _find_card_refusal(live: LiveServer, command: CallTool) -> str | None:
    """Why the card forbids this call; None when it allows it."""
    if not live.card.enabled:
        return f"the MCP server {live.server_id!r} is disabled by its card"
    if not live.card.can_offer(command.tool):
        return f"the card of the MCP server {live.server_id!r} does not list {command.tool!r}"
    return None


def _uncalled_outcome(row: ToolCallRow | None, why: str) -> ToolOutcome:
    """The outcome of a call that is not made; unknown when it was begun before."""
    if row is None:
        return ToolOutcome(outcome="not_called", content=f"The tool was not called: {why}.")
    return ToolOutcome(
        outcome="outcome_unknown",
        content=f"The call was begun, and how it ended is not known. It was not repeated: {why}.",
    )


def _unavailable_text(command: CallTool) -> str:
    """The reason for the model. The server's own output may hold paths; only admins read it."""
    return f"the MCP server {command.server_id!r} is not available now"


def _too_late_outcome(row: ToolCallRow | None) -> ToolOutcome:
    return _uncalled_outcome(row, "the run's time was over")


def _lost_outcome(command: CallTool) -> ToolOutcome:
    return ToolOutcome(
        outcome="outcome_unknown",
        content=(
            f"The call of {command.tool!r} was begun, and how it ended is not known: it may or may"
            " not have had its effect. It was not repeated, because that may not be safe; find out"
            " whether it took effect before you try again."
        ),
    )
