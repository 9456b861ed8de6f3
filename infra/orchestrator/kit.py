"""What does every phase work with?"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.audit import Journal
from orchestrator.az import Az
from orchestrator.clock import Clock
from orchestrator.terminal import Terminal
from orchestrator.voice import Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long the orchestrator waits, in seconds."""

    attempts: int = 4
    first_wait_seconds: float = 15.0
    longest_wait_seconds: float = 120.0
    progress_seconds: float = 15.0
    health_poll_seconds: float = 10.0

    def wait_after(self, attempt: int) -> float:
        """The wait after the first, second ... failed attempt: twice as long each time."""
        return float(min(self.first_wait_seconds * 2 ** (attempt - 1), self.longest_wait_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The hands of a run: az, a voice, a clock, a terminal and the audit journal."""

    az: Az
    journal: Journal
    voice: Voice = field(default_factory=Voice)
    clock: Clock = field(default_factory=Clock)
    terminal: Terminal = field(default_factory=Terminal)
    patience: Patience = field(default_factory=Patience)
