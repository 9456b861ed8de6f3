"""Turns Ctrl-C, SIGTERM and a closed terminal into `Interrupted`. Entry point: `interrupting`.

SIGHUP stays ignored where it was ignored at the start: `nohup` asks for that.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from orchestrator.exits import Interrupted


def _ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a deployment. Windows has no SIGHUP; nohup has it ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def interrupting() -> Iterator[Callable[[], None]]:
    """Raise Interrupted at these signals; what is yielded makes them ignored instead.

    The second is for the moment when the audit record is closed: an impatient second Ctrl-C
    must not leave the first one unrecorded.
    """
    before: dict[signal.Signals, Any] = {
        it: signal.signal(it, _interrupt) for it in _ending_signals()
    }

    def ignore() -> None:
        for it in before:
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
        it: signal.signal(it, lambda number, _: came.append(number)) for it in _ending_signals()
    }
    try:
        yield
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)
        if came:
            signal.raise_signal(came[0])
