"""Does harm to the processes of a laptop, one kind after the other. Entry point: `Harm`."""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.proxy import Proxy
from devhost.child import Child
from devhost.errors import LaptopError
from devhost.laptop import Laptop
from tests.chaos.verdict import Fault

KILLED = ("realm", "main", "mcp", "servicebus")
FROZEN = ("realm", "mcp", "main", "servicebus", "azurite")
FULL_DISK_BYTES = 64 * 1024
"""No file may be written beyond this, which meets each commit of the bus's database."""
SLOW_SECONDS = 0.4
"""What each storage call waits while storage is slow."""
GENTLE_EVERY = 12
"""Each time after so many kills, Azurite is restarted: SIGTERM, because kill -9 loses rows that it
has acknowledged, which Azure Storage never does."""
READY_SECONDS = 60.0


class Harm:
    """Kills a process every few seconds, and beside that freezes, slows and fills, each in turn."""

    def __init__(
        self,
        *,
        laptop_of: Callable[[str], Laptop],
        storage: Proxy,
        seed: int,
        every: float,
        lasting: float,
        pause: float,
    ) -> None:
        """Kill each `every` seconds; the other faults take `lasting` seconds, with a pause of
        `pause` seconds between them."""
        self.faults: list[Fault] = []
        self.starts: list[float] = []
        """Seconds from a kill until the process served again."""
        self._laptop_of = laptop_of
        self._storage = storage
        self._random = random.Random(seed)
        self._every = every
        self._lasting = lasting
        self._pause = pause
        self._stopping = threading.Event()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._kill_on, name="kills"),
            threading.Thread(target=self._disturb_on, name="disturbances"),
        ]
        self.errors: list[str] = []

    def __enter__(self) -> Harm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(READY_SECONDS + self._lasting)

    def _kill_on(self) -> None:
        victims: list[str] = []
        for count in itertools.count(1):
            if self._stopping.wait(self._every):
                return
            if count % GENTLE_EVERY == 0:
                with self._alone("azurite") as free:
                    if free:
                        self._last("SIGTERM", "azurite", self._restart_storage)
                continue
            if not victims:
                victims = self._random.sample(KILLED, len(KILLED))
            for victim in list(victims):
                with self._alone(victim) as free:
                    if free:
                        victims.remove(victim)
                        self._kill(victim)
                        break

    def _kill(self, victim: str) -> None:
        now = time.monotonic()
        self._child(victim).kill9()
        self.faults.append(Fault(kind="kill -9", target=victim, began=now, over=now))
        threading.Thread(target=self._bring_up, args=(victim, now), daemon=True).start()

    def _bring_up(self, victim: str, killed: float) -> None:
        """Start it at once. The laptop would wait for up to 4 s, as in a loop of crashes."""
        with contextlib.suppress(LaptopError):
            self._laptop_of(victim).bring_up(victim)
            self.starts.append(time.monotonic() - killed)

    def _restart_storage(self) -> None:
        laptop = self._laptop_of("azurite")
        laptop.take_down("azurite")
        laptop.bring_up("azurite")

    def _child(self, name: str) -> Child:
        return self._laptop_of(name).child(name)

    def _disturb_on(self) -> None:
        kinds = itertools.cycle(
            [("SIGSTOP", name) for name in FROZEN[:1]]
            + [("slow", "azurite"), ("full disk", "servicebus")]
            + [("SIGSTOP", name) for name in FROZEN[1:]]
        )
        for kind, target in kinds:
            if self._stopping.wait(self._pause):
                return
            with self._alone(target) as free:
                if not free:
                    continue
                work = {"SIGSTOP": self._freeze, "slow": self._slow, "full disk": self._fill}
                self._last(kind, target, lambda do=work[kind], to=target: do(to))

    def _last(self, kind: str, target: str, work: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            work()
        except (LaptopError, OSError) as error:
            self.errors.append(f"{kind} {target}: {error}")
        self.faults.append(Fault(kind=kind, target=target, began=began, over=time.monotonic()))

    @contextlib.contextmanager
    def _alone(self, target: str) -> Iterator[bool]:
        """Yield whether nothing else is being done to the target, which serves."""
        with self._lock:
            free = target not in self._busy
            if free:
                self._busy.add(target)
        try:
            yield free and self._child(target).alive
        finally:
            if free:
                with self._lock:
                    self._busy.discard(target)

    def _freeze(self, target: str) -> None:
        self._child(target).send_signal(signal.SIGSTOP)
        self._stopping.wait(self._lasting)
        self._child(target).send_signal(signal.SIGCONT)

    def _slow(self, target: str) -> None:
        self._storage.delay = SLOW_SECONDS
        self._stopping.wait(self._lasting)
        self._storage.delay = 0.0

    def _fill(self, target: str) -> None:
        pid = self._child(target).pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, hard))
        self._stopping.wait(self._lasting)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
