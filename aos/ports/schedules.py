"""Keeps how far the schedules of agents have been followed. Entry point: `Watermarks`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """The time up to which one schedule of an agent has been followed."""

    agent_id: str
    schedule_id: str
    last: datetime


class Watermarks(Protocol):
    """The watermarks, table `aosschedules`: a row for each schedule of an agent that may run."""

    async def list_all(self) -> list[Watermark]:
        """Return every row."""
        ...

    async def find(self, agent_id: str, schedule_id: str) -> Watermark | None:
        """Return the row, or None."""
        ...

    async def put(self, watermark: Watermark) -> None:
        """Write the row, whether or not it exists."""
        ...

    async def drop(self, agent_id: str, schedule_id: str) -> None:
        """Delete the row if it exists."""
        ...
