"""Who keeps the laptop's processes running, and in which order do they start and stop?

Waves start one after the other, the children of a wave side by side. From the first wave on a
thread watches: a child that dies is started again, at once the first time and after at most
`LONGEST_DELAY_SECONDS` when it keeps dying. Stopping goes backwards through the waves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from devhost.child import Child, ChildSpec, shown
from devhost.errors import LaptopError, LaptopInterrupted

Say = Callable[[str], None]

WATCH_INTERVAL_SECONDS = 0.1
SETTLED_AFTER_SECONDS = 20.0
"""A child that lived this long is no longer counted as crashing in a loop."""
LONGEST_DELAY_SECONDS = 4.0
"""The contract: a child that dies is restarted within 5 s."""


class Supervisor:
    """Starts, watches and stops the children; safe to use from several threads."""

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
        # Children get SIGTERM when the *thread* that started them ends, so one thread, which
        # lives as long as we do, starts them all.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")

    def child(self, name: str) -> Child:
        """The child of that name; raises LaptopError if there is none."""
        try:
            return self._children[name]
        except KeyError:
            known = ", ".join(self._children) or "none yet"
            raise LaptopError(f"there is no child {name!r}; there are: {known}") from None

    @property
    def children(self) -> list[Child]:
        """All children in the order they were started."""
        return list(self._children.values())

    def start(self, specs: Sequence[ChildSpec], *, wait: bool = True) -> None:
        """Start a wave and wait until all of it is ready.

        Raises LaptopError, naming the child, its last words and its log, if one of them ends or
        takes longer than its time; LaptopInterrupted if `request_stop` was called.
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
        """Wait until the named children serve; from then on they are restarted when they die."""
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
        """Stop a child and leave it down until `bring_up`."""
        with self._lock:
            self._held.add(name)
        self.child(name).stop()

    def bring_up(self, name: str) -> None:
        """Start a child that was taken down or has died, and wait until it serves."""
        child = self.child(name)
        with self._lock:
            if not child.alive:
                self._start(child)
        child.wait_ready(child.spec.start_timeout_seconds)
        with self._lock:
            self._held.discard(name)

    def request_stop(self) -> None:
        """Ask for the end without waiting for it (fit for signal handlers)."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop everything, last wave first; each wave side by side. Doing it twice does nothing."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
        while self._waves:
            wave = self._waves.pop()
            with ThreadPoolExecutor(max_workers=len(wave) or 1) as pool:
                list(pool.map(lambda child: child.stop(), wave))
        self._starter.shutdown()

    def look(self) -> None:
        """Restart what has died and is due. The watcher calls it; tests may."""
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
                f"{child.name} did not start ({child.how_it_ended()}); {child.last_words()}"
            )
        if child.is_ready():
            with self._lock:
                self._held.discard(child.name)
            return True
        if time.monotonic() - child.started_at > spec.start_timeout_seconds:
            raise LaptopError(
                f"{child.name} is not ready after {spec.start_timeout_seconds:g} s; "
                f"{child.last_words()}"
            )
        return False

    def _restart_when_due(self, child: Child) -> None:
        now = time.monotonic()
        due = self._due.get(child.name)
        if due is None:
            self._due[child.name] = due = now + self._delay(child, now)
        if now < due:
            return
        del self._due[child.name]
        ended = child.how_it_ended()
        self._start(child)
        child.restarts += 1
        if self._is_worth_a_line(child.name):
            self._say(
                f"{child.name} ended ({ended}) and was started again, pid {child.pid}; "
                f"log: {shown(child.spec.log_path)}"
            )

    def _delay(self, child: Child, now: float) -> float:
        if now - child.started_at > SETTLED_AFTER_SECONDS:
            self._crashes[child.name] = 0
        crashes = self._crashes.get(child.name, 0)
        self._crashes[child.name] = crashes + 1
        return 0.0 if crashes == 0 else min(0.5 * 2 ** (crashes - 1), LONGEST_DELAY_SECONDS)

    def _is_worth_a_line(self, name: str) -> bool:
        """The first five restarts of a crash loop, then each tenth: the log has them all."""
        crashes = self._crashes[name]
        return crashes <= 5 or crashes % 10 == 0
