"""Defines the pause of an installation. Entry point: `Pause`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who paused AOS, when, and why. `paused_at` is None where the setting AOS_PAUSED does it."""

    by: str
    paused_at: datetime | None = None
    reason: str = ""
