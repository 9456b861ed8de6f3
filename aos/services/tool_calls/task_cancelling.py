"""Asks MCP servers to cancel tasks, again while a server is away. Entry point:
`TaskCanceller.cancel`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.envelope import CallTool, CancelCall, to_mcp
from aos.errors import Refused, ServerFailed, TransientError
from aos.ports.bus import Bus
from aos.ports.servers import ServerCards, ToolServers
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

TASK_SECONDS = 30.0
"""The time limit of a question about a task."""
TRIES = 12
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 300.0
"""The last try is about half an hour after the first."""


class TaskCanceller:
    """Cancels the tasks that calls have become."""

    def __init__(
        self,
        *,
        cards: ServerCards,
        servers: ToolServers,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._cards = cards
        self._servers = servers
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry

    async def cancel(
        self,
        command: CallTool | CancelCall,
        task_id: str,
        *,
        not_before: datetime | None = None,
    ) -> None:
        """Ask the server of this call to cancel the task.

        `not_before` is a time that the broker's clock has reached, even if ours has not.
        While the server is away, a command asks again later. A server whose card is gone is not
        asked. Raises TransientError when that command cannot be sent.
        """
        try:
            live = await self._cards.live_server(command.server_id)
            async with self._servers.hold(live.card, live.digest) as connection:
                await connection.cancel_task(task_id, timeout_seconds=TASK_SECONDS)
        except Refused:
            return
        except (ServerFailed, TransientError) as error:
            now = max(self._clock.now(), not_before or self._clock.now())
            await self._try_later(command, task_id, error, now)

    async def _try_later(
        self, command: CallTool | CancelCall, task_id: str, error: Exception, now: datetime
    ) -> None:
        tried = 1 + (command.attempt if isinstance(command, CancelCall) else 0)
        if tried == TRIES:
            self._telemetry.log(
                "task_not_cancelled",
                level="warning",
                run_id=command.run_id,
                conversation_id=command.conversation_id,
                server=command.server_id,
                tool=command.tool,
                reason=error.brief if isinstance(error, ServerFailed) else str(error),
            )
            return
        again = CancelCall(
            run_id=command.run_id,
            conversation_id=command.conversation_id,
            tool_call_id=command.tool_call_id,
            server_id=command.server_id,
            tool=command.tool,
            round_number=command.round_number,
            task_id=task_id,
            attempt=tried,
        )
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (tried - 1))
        at = now + timedelta(seconds=delay)
        await self._bus.send(replace(to_mcp(again), scheduled_at=at))
