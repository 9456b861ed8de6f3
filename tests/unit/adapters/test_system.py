"""The machine's clock and randomness keep what their ports promise."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from aos.adapters.system import RandomIds, SystemClock
from aos.domain.wire_time import from_wire_time, to_wire_time


async def test_the_time_is_utc_and_survives_the_wire() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
    assert from_wire_time(to_wire_time(now)) == now


async def test_sleeping_takes_monotonic_time() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.015


def test_ids_are_fresh_uuids_and_jitter_is_a_fraction() -> None:
    ids = RandomIds()
    fresh = {ids.new_id() for _ in range(100)}
    assert len(fresh) == 100
    assert all(str(uuid.UUID(text)) == text for text in fresh)
    assert all(0 <= ids.jitter() < 1 for _ in range(100))
