"""Starts, watches, restarts and stops the laptop's processes. Entry point: `Supervisor`.

Waves start one after the other, the children of a wave in parallel. A thread watches the children:
a child that ends is started again, at once the first time and after at most `LONGEST_DELAY_SECONDS`
if it keeps ending. Stopping goes through the waves backwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from devhost.child import Child, ChildSpec, shorten_path
from devhost.errors import LaptopError, LaptopInterrupted

Say = Callable[[str], None]

WATCH_INTERVAL_SECONDS = 0.1
SETTLED_AFTER_SECONDS = 20.0
"""A child that ran this long no longer counts as crashing in a loop."""
LONGEST_DELAY_SECONDS = 4.0
"""The contract requires that an ended child is restarted within 5 s."""


class Supervisor:
    """Starts, watches and stops the children. Several threads may use it."""

    def __init__(self, *, say: Say, restart: bool = True) -> None:
        self._say = say
        self._restart = restart
        self._waves: list[list[Child]] = []
        self._children: dict[str, Child] = {}
        self._crashes: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._held: set[str] = set()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        # A child gets SIGTERM when the thread that started it ends, so one thread, which lives
        # until the end, starts all children.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")

    def child(self, name: str) -> Child:
        """Return the child of that name. Raises LaptopError if there is none."""
        try:
            return self._children[name]
        except KeyError:
            known = ", ".join(self._children) or "none yet"
            raise LaptopError(f"there is no child {name!r}; there are: {known}") from None

    @property
    def children(self) -> list[Child]:
        """All children in the order of their start."""
        return list(self._children.values())

    def start(self, specs: Sequence[ChildSpec], *, wait: bool = True) -> None:
        """Start a wave and wait until all of it is ready.

        Raises LaptopError with the child, the last line of its log and the log's path, if a child
        ends or is not ready in time; LaptopInterrupted after `request_stop`.
        """
        wave = [Child(spec) for spec in specs]
        with self._lock:
            if self._stopping.is_set():
                raise LaptopInterrupted
            self._waves.append(wave)
            for child in wave:
                self._children[child.name] = child
                self._held.add(child.name)
                self._start(child)
        if wait:
            self.wait_ready([child.name for child in wave])

    def wait_ready(self, names: Sequence[str]) -> None:
        """Wait until the named children serve; from then on they are restarted when they end."""
        waiting = [self.child(name) for name in names]
        while waiting:
            if self._stopping.is_set():
                raise LaptopInterrupted
            waiting = [child for child in waiting if not self._has_become_ready(child)]
            if waiting:
                time.sleep(0.05)
        if self._watcher is None and self._restart:
            self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
            self._watcher.start()

    def take_down(self, name: str) -> None:
        """Stop a child; it stays down until `bring_up`."""
        with self._lock:
            self._held.add(name)
        self.child(name).stop()

    def bring_up(self, name: str) -> None:
        """Start a child that is down and wait until it serves."""
        child = self.child(name)
        with self._lock:
            if not child.alive:
                self._start(child)
        child.wait_ready(child.spec.start_timeout_seconds)
        with self._lock:
            self._held.discard(name)

    def request_stop(self) -> None:
        """Ask for the end without waiting for it. Signal handlers may call it."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop everything, the last wave first, each wave in parallel. A second call does
        nothing."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
        while self._waves:
            wave = self._waves.pop()
            with ThreadPoolExecutor(max_workers=len(wave) or 1) as pool:
                list(pool.map(lambda child: child.stop(), wave))
        self._starter.shutdown()

    def look(self) -> None:
        """Restart the children that ended and are due. The watcher calls it; tests may."""
        with self._lock:
            for child in self.children:
                if self._stopping.is_set():
                    return
                if child.name not in self._held and not child.alive:
                    self._restart_when_due(child)

    def _start(self, child: Child) -> None:
        self._starter.submit(child.start).result(timeout=30)

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_INTERVAL_SECONDS):
            self.look()

    def _has_become_ready(self, child: Child) -> bool:
        spec = child.spec
        if not child.alive:
            raise LaptopError(
                f"{child.name} did not start ({child.describe_end()}); {child.describe_log()}"
            )
        if child.is_ready():
            with self._lock:
                self._held.discard(child.name)
            return True
        if time.monotonic() - child.started_at > spec.start_timeout_seconds:
            raise LaptopError(
                f"{child.name} is not ready after {spec.start_timeout_seconds:g} s; "
                f"{child.describe_log()}"
            )
        return False

    def _restart_when_due(self, child: Child) -> None:
        now = time.monotonic()
        due = self._due.get(child.name)
        if due is None:
            self._due[child.name] = due = now + self._compute_delay(child, now)
        if now < due:
            return
        del self._due[child.name]
        ended = child.describe_end()
        self._start(child)
        child.restarts += 1
        if self._is_worth_a_line(child.name):
            self._say(
                f"{child.name} ended ({ended}) and was started again, pid {child.pid}; "
                f"log: {shorten_path(child.spec.log_path)}"
            )

    def _compute_delay(self, child: Child, now: float) -> float:
        if now - child.started_at > SETTLED_AFTER_SECONDS:
            self._crashes[child.name] = 0
        crashes = self._crashes.get(child.name, 0)
        self._crashes[child.name] = crashes + 1
        return 0.0 if crashes == 0 else min(0.5 * 2 ** (crashes - 1), LONGEST_DELAY_SECONDS)

    def _is_worth_a_line(self, name: str) -> bool:
        """Whether to report a restart: the first five of a crash loop, then each tenth."""
        crashes = self._crashes[name]
        return crashes <= 5 or crashes % 10 == 0
