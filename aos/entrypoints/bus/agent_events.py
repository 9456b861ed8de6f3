"""Handles events from outside on the subscription `wake` of `agent-events`. Entry point:
`AgentEvents.handle`.

An event that cannot be handled now continues as a scheduled copy on `aos-main`, because a message
cannot be sent to one subscription. A message that is not a CloudEvent is unreadable.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import azure.functions as func

from aos.domain.cloud_events import CloudEvent, EventFault, read_cloud_event
from aos.domain.envelope import MAIN_QUEUE, WAKE_SUBSCRIPTION
from aos.domain.runs.run import ReplyAddress
from aos.entrypoints.bus.messages import Unreadable
from aos.entrypoints.bus.settling import Settling
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.errors import Refused, TransientError
from aos.ports.bus import POSTPONED_FROM, Bus, ReceivedMessage
from aos.ports.system import Clock
from aos.ports.telemetry import Span, Telemetry
from aos.services.admission import EventRuns


def is_postponed_event(message: ReceivedMessage) -> bool:
    """Whether this message of `aos-main` is the copy of an event."""
    return message.properties.get(POSTPONED_FROM) == WAKE_SUBSCRIPTION


class AgentEvents:
    """Handles the events that wake agents."""

    def __init__(
        self,
        settling: Settling,
        *,
        events: EventRuns,
        reply_entities: ReplyEntities,
        bus: Bus,
        clock: Clock,
        pause_delay: timedelta,
        telemetry: Telemetry,
    ) -> None:
        self._settling = settling
        self._events = events
        self._reply_entities = reply_entities
        self._bus = bus
        self._clock = clock
        self._pause_delay = pause_delay
        self._telemetry = telemetry

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one message of the subscription."""
        await self._settling.handle(
            msg, self.take, entity=WAKE_SUBSCRIPTION, later=self._continue_on_main
        )

    async def take(self, message: ReceivedMessage, span: Span) -> None:
        """Wake the agents that wait for the event. When this returns, the event is done, or a copy
        of it waits for the end of a pause."""
        if "aos_app" in message.properties:  # the subscription's filter passes on none of these
            return
        try:
            event = read_cloud_event(
                message.body, content_type=message.content_type, properties=message.properties
            )
        except EventFault as fault:
            raise Unreadable(str(fault)) from fault
        span.set(**{"cloudevents.event_id": event.id, "cloudevents.event_type": event.type})
        try:
            reply = self._find_reply(message, event)
        except Refused as refusal:
            self._log_refusal(event, refusal)
            return
        try:
            await self._events.wake(event, reply=reply, traceparent=message.traceparent)
        except Refused:  # AOS is paused
            await self._wait_for_resume(message)

    def _find_reply(self, message: ReceivedMessage, event: CloudEvent) -> ReplyAddress | None:
        """Return where replies go; None without `reply_to`. Raises Refused."""
        if message.reply_to is None:
            return None
        from aos.entrypoints.requests import check_bus_ids

        check_bus_ids(
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            reply_to_session_id=message.reply_to_session_id,
        )
        return ReplyAddress(
            entity=self._reply_entities.require_allowed(message.reply_to),
            session_id=message.reply_to_session_id,
            correlation_id=message.correlation_id or message.message_id or event.id,
        )

    def _log_refusal(self, event: CloudEvent, refusal: Refused) -> None:
        self._telemetry.log(
            "wake_refused",
            level="warning",
            code=refusal.code,
            reason=str(refusal),
            event_type=event.type,
            event_id=event.id,
        )

    async def _continue_on_main(self, message: ReceivedMessage, cause: TransientError) -> None:
        await self._settling.postpone(_make_copy(message), cause)

    async def _wait_for_resume(self, message: ReceivedMessage) -> None:
        """Send the event on as a scheduled copy, which comes when AOS may be resumed, or when its
        time to live is over."""
        at = self._clock.now() + message.lag + self._pause_delay
        if message.expires_at is not None:
            at = min(at, message.expires_at)
        await self._bus.postpone(_make_copy(message), at=at, attempt=message.attempt)


def _make_copy(message: ReceivedMessage) -> ReceivedMessage:
    """Return the event as a message of `aos-main`."""
    properties = {**message.properties, POSTPONED_FROM: WAKE_SUBSCRIPTION}
    return replace(message, entity=MAIN_QUEUE, properties=properties)
