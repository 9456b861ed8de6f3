"""What must every adapter of `Watermarks` do, be it the fake or the real one?"""

from __future__ import annotations

from datetime import timedelta

from aos.ports.schedules import Watermark, Watermarks
from tests.samples import NOON, an_id


def a_watermark() -> Watermark:
    return Watermark(agent_id=f"agent-{an_id()}", schedule_id="a1" * 16, last=NOON)


class WatermarksSuite:
    """`Watermarks`."""

    async def test_a_row_is_found_and_replaced(self, watermarks: Watermarks) -> None:
        row = a_watermark()
        assert await watermarks.find(row.agent_id, row.schedule_id) is None
        await watermarks.put(row)
        assert await watermarks.find(row.agent_id, row.schedule_id) == row
        later = Watermark(
            agent_id=row.agent_id,
            schedule_id=row.schedule_id,
            last=NOON + timedelta(milliseconds=1),
        )
        await watermarks.put(later)
        assert await watermarks.find(row.agent_id, row.schedule_id) == later

    async def test_every_row_is_listed_and_a_dropped_one_is_not(
        self, watermarks: Watermarks
    ) -> None:
        row, other = a_watermark(), a_watermark()
        await watermarks.put(row)
        await watermarks.put(other)
        assert {row, other} <= set(await watermarks.list_all())
        await watermarks.drop(row.agent_id, row.schedule_id)
        await watermarks.drop(row.agent_id, row.schedule_id)
        assert await watermarks.find(row.agent_id, row.schedule_id) is None
        left = await watermarks.list_all()
        assert other in left
        assert row not in left
