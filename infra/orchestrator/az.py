"""What does the Azure CLI answer?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.exits import REFUSED, USAGE, Halt
from orchestrator.signals import held

ASK_SECONDS = 180.0
_GRACE_SECONDS = 10.0
INSTALL = "https://aka.ms/InstallAzureCLI, or on Debian: curl -sL https://aka.ms/InstallAzureCLIDeb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one call said. JSON is on standard output alone: notices and errors never mix in."""

    command: str
    code: int
    out: str
    err: str
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether az says that it worked."""
        return self.code == 0 and not self.timed_out

    def value(self) -> Any:
        """The JSON that it printed. Raises Halt when it is none: no answer is not an empty one."""
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Halt(
                REFUSED,
                f"az {self.command} ended well but printed no JSON ({self.out[:60]!r})",
                "run it by hand; a newer az may print something else",
            ) from error


class Az:
    """The `az` on PATH, with whatever login it has. It never gets a terminal, so never asks."""

    def __init__(self, executable: str) -> None:
        """Take the path of az."""
        self._executable = executable

    @classmethod
    def found(cls) -> Az:
        """The az on PATH. Raises Halt when there is none."""
        executable = shutil.which("az")
        if executable is None:
            raise Halt(USAGE, "the Azure CLI (az) is not on PATH", f"install it: {INSTALL}")
        return cls(executable)

    def ask(self, *arguments: str, seconds: float = ASK_SECONDS) -> Answer:
        """Run a command and wait at most so many seconds."""
        return self.watch(arguments, seconds=seconds, tick_seconds=seconds, tick=lambda: None)

    def watch(
        self,
        arguments: tuple[str, ...],
        *,
        seconds: float,
        tick_seconds: float,
        tick: Callable[[], None],
    ) -> Answer:
        """Run a command that takes long, and call `tick` every so often while it runs.

        It runs in a session of its own: a Ctrl-C reaches us alone, and we end it.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = None
            try:
                with held():
                    child = subprocess.Popen(
                        [self._executable, *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        start_new_session=True,
                    )
                late = not _ended(child, seconds, tick_seconds, tick)
            finally:
                if child is not None:
                    _stop(child)
            return Answer(
                command=_named(arguments),
                code=child.returncode,
                out=_text(out),
                err=_text(err),
                timed_out=late,
            )


def _ended(
    child: subprocess.Popen[bytes],
    seconds: float,
    tick_seconds: float,
    tick: Callable[[], None],
) -> bool:
    left = seconds
    while left > 0:
        try:
            child.wait(min(left, tick_seconds))
            return True
        except subprocess.TimeoutExpired:
            left -= tick_seconds
        if left > 0:
            tick()
    return False


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    _signal(child, signal.SIGTERM)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # az is a script that starts Python: the whole session must hear it. Windows has no groups.
    if hasattr(os, "killpg"):
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)


def _named(arguments: tuple[str, ...]) -> str:
    words = []
    for argument in arguments:
        if argument.startswith("-"):
            break
        words.append(argument)
    return " ".join(words)


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))
