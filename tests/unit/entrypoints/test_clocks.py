"""A clock that is behind the broker's: what is scheduled from it must not come again at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aos.domain.envelope import REALM_QUEUE, REQUESTS_QUEUE
from aos.entrypoints.bus.messages import read_message
from aos.errors import TransientError
from aos.ports.bus import ReceivedMessage
from aos.testing.triggers import be_ready, make_trigger_message
from aos.wiring.realm import Realm
from tests.unit.entrypoints.laptop_in_memory import InMemory, call

BEHIND = timedelta(minutes=5)
ASK = {"agent_id": "ceo", "message": "What now?"}


class LateClock:
    """The clock of a machine that is behind the broker's."""

    def __init__(self, apps: InMemory) -> None:
        self._clock = apps.clock

    def now(self) -> datetime:
        """The time, too early."""
        return self._clock.now() - BEHIND

    def monotonic(self) -> float:
        """Seconds, which are right."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)


async def test_a_request_waits_in_a_pause_by_the_brokers_clock(apps: InMemory) -> None:
    apps.main = apps.new_main(world=replace(apps.world, clock=LateClock(apps)))
    await call(apps.main.operations.pause, "POST")
    apps.send(ASK)
    await apps.settle()
    (kept,) = apps.broker.messages(REQUESTS_QUEUE)
    assert timedelta() < kept.visible_at - apps.clock.now() <= timedelta(seconds=5)


async def test_a_message_is_postponed_by_the_brokers_clock(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(run_id: str) -> Any:
        raise TransientError("storage is away")

    apps.main = apps.new_main(world=replace(apps.world, clock=LateClock(apps)))
    monkeypatch.setattr(apps.world.requests, "find", away)
    apps.send(ASK)
    kept = apps.broker.receive(REQUESTS_QUEUE)
    assert kept is not None
    await apps.main.requests.handle(make_trigger_message(kept.build_received()))
    (copy,) = [m for m in apps.broker.messages(REQUESTS_QUEUE) if m is not kept]
    assert copy.visible_at - apps.clock.now() >= timedelta(seconds=50)


async def test_the_brokers_finer_time_is_cut_to_what_rows_can_hold() -> None:
    moment = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    message = ReceivedMessage(
        entity=REQUESTS_QUEUE, body=b"{}", message_id="m", sequence_number=1, enqueued_at=moment
    )
    seen = read_message(make_trigger_message(message), entity=REQUESTS_QUEUE)
    assert seen.enqueued_at == moment.replace(microsecond=123000)


async def test_a_run_waits_for_its_model_by_the_brokers_clock(apps: InMemory) -> None:
    apps.realm = Realm(
        apps.settings,
        open_world=lambda: replace(apps.world, clock=LateClock(apps)),
        telemetry=apps.telemetry,
        ids=apps.world.ids,
        ready=be_ready,
    )
    apps.model.then(*[TransientError("away")] * 100)
    await apps.ask({"message": "Hi", "wait_seconds": 0})
    calls = len(apps.model.calls)
    await apps.settle()
    (waiting,) = apps.broker.messages(REALM_QUEUE)
    assert waiting.visible_at > apps.clock.now()
    assert len(apps.model.calls) - calls < 50
