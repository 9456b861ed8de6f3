"""What do Ctrl-C, SIGTERM and a closed terminal do to a deployment?"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from orchestrator.exits import Interrupted

# Windows has no SIGHUP.
_ASKED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def interrupting() -> Iterator[Callable[[], None]]:
    """Raise Interrupted at these signals; what is yielded makes them ignored instead.

    The second is for the moment when the audit record is closed: an impatient second Ctrl-C
    must not leave the first one unrecorded.
    """
    before: dict[signal.Signals, Any] = {it: signal.signal(it, _interrupt) for it in _ASKED}

    def ignore() -> None:
        for it in _ASKED:
            signal.signal(it, signal.SIG_IGN)

    try:
        yield ignore
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let a signal wait until a step is done whole, such as starting a process and knowing it."""
    came: list[int] = []
    before: dict[signal.Signals, Any] = {
        it: signal.signal(it, lambda number, _: came.append(number)) for it in _ASKED
    }
    try:
        yield
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)
        if came:
            signal.raise_signal(came[0])
