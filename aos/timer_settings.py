"""Reads how often the timers fire. Entry point: `TimerSettings.read`.

The allowed periods divide a minute, an hour or a day, so that a schedule can express them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

from aos.environment import Environment

PERIODS = (5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)
LONGEST_MENDER_SECONDS = 900
"""The longest time that a run whose next step was lost has to wait."""

LONGEST_WAKE_SECONDS = 900
"""The longest time that an agent wakes after its schedule said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSettings:
    """Seconds between two ticks of each timer. The defaults are those of Azure."""

    catalog_seconds: int = 300
    mender_seconds: int = 30
    listing_seconds: int = 300
    wake_seconds: int = 60
    clean_seconds: int = 3600

    @classmethod
    def read(cls, env: Environment, *, development: bool) -> TimerSettings:
        """Read the periods. Raises ConfigurationError. On a laptop, the default of each is 5
        seconds."""
        default = cls(
            catalog_seconds=5, mender_seconds=5, listing_seconds=5, wake_seconds=5, clean_seconds=5
        )
        if not development:
            default = cls()
        return cls(
            catalog_seconds=_read_period(env, "AOS_CATALOG_TIMER_SECONDS", default.catalog_seconds),
            mender_seconds=_read_period(
                env,
                "AOS_MENDER_TIMER_SECONDS",
                default.mender_seconds,
                most=LONGEST_MENDER_SECONDS,
            ),
            listing_seconds=_read_period(env, "AOS_LISTING_TIMER_SECONDS", default.listing_seconds),
            wake_seconds=_read_period(
                env, "AOS_WAKE_TIMER_SECONDS", default.wake_seconds, most=LONGEST_WAKE_SECONDS
            ),
            clean_seconds=_read_period(env, "AOS_CLEAN_TIMER_SECONDS", default.clean_seconds),
        )


def _read_period(env: Environment, name: str, default: int, *, most: int = PERIODS[-1]) -> int:
    words = tuple(str(period) for period in PERIODS if period <= most)
    return int(env.choice(name, words) or default)
