"""Handles mcp's queue `aos-mcp` and its subscription to `system-events`. Entry points:
`McpQueue.handle`, `SystemEvents.handle`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import azure.functions as func

from aos.domain.envelope import (
    MCP_QUEUE,
    SYSTEM_EVENTS,
    CallTool,
    EnvelopeError,
    McpCommand,
    read_command,
    to_mcp,
)
from aos.entrypoints.bus.settling import Settling
from aos.errors import TransientError
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.telemetry import Span, Telemetry
from aos.services.tool_calls import CallCanceller, CommandDelivery, ToolCalls, ToolListing

SUBSCRIPTION = f"{SYSTEM_EVENTS}/Subscriptions/mcp"
PUBLISHED = "config.published"


class McpQueue:
    """Handles mcp's commands: tool calls, and their cancellation."""

    def __init__(
        self, settling: Settling, *, calls: ToolCalls, canceller: CallCanceller, bus: Bus
    ) -> None:
        self._settling = settling
        self._calls = calls
        self._canceller = canceller
        self._bus = bus

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one message."""
        await self._settling.handle(msg, self._take, entity=MCP_QUEUE, give_up=self._give_up)

    async def _take(self, message: ReceivedMessage, span: Span) -> None:
        command = await self._read_command(message)
        span.set(run_id=command.run_id, conversation_id=command.conversation_id)
        if isinstance(command, CallTool):
            await self._calls.handle(command, _describe_delivery(message))
            return
        later = await self._canceller.cancel(command, not_before=message.enqueued_at)
        if later is not None:
            await self._bus.send(replace(to_mcp(command), scheduled_at=later))

    async def _give_up(self, message: ReceivedMessage, error: Exception) -> None:
        command = await self._read_command(message)
        if isinstance(command, CallTool):
            await self._calls.give_up(command)

    async def _read_command(self, message: ReceivedMessage) -> McpCommand:
        command = read_command(await self._bus.read_whole_body(message))
        if not isinstance(command, McpCommand):
            raise EnvelopeError(f"a {command.type} does not belong on {MCP_QUEUE}")
        return command


def _describe_delivery(message: ReceivedMessage) -> CommandDelivery:
    """A postponed copy continues the message that it was made of, so it has no number of its own;
    0 stands for a number that the host did not tell."""
    return CommandDelivery(
        not_before=message.enqueued_at,
        redelivered=message.delivery_count > 1,
        is_first=message.delivery_count == 1 and not message.attempt,
        sequence_number=None if message.attempt else message.sequence_number or None,
    )


class SystemEvents:
    """Handles the event that the catalog has changed."""

    def __init__(self, settling: Settling, *, listing: ToolListing, telemetry: Telemetry) -> None:
        self._settling = settling
        self._listing = listing
        self._telemetry = telemetry

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one event."""
        await self._settling.handle(
            msg, self._take, entity=SUBSCRIPTION, later=self._leave_to_the_timer
        )

    async def _leave_to_the_timer(self, message: ReceivedMessage, cause: TransientError) -> None:
        """Do nothing: the timer lists the same servers."""
        self._telemetry.log(
            "event_left_to_the_timer",
            level="warning",
            entity=message.entity,
            message_id=message.message_id,
            reason=str(cause),
        )

    async def _take(self, message: ReceivedMessage, span: Span) -> None:
        event = _read_event(message.body)
        if event.get("type") != PUBLISHED:
            return
        data = event.get("data")
        version = data.get("catalog_version") if isinstance(data, dict) else None
        await self._listing.follow(at_least=version if isinstance(version, int) else 0)


def _read_event(body: bytes) -> dict[str, Any]:
    """Return the event, or an empty object for other messages on the topic."""
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
