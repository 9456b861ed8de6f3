"""Runs `make run`, from its first line to the last "stopped". Entry point: `up`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from aos.client.http import AosClient
from aos.settings import BUS, STORAGE
from devhost import model
from devhost.apps import APP_FOLDERS, Places
from devhost.doors import LiveDoors
from devhost.errors import LaptopError, LaptopInterrupted
from devhost.follow import LogFollower
from devhost.laptop import REPOSITORY, Laptop, Step
from devhost.ports import Ports
from devhost.scripted_model import MODEL, serve_script
from devhost.second_act import Script, SecondAct
from devhost.settings import MODEL_ENDPOINT, LaptopSettings
from devhost.story import Story, curl

__all__ = ["Laptop", "up"]

LAST_LINE = "Ctrl-C stops everything; data is kept in .aos/"
LOOK_SECONDS = 0.5
OF_THE_MODEL = ("AOS_MODEL", "AOS_MODELS", "AOS_MODEL_API", "AOS_MODEL_CLIENT_ID")
"""Settings of the user's model that do not fit the script of the second act."""
KEY = (
    "$(python3 -c 'import json; "
    """print(json.load(open(".aos/keys.json"))["default"])')"""
)
KEY_HEADER = f"x-functions-key: {KEY}"


def up(
    *,
    demo: bool = False,
    repository: Path = REPOSITORY,
    environment: Mapping[str, str] = os.environ,
    output: TextIO = sys.stdout,
) -> int:
    """Run the laptop until SIGINT, SIGTERM or SIGHUP; return 0, or 1 after one line on failure."""
    say = _Voice(output)
    try:
        settings = LaptopSettings.read(environment, repository)
        places = Places(repository=repository, data=repository / ".aos")
        with _lock_folder(places.data / "lock"):
            _keep_old_logs(places.data / "logs")
            laptop = Laptop.for_user(settings, places=places, say=say)
            is_watched = output.isatty() and sys.stdin.isatty()
            return _Session(laptop=laptop, say=say, demo=demo, is_watched=is_watched).run()
    except (LaptopError, OSError) as error:
        say(f"AOS cannot run: {error}")
        return 1
    except KeyboardInterrupt:  # before the session listens to signals
        say("stopped; nothing had started")
        return 130


