"""Tells an app that its process is about to end. Entry point: `drain_at_sigterm`.

Azure's Python worker has no handler of SIGTERM, so the signal ended the process at once, with its
messages locked. The handler here first lets the app hand them back, for at most `LIMIT_SECONDS`. A
host that handles the signal itself, as the local one does, only passes it on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from aos.entrypoints.draining import Drain

LIMIT_SECONDS = 28.0
"""The platform kills a process 30 s after SIGTERM."""
SETTLE_SECONDS = 1.0
"""The time that the host gets to settle what was handed back."""
TOLD_TO_END = 128 + signal.SIGTERM


def drain_at_sigterm(drain: Drain) -> None:
    """Install the handler. Does nothing outside the main thread, where Python allows none, and
    where another handler is installed already."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def handle(number: int, frame: FrameType | None) -> None:
        drain.begin()
        if signal.getsignal(signal.SIGTERM) is handle:  # nobody else ends this process
            threading.Thread(target=_end_when_idle, args=(drain,), daemon=True).start()

    signal.signal(signal.SIGTERM, handle)


def _end_when_idle(drain: Drain) -> None:
    """End the process as SIGTERM does, when the app has handed back what it held."""
    ends = time.monotonic() + LIMIT_SECONDS
    time.sleep(SETTLE_SECONDS)
    while not drain.is_idle and time.monotonic() < ends:
        time.sleep(0.05)
    time.sleep(SETTLE_SECONDS)
    os._exit(TOLD_TO_END)
