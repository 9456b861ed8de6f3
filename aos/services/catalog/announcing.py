"""Who is told that the catalog has changed?

Operators, by telemetry under the plan's names, and whoever subscribed to `system-events`.
"""

from __future__ import annotations

import contextlib

from aos.domain.cards.catalog import CardChange
from aos.domain.cards.identity import CardKind
from aos.domain.envelope import SYSTEM_EVENTS, Event
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.catalog.publisher import PublishOutcome

MAX_NAMED = 100
"""So many cards an event names at most; the catalog says the rest."""


class Announcer:
    """Tells of publications."""

    def __init__(self, *, bus: Bus, clock: Clock, telemetry: Telemetry) -> None:
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry

    async def tell(self, outcome: PublishOutcome) -> None:
        """Tell what this publication changed; nothing where it changed nothing.

        The event is a courtesy: it is lost when the bus is away, as the catalog itself is not.
        """
        if not outcome.published or not outcome.changes:
            return
        self._telemetry.custom_event(
            "ConfigPublished", catalog_version=outcome.version, changes=len(outcome.changes)
        )
        for change in outcome.changes:
            self._tell_of(change)
        with contextlib.suppress(TransientError):
            await self._bus.publish(self._event(outcome))

    def _tell_of(self, change: CardChange) -> None:
        if change.after.state == "rejected":
            self._telemetry.log(
                "card_rejected",
                level="warning",
                card=change.kind.blob_name(change.card_id),
                problems=len(change.after.errors),
            )
        if change.kind is not CardKind.AGENT:
            return
        agent = {"agentId": change.card_id, "agent_id": change.card_id}
        if change.started:
            self._telemetry.custom_event("AgentInitialized", **agent, purpose=change.purpose)
            self._telemetry.custom_event("AgentStarted", **agent)
        elif change.stopped:
            self._telemetry.custom_event("AgentStopped", **agent)

    def _event(self, outcome: PublishOutcome) -> Event:
        return Event(
            topic=SYSTEM_EVENTS,
            id=f"config:{outcome.index.revision}:{(outcome.digest or '')[:16]}",
            type="config.published",
            source="aos/catalog",
            time=self._clock.now(),
            data={
                "catalog_version": outcome.version,
                "cards": [
                    {
                        "kind": change.kind.value,
                        change.kind.id_field: change.card_id,
                        "state": change.after.state,
                        "serving_digest": change.after.serving_digest,
                    }
                    for change in outcome.changes[:MAX_NAMED]
                ],
                "changes": len(outcome.changes),
            },
        )
