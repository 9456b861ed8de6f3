"""Admits the runs that events start. Entry point: `EventRuns.wake`.

An event wakes every agent whose card names its type. `source` and `id` of the event are the key of
each agent's run, so an event that comes again, or a handler that died between two agents, starts no
second run.
"""

from __future__ import annotations

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import (
    NEW_CONVERSATION,
    AgentCard,
    EventTrigger,
    name_own_owner,
)
from aos.domain.cloud_events import CloudEvent
from aos.domain.runs.run import ReplyAddress
from aos.errors import Refused
from aos.ports.agents import Agents, WakingAgents
from aos.ports.telemetry import Telemetry
from aos.services.admission.admissions import Admissions
from aos.services.admission.run_requests import RunRequest
from aos.services.admission.schedules import PAUSED


class EventRuns:
    """Main's use case: agents that wake by events."""

    def __init__(
        self,
        admissions: Admissions,
        *,
        agents: Agents,
        waking: WakingAgents,
        telemetry: Telemetry,
        max_message_bytes: int,
    ) -> None:
        self._admissions = admissions
        self._agents = agents
        self._waking = waking
        self._telemetry = telemetry
        self._max_message_bytes = max_message_bytes

    async def wake(
        self, event: CloudEvent, *, reply: ReplyAddress | None, traceparent: str | None
    ) -> None:
        """Wake every agent that waits for the event; may be repeated.

        The event is done when this returns. What is refused is logged. Raises TransientError, and
        Refused while AOS is paused.
        """
        for agent_id in await self._waking.list_listeners(event.type):
            try:
                await self._admit(agent_id, event, reply=reply, traceparent=traceparent)
            except Refused as refusal:
                if refusal.code == PAUSED:
                    raise
                self._telemetry.log(
                    "wake_refused",
                    level="warning",
                    agent_id=agent_id,
                    code=refusal.code,
                    event_type=event.type,
                    event_id=event.id,
                )

    async def _admit(
        self,
        agent_id: str,
        event: CloudEvent,
        *,
        reply: ReplyAddress | None,
        traceparent: str | None,
    ) -> None:
        trigger = _find_trigger((await self._agents.find(agent_id)).card, event.type)
        if trigger is None:
            return
        text = _write_message(trigger, event)
        if len(text.encode()) > self._max_message_bytes:
            raise Refused("too_large", f"an event of {len(text):,} characters is too large")
        new = trigger.conversation == NEW_CONVERSATION
        woken_by = {"type": event.type, "source": event.source, "id": event.id}
        admission = await self._admissions.admit(
            RunRequest(
                agent_id=agent_id,
                message=text,
                conversation_id=None if new else trigger.conversation,
                metadata={"woken_by": {"event": woken_by}},
                reply=reply,
            ),
            door="event",
            scope=f"event:{agent_id}",
            key=event.key,
            caller=Caller(owner=name_own_owner(agent_id)),
            traceparent=traceparent,
        )
        if admission.created:
            run_id = admission.request.run_id
            self._telemetry.log(
                "agent_woken", agent_id=agent_id, run_id=run_id, event_type=event.type
            )


def _find_trigger(card: AgentCard, event_type: str) -> EventTrigger | None:
    return next((trigger for trigger in card.events if trigger.type == event_type), None)


def _write_message(trigger: EventTrigger, event: CloudEvent) -> str:
    """The card's message, a blank line, the data; the event's type where both are empty."""
    parts = [text for text in (trigger.message.strip(), event.data) if text]
    return "\n\n".join(parts) or event.type