@dataclass(slots=True, kw_only=True)
class _Session:
    """One run of the laptop: start, demonstration, logs, stop."""

    laptop: Laptop
    say: _Voice
    demo: bool
    is_watched: bool
    _stop: threading.Event = field(default_factory=threading.Event)
    _in_story: bool = False

    def run(self) -> int:
        """Run until a stop is requested and return 0. Raises LaptopError."""
        began = time.monotonic()
        with self._handle_signals():
            try:
                self.laptop.start(_number_steps(self.say))
                seconds = time.monotonic() - began
                self._tell()
                self._print_summary(seconds)
                self._follow()
            except LaptopInterrupted:
                self._stop.set()
            finally:
                if self.laptop.supervisor.children:
                    self.say("stopping …")
                self.laptop.stop()
        self.say("stopped; data is kept in .aos/")
        return 0

    def _tell(self) -> None:
        """Play the demonstration on the first start or on request. If it fails, the laptop keeps
        running."""
        told = self.laptop.places.data / "story-told"
        if self._stop.is_set() or (told.exists() and not self.demo):
            return
        why_not = self._explain_no_story()
        if why_not:
            self.say(f"(the demonstration is left out: {why_not})")
            return
        story = Story(
            doors=LiveDoors(
                main_url=self.laptop.urls["main"],
                storage=self.laptop.storage_connection_string,
                bus=self.laptop.servicebus_connection_string,
                key=self.laptop.keys.get("default"),
            ),
            say=self.say,
            main_url=self.laptop.urls["main"],
            key_header=KEY_HEADER if self.laptop.keys else "",
        )
        self.say("")
        try:
            self._in_story = True
            story.tell()
            told.touch()
            if self.demo:
                self._make_second_act().tell()
            else:
                self.say("(make demo goes on with a tool, an approval, a delegation and a kill)")
        except LaptopError as error:
            self.say(f"the demonstration stops here: {error}; logs: .aos/logs; again: make demo")
        finally:
            self._in_story = False

    def _make_second_act(self) -> SecondAct:
        return SecondAct(
            client=AosClient(
                url=self.laptop.urls["main"], key=self.laptop.keys.get("default") or ""
            ),
            stage=self._stage,
            kill=self.laptop.child("realm").kill9,
            say=self.say,
            main_url=self.laptop.urls["main"],
            is_watched=self.is_watched,
            aos=f"{self._list_client_settings()}.venv/bin/aos",
        )

    @contextlib.contextmanager
    def _stage(self, script: Script) -> Iterator[None]:
        """Let the script answer for the model; afterwards realm has its own endpoint again."""
        before = self.laptop.child("realm").spec.environment
        others = {name: value for name, value in before.items() if name not in OF_THE_MODEL}
        with serve_script(script.choose) as endpoint:
            chosen = {MODEL_ENDPOINT: endpoint, "AOS_MODEL": MODEL, "AOS_MODEL_API_KEY": "none"}
            self.laptop.change("realm", others | chosen)
            try:
                yield
            finally:
                if not self._stop.is_set():
                    self.laptop.change("realm", before)

    def _explain_no_story(self) -> str:
        settings = self.laptop.settings
        if settings.auth == "easyauth":
            return "AOS_AUTH=easyauth refuses HTTP on a laptop"
        if not (settings.storage_connection_string and settings.servicebus_connection_string):
            return "it needs connection strings, and identities are set"
        return ""

    def _print_summary(self, seconds: float) -> None:
        if self._stop.is_set():
            return
        settings, urls = self.laptop.settings, self.laptop.urls
        self.say("")
        self.say(f"ready after {seconds:.1f} s")
        self.say(f"  Console     {urls['main']}/api/console")
        for name, url in urls.items():
            self.say(f"  {name:<12}{url}/api/health")
        bus = self.laptop.servicebus_connection_string
        self.say(f"  Service Bus {bus if settings.runs_bus else f'yours, from {BUS}'}")
        blobs = f"http://127.0.0.1:{settings.ports.blob}/devstoreaccount1"
        self.say(f"  Storage     {blobs if settings.runs_storage else f'yours, from {STORAGE}'}")
        own_model = f"{model.MODEL_NAME} on {self.laptop.model_endpoint}"
        self.say(
            f"  Model       {own_model if settings.runs_model else f'yours, {MODEL_ENDPOINT}'}"
        )
        self.say("Try in another terminal:")
        key = KEY_HEADER if self.laptop.keys else ""
        body = '{"message": "What matters most?"}'
        self.say(f"  {curl(urls['main'], 'ceo', body, key)}")
        aos = f"{self._list_client_settings()}.venv/bin/aos"
        self.say(f'  {aos} ask ceo "What matters most?"')
        self.say(f"  {aos} runs")
        self.say(LAST_LINE)

    def _list_client_settings(self) -> str:
        """Return what must precede an `aos` command here: nothing, unless port or keys differ."""
        moved = self.laptop.settings.ports.main != Ports().main
        url = f"AOS_URL={self.laptop.urls['main']} " if moved else ""
        return url + (f'AOS_KEY="{KEY}" ' if self.laptop.keys else "")

    def _follow(self) -> None:
        logs = {name: self.laptop.places.log(name) for name in APP_FOLDERS}
        follower = LogFollower(logs, say=self.say)
        while not self._stop.wait(LOOK_SECONDS):
            follower.look()

    @contextlib.contextmanager
    def _handle_signals(self) -> Iterator[None]:
        """End on SIGINT, SIGTERM and SIGHUP, but not on a SIGHUP that nohup ignores."""

        def handle(number: int, frame: FrameType | None) -> None:
            first = not self._stop.is_set()
            self._stop.set()
            self.laptop.supervisor.request_stop()
            if first and self._in_story:
                self._in_story = False
                raise LaptopInterrupted

        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Voice:
    """Writes lines for people at once. It stays silent when the reader has gone."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._lock = threading.RLock()

    def __call__(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._output.write(f"{line}\n")
            self._output.flush()


def _number_steps(say: _Voice) -> Step:
    """Return a function that writes a step with its number: `[1] starting …`."""
    count = 0

    def step(text: str) -> None:
        nonlocal count
        count += 1
        say(f"[{count}] {text}")

    return step


@contextlib.contextmanager
def _lock_folder(path: Path) -> Iterator[None]:
    """Lock the folder for one laptop. Raises LaptopError if another one runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise LaptopError(
                f"another laptop runs in this folder, pid {lock.read().strip()}; stop it first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _keep_old_logs(folder: Path) -> None:
    """Rename the logs of the last start to `<name>.log.1`."""
    for path in folder.glob("*.log"):
        if path.name != "install.log":
            path.replace(path.with_name(f"{path.name}.1"))
