"""Announces changes of the catalog in telemetry and on `system-events`. Entry point:
`Announcer.announce`."""

from __future__ import annotations

import contextlib

from aos.domain.cards.identity import CardKind
from aos.domain.cards.publication import CardChange
from aos.domain.envelope import SYSTEM_EVENTS, Event
from aos.errors import TransientError
from aos.ports.bus import Bus
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.catalog.publisher import PublishOutcome

MAX_NAMED = 100
"""Cards that one event names at most; the catalog holds the rest."""


class Announcer:
    """Announces publications."""

    def __init__(self, *, bus: Bus, clock: Clock, telemetry: Telemetry) -> None:
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry

    async def announce(self, outcome: PublishOutcome) -> None:
        """Announce what this publication changed.

        The event is lost when the bus is away; the catalog itself is published all the same.
        """
        if not outcome.published or not outcome.changes:
            return
        self._telemetry.custom_event(
            "ConfigPublished", catalog_version=outcome.version, changes=len(outcome.changes)
        )
        for change in outcome.changes:
            self._record(change)
        with contextlib.suppress(TransientError):
            await self._bus.publish(self._make_event(outcome))

    def _record(self, change: CardChange) -> None:
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
        if change.has_started:
            self._telemetry.custom_event("AgentInitialized", **agent, purpose=change.purpose)
            self._telemetry.custom_event("AgentStarted", **agent)
        elif change.has_stopped:
            self._telemetry.custom_event("AgentStopped", **agent)

    def _make_event(self, outcome: PublishOutcome) -> Event:
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
