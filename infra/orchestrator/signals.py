"""Turns Ctrl-C, SIGTERM and a closed terminal into `Interrupted`. Entry point: `raise_interrupts`.

When SIGHUP is ignored at the start, as `nohup` does, it stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from infra.orchestrator.exit_codes import Interrupted


def _list_signals() -> tuple[signal.Signals, ...]:
    """List the signals that end a run. Windows has no SIGHUP, and nohup ignores it."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def raise_interrupts() -> Iterator[Callable[[], None]]:
    """Raise Interrupted when a signal comes. Yields a function that makes the signals ignored.

    The run calls it before it writes the last audit entry, so that a second Ctrl-C cannot prevent
    the entry.
    """
    before: dict[signal.Signals, Any] = {
        it: signal.signal(it, _interrupt) for it in _list_signals()
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
def hold_signals() -> Iterator[None]:
    """Delay signals until the block is done, such as starting a process and storing it."""
    received: list[int] = []
    before: dict[signal.Signals, Any] = {
        it: signal.signal(it, lambda number, _: received.append(number)) for it in _list_signals()
    }
    try:
        yield
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)
        if received:
            signal.raise_signal(received[0])
