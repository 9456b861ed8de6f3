"""Reads whether transcripts are kept, and for how long. Entry point: `TranscriptSettings.read`."""

from __future__ import annotations

from dataclasses import dataclass

from aos.environment import Environment

DAYS = 90
MOST_DAYS = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptSettings:
    """The days for which the transcript of a run is kept after its end; None: none is written."""

    days: int | None = None

    @classmethod
    def read(cls, env: Environment) -> TranscriptSettings:
        """Read the settings. Raises ConfigurationError."""
        days = env.count("AOS_TRANSCRIPT_DAYS", DAYS, most=MOST_DAYS)
        is_on = env.choice("AOS_TRANSCRIPTS", ("on", "off")) == "on"
        return cls(days=days if is_on else None)
