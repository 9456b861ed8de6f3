"""Makes each tool call once, as far as that is possible. Entry point: `ToolCalls.handle`.

The call's row is written before the call. What the tool has answered is saved and sent at the same
time, every other result is saved before it is sent, and the command is completed after both. A
repeated CallTool finds one of three rows. With a result: the result is sent again. Held by another
handler: the command is scheduled, to look again until the hold ends; if that handler has lost its
message, and the call may not be repeated, the outcome is `outcome_unknown` at once. Begun without a
result: the call is repeated if its tool allows that; otherwise its outcome is `outcome_unknown`.
After the run's deadline nothing is called. A call that has become a task is asked for by the same
command, which is scheduled again each time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

from aos.domain.envelope import CallTool, ToolResult, to_mcp, to_realm
from aos.domain.runs.call_commands import cut_to_milliseconds
from aos.domain.tools.questions import LONGEST_POLL_SECONDS, TaskWait
from aos.domain.tools.tool import ToolCallRow, ToolOutcome
from aos.errors import OutcomeUnknown, Refused, ServerFailed, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.servers import LiveServer, ServerCards, ToolServers
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.ports.tools import ToolCatalog, ToolLedger
from aos.services.tool_calls.approved_calls import ApprovedCalls
from aos.services.tool_calls.deliveries import (
    EARLY,
    UNTOLD,
    CommandDelivery,
    KnownCalls,
    ScheduledLooks,
)
from aos.services.tool_calls.outcomes import (
    TIME_OVER,
    describe_absence,
    find_card_refusal,
    find_task,
    make_lost_outcome,
    make_uncalled_outcome,
)
from aos.services.tool_calls.task_cancelling import TASK_SECONDS, TaskCanceller

T = TypeVar("T")
Tell: TypeAlias = Callable[[ToolOutcome], Awaitable[None]]
"""Sends the answer of a tool to realm."""
MARGIN = timedelta(seconds=45)
"""Held for so long after a call's limit, as two clocks may be 40 s apart if each is 20 s wrong."""
LOOK_AGAIN = timedelta(seconds=10)
"""How soon to look again at a held call: its result may be saved and not sent."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
CONTENTION_TRIES = 8
CALL_TRIES = 2
RETRY_WITHIN_SECONDS = 30.0
"""The handler repeats a repeatable call itself when the call was lost within this time."""
SAVE_TRIES = 8
SAVE_SECONDS = 60.0
LONGEST_SAVE_DELAY_SECONDS = 8.0


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
        tasks: TaskCanceller,
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
        self._tasks = tasks
        self._approved = ApprovedCalls(catalog=catalog, servers=servers, clock=clock)
        self._at_work: Counter[tuple[str, str]] = Counter()
        self._known = KnownCalls()
        self._looks = ScheduledLooks()

    async def handle(self, command: CallTool, delivery: CommandDelivery = UNTOLD) -> None:
        """Make the call unless it was made, and send its result.

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
            tell = partial(self._send, command, traceparent=span.traceparent)
            end = await self._settle(command, delivery, tell)
            if end is None:
                return
            if isinstance(end, datetime):
                await self._bus.send(replace(to_mcp(command), scheduled_at=end))
                self._looks.add(command, end)
                return
            await tell(end)

    async def give_up(self, command: CallTool) -> None:
        """End a call whose command failed at every delivery, and send that as its result."""
        row = await self._ledger.find(command.run_id, command.row_id)
        why = "AOS failed on its own side; the operator finds the tool call's id in the logs"
        end = row.result if row is not None and row.result is not None else None
        end = end or await self._end_uncalled(command, row, why)
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
            round_number=command.round_number,
            pause=end.pause,
        )
        await self._bus.send(to_realm(result))

    async def settle(self, command: CallTool) -> ToolOutcome | datetime:
        """The outcome of a call that no message asks for, made now if necessary, or when to look
        again: while another handler holds it, or when the task is to be asked for."""
        end = await self._settle(command, UNTOLD)
        assert end is not None, "there are copies of messages only"
        return end

    async def _settle(
        self, command: CallTool, delivery: CommandDelivery, tell: Tell | None = None
    ) -> ToolOutcome | datetime | None:
        """As `settle`. None when nothing is left to do: `tell` was given the answer of the tool,
        or this is a copy, and another message goes on to ask for the task.

        A call that looks new is begun without a look for its row: the row is inserted, and where
        there is one, it is read then.
        """
        looks_new = delivery.is_first and self._known.add(command)
        for tried in range(CONTENTION_TRIES):
            row = None
            if tried or not looks_new:
                row = await self._ledger.find(command.run_id, command.row_id)
            if row is not None and row.result is not None:
                return row.result
            now = max(self._clock.now(), delivery.not_before or EARLIEST)
            try:
                if now >= command.deadline:
                    return await self._end_uncalled(command, row, TIME_OVER)
                if row is not None and row.task is not None:
                    if now < row.task.poll_at - EARLY:
                        return row.task.poll_at if delivery.continues(row.task) else None
                    task = replace(row.task, asked_by=delivery.sequence_number)
                    return await self._follow(command, row, task)
                if row is not None and now < row.until:
                    if delivery.redelivered and await self._is_lost(command):
                        return await self._end_lost(command, row)
                    return self._find_next_look(command, row, delivery, now)
                return await self._make(command, row, delivery, tell)
            except StaleWrite:
                continue  # another handler was first: read its row
        raise TransientError(f"the row of tool call {command.tool_call_id!r} changes too often")

    def _find_next_look(
        self, command: CallTool, row: ToolCallRow, delivery: CommandDelivery, now: datetime
    ) -> datetime | None:
        """When to look again at a held call; None where another message looks later."""
        if delivery.not_before and self._looks.has_one_after(command, now):
            return None
        return min(row.until, now + LOOK_AGAIN)

    async def _make(
        self,
        command: CallTool,
        row: ToolCallRow | None,
        delivery: CommandDelivery,
        tell: Tell | None,
    ) -> ToolOutcome | datetime | None:
        """Make a call that no handler holds: a new one, or (`row`) one that has no result."""
        try:
            live = await self._cards.live_server(command.server_id)
        except Refused as refused:
            return await self._end_uncalled(command, row, str(refused))
        refusal = find_card_refusal(live, command)
        if refusal is not None:
            return await self._end_uncalled(command, row, refusal)
        changed = await self._approved.find_change(live, command)
        if changed is not None:
            return await self._end_uncalled(command, row, changed)
        if row is not None and not await self._may_repeat_round(live, command):
            return await self._end_lost(command, row)
        key = (command.run_id, command.row_id)
        self._at_work[key] += 1
        try:
            return await self._call(command, row, live, delivery, tell)
        finally:
            self._at_work[key] -= 1
            self._at_work += Counter()  # forgets what is at zero

    async def _is_lost(self, command: CallTool) -> bool:
        """Whether the outcome of a held call is lost: its handler lost the message's lock, which a
        handler that lives renews, and the call may not be repeated.

        Where the handler lives after all (it was frozen, or cut off from the bus), its result is
        not used. A call that may be repeated waits for the end of the hold, so that no two
        handlers make it at once.
        """
        if self._at_work[command.run_id, command.row_id]:
            return False
        try:
            live = await self._cards.live_server(command.server_id)
        except Refused:
            return False
        return not await self._may_repeat_round(live, command)

    async def _call(
        self,
        command: CallTool,
        row: ToolCallRow | None,
        live: LiveServer,
        delivery: CommandDelivery,
        tell: Tell | None = None,
    ) -> ToolOutcome | datetime | None:
        """Make the call, and once more if its outcome is lost and it may be repeated. Whether it
        may is only read where that matters."""
        began = self._clock.monotonic()
        for attempt in range(1, CALL_TRIES + 1):
            try:
                async with self._servers.hold(live.card, live.digest) as connection:
                    if self._clock.now() >= command.deadline:  # the server may have started slowly
                        return await self._end_uncalled(command, row, TIME_OVER)
                    limit = self._limit_seconds(live, command)
                    row = await self._hold(command, row, seconds=limit)
                    try:
                        outcome = await connection.call(
                            command.tool,
                            command.arguments,
                            timeout_seconds=limit,
                            resume=command.resume,
                        )
                    except asyncio.CancelledError:  # this process ends
                        if await self._may_let_go(live, command):
                            await self._let_go(row)
                            raise
                        outcome = make_lost_outcome(command)
            except ServerFailed as failed:
                self._log_not_called(command, failed)
                return await self._end_uncalled(command, row, describe_absence(command))
            is_lost = outcome.outcome == "outcome_unknown" and await self._retry(
                lambda: self._may_repeat_round(live, command)
            )
            if outcome.pause is not None or (not is_lost and outcome.outcome != "not_called"):
                break
            if attempt == CALL_TRIES or self._clock.monotonic() - began > RETRY_WITHIN_SECONDS:
                outcome = replace(outcome, outcome="error") if is_lost else outcome
                break
        is_answer = outcome.pause is None and outcome.outcome in ("ok", "error") and not is_lost
        if tell is None or not is_answer:
            return await self._end_or_wait(command, row, outcome, delivery.sequence_number)
        await self._end_and_tell(command, row, outcome, tell)
        return None

    async def _end_and_tell(
        self, command: CallTool, row: ToolCallRow | None, outcome: ToolOutcome, tell: Tell
    ) -> None:
        """Save what the tool has answered, and tell it meanwhile: it is true, whatever the row says
        later. Raises what one of both raised, after both have ended."""
        ended = await asyncio.gather(
            self._end(command, row, outcome), tell(outcome), return_exceptions=True
        )
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _follow(
        self, command: CallTool, row: ToolCallRow, task: TaskWait
    ) -> ToolOutcome | datetime:
        """Ask for the task that the call has become. While its server is away, ask later."""
        resume = command.resume
        if resume is not None:  # the answers have been sent
            resume = replace(resume, answers=(), earlier=resume.all_answers)
        try:
            live = await self._cards.live_server(command.server_id)
            refusal = find_card_refusal(live, command)
            if refusal is not None:
                return await self._end_uncalled(command, row, refusal)
            async with self._servers.hold(live.card, live.digest) as connection:
                outcome = await connection.follow_task(
                    task.task_id,
                    timeout_seconds=min(TASK_SECONDS, self._limit_seconds(live, command)),
                    resume=resume,
                )
        except Refused as refused:
            return await self._end_uncalled(command, row, str(refused))
        except ServerFailed as failed:
            self._log_not_called(command, failed)
            return await self._wait(command, row, task, seconds=LONGEST_POLL_SECONDS)
        return await self._end_or_wait(command, row, outcome, task.asked_by)

    async def _end_or_wait(
        self,
        command: CallTool,
        row: ToolCallRow | None,
        outcome: ToolOutcome,
        asked_by: int | None,
    ) -> ToolOutcome | datetime:
        """Save the outcome; of a task that works, when to ask for it again."""
        pause = outcome.pause
        if row is None or pause is None or pause.questions or pause.task_id is None:
            return await self._end(command, row, outcome)
        task = TaskWait(task_id=pause.task_id, poll_at=EARLIEST, asked_by=asked_by)
        return await self._wait(command, row, task, seconds=pause.poll_seconds)

    async def _wait(
        self, command: CallTool, row: ToolCallRow, task: TaskWait, *, seconds: float
    ) -> datetime:
        due = min(command.deadline, self._clock.now() + timedelta(seconds=seconds))
        task = replace(task, poll_at=cut_to_milliseconds(due))
        try:
            await self._retry(lambda: self._save_task(row, task))
        except StaleWrite:
            if find_task(command, row) != task.task_id:  # no other handler knows the new task
                await self._tasks.cancel(command, task.task_id)
            raise
        return task.poll_at

    async def _save_task(self, row: ToolCallRow, task: TaskWait) -> None:
        """Write the task into the call's row. Raises StaleWrite when it has another content."""
        try:
            await self._ledger.start(replace(row, task=task))
        except (StaleWrite, OutcomeUnknown):
            found = await self._ledger.find(row.run_id, row.tool_call_id)
            if found is None or found.task != task:
                raise

    async def _end_lost(self, command: CallTool, row: ToolCallRow) -> ToolOutcome:
        """End a call whose handler is lost. Raises StaleWrite where that has written since: the
        call may have become a task."""
        ours = await self._ledger.start(replace(row, until=self._clock.now()))
        return await self._end(command, ours, make_lost_outcome(command))

    async def _end_uncalled(
        self, command: CallTool, row: ToolCallRow | None, why: str
    ) -> ToolOutcome:
        """End a call that is not made or does not go on; its task is cancelled."""
        task_id = find_task(command, row)
        if task_id is not None:
            await self._tasks.cancel(command, task_id)
        return await self._end(command, row, make_uncalled_outcome(command, row, why))

    def _log_not_called(self, command: CallTool, failed: ServerFailed) -> None:
        self._telemetry.log(
            "tool_not_called",
            level="warning",
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            server=command.server_id,
            reason=failed.brief,
        )

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
            tool_call_id=command.row_id,
            conversation_id=command.conversation_id,
            server_id=command.server_id,
            tool=command.tool,
            started_at=now,
            until=now + timedelta(seconds=seconds) + MARGIN,
            holder=self._ids.new_id(),
            etag=None if row is None else row.etag,
            unknown={} if row is None else row.unknown,
        )
        try:
            return await self._ledger.start(ours)
        except OutcomeUnknown as error:
            found = await self._ledger.find(command.run_id, command.row_id)
            if found is not None and found.holder == ours.holder and found.result is None:
                return found
            raise StaleWrite(f"tool call {command.tool_call_id!r} was not written") from error

    async def _end(
        self, command: CallTool, row: ToolCallRow | None, outcome: ToolOutcome
    ) -> ToolOutcome:
        """Save the outcome, with retries: no other copy exists. Returns the stored one.

        Only the handler that holds a call may say that it was not made: raises StaleWrite when
        another handler began the call meanwhile.
        """
        begun = row or await self._begin(command, None, seconds=0.0)
        stored = await self._retry(lambda: self._ledger.finish(begun, outcome))
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

    async def _retry(self, write: Callable[[], Awaitable[T]]) -> T:
        ends = self._clock.monotonic() + SAVE_SECONDS
        for tried in range(SAVE_TRIES):
            try:
                return await write()
            except TransientError:
                if tried == SAVE_TRIES - 1 or self._clock.monotonic() >= ends:
                    raise
            ceiling = min(LONGEST_SAVE_DELAY_SECONDS, 0.25 * 2.0**tried)
            await self._clock.sleep(self._ids.jitter() * ceiling)
        raise AssertionError("the last try returns or raises")

    async def _may_repeat_round(self, live: LiveServer, command: CallTool) -> bool:
        """True when this round may be made twice: a task may be told its answers again."""
        if command.resume is not None and command.resume.kind == "task":
            return True
        return await self._may_repeat(live, command.tool)

    async def _may_let_go(self, live: LiveServer, command: CallTool) -> bool:
        """Whether another instance may make this round again at once; not if storage is away."""
        with contextlib.suppress(TransientError):
            return await self._may_repeat_round(live, command)
        return False

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
