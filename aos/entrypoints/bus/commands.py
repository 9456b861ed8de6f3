"""Serves the apps' own queues, `aos-main` and `aos-realm`. Entry points: `MainQueue.handle`,
`RealmQueue.handle`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import azure.functions as func

from aos.domain.bus_limits import shorten_id
from aos.domain.envelope import (
    MAIN_QUEUE,
    REALM_QUEUE,
    CancelChild,
    DeliverNotification,
    EnvelopeError,
    GivenUp,
    RealmCommand,
    RequestRun,
    RunEnded,
    is_about_blobs,
    read_command,
)
from aos.entrypoints.bus.agent_events import AgentEvents, is_postponed_event
from aos.entrypoints.bus.settling import Settling
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.telemetry import Span
from aos.services.admission import Delegations
from aos.services.execution import Execution
from aos.services.notifications import Notifications
from aos.services.replies import Replies
from aos.services.run_events import RunEvents
from aos.services.runs import RunReader

OPERATION = "agent_operation"
"""The name of the operation in which an agent handles a command; the deployment plan defines it."""


class MainQueue:
    """Handles main's commands: ends of runs, delegated runs, notifications, changes of cards, and
    events from outside that had to wait."""

    def __init__(
        self,
        settling: Settling,
        *,
        bus: Bus,
        replies: Replies,
        delegations: Delegations,
        notifications: Notifications,
        runs: RunReader,
        run_events: RunEvents,
        publish: Callable[[], Awaitable[None]],
        events: AgentEvents,
    ) -> None:
        self._settling = settling
        self._bus = bus
        self._replies = replies
        self._delegations = delegations
        self._notifications = notifications
        self._runs = runs
        self._run_events = run_events
        self._publish = publish
        self._events = events

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one message."""
        await self._settling.handle(msg, self._take, entity=MAIN_QUEUE)

    async def _take(self, message: ReceivedMessage, span: Span) -> None:
        if is_postponed_event(message):
            await self._events.take(message, span)
            return
        if is_about_blobs(message.body):
            await self._publish()
            return
        command = read_command(await self._bus.read_whole_body(message))
        match command:
            case RunEnded():
                span.set(
                    run_id=command.run_id,
                    conversation_id=command.conversation_id,
                    agent_id=command.run.agent_id,
                )
                self._runs.notify(command.run)
                self._run_events.notify(command.run)
                await self._replies.deliver(command)
            case RequestRun():
                await self._delegations.request(command)
            case CancelChild():
                await self._delegations.cancel(command)
            case DeliverNotification():
                if command.given_up and message.message_id == shorten_id(command.command_id):
                    raise GivenUp(f"the receiver of {command.event_type}: {command.given_up}")
                plain = replace(command, given_up="")
                await self._notifications.deliver(plain, lag=message.lag)
            case _:
                raise EnvelopeError(f"a {command.type} does not belong on {MAIN_QUEUE}")


class RealmQueue:
    """Handles realm's commands, one at a time for each conversation."""

    def __init__(self, settling: Settling, *, execution: Execution, bus: Bus) -> None:
        self._settling = settling
        self._execution = execution
        self._bus = bus

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one message."""
        await self._settling.handle(msg, self._take, entity=REALM_QUEUE, operation=OPERATION)

    async def _take(self, message: ReceivedMessage, span: Span) -> None:
        command = read_command(await self._bus.read_whole_body(message))
        if not isinstance(command, RealmCommand):
            raise EnvelopeError(f"a {command.type} does not belong on {REALM_QUEUE}")
        span.set(run_id=command.run_id, conversation_id=command.conversation_id)
        await self._execution.handle(
            command, delivery_count=message.delivery_count, not_before=message.enqueued_at
        )
