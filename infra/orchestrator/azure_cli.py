"""Runs commands of the Azure CLI. Entry point: `Az.run`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.orchestrator.exit_codes import REFUSED, USAGE, Halt
from infra.orchestrator.signals import hold_signals

RUN_SECONDS = 180.0
_GRACE_SECONDS = 10.0
_OPENING = re.compile(r"^[ \t\ufeff]*([\[{])", re.MULTILINE)
INSTALL = "https://aka.ms/InstallAzureCLI, or on Debian: curl -sL https://aka.ms/InstallAzureCLIDeb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one call printed: JSON in `out`, sometimes among sentences, and notices in `err`."""

    command: str
    code: int
    out: str
    err: str
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether az exited with 0, in time."""
        return self.code == 0 and not self.timed_out

    def parse_json(self) -> Any:
        """Parse what az printed, without the lines that az or bicep printed around it.

        Raises Halt when there is no JSON.
        """
        found = _find_json(self.out)
        if found is None:
            raise Halt(
                REFUSED,
                f"az {self.command} exited with 0 but did not print JSON ({self.out[:60]!r})",
                "run the command by hand: a newer az may print another format",
            )
        return found[0]


class Az:
    """The `az` on PATH, with its own login. It gets no terminal, so it cannot ask questions."""

    def __init__(self, executable: str) -> None:
        """`executable` is the path of az."""
        self._executable = executable

    @classmethod
    def find(cls) -> Az:
        """Find az on PATH. Raises Halt when it is not there."""
        executable = shutil.which("az")
        if executable is None:
            raise Halt(USAGE, "the Azure CLI (az) is not on PATH", f"install it: {INSTALL}")
        return cls(executable)

    def run(self, *arguments: str, seconds: float = RUN_SECONDS) -> Answer:
        """Run a command and wait for at most `seconds`."""
        return self.run_with_progress(
            arguments, seconds=seconds, tick_seconds=seconds, tick=lambda: None
        )

    def run_with_progress(
        self,
        arguments: tuple[str, ...],
        *,
        seconds: float,
        tick_seconds: float,
        tick: Callable[[], None],
    ) -> Answer:
        """Run a long command and call `tick` every `tick_seconds` while it runs.

        The command runs in a session of its own. Ctrl-C reaches only this process, which then
        stops the command.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = None
            try:
                with hold_signals():
                    child = subprocess.Popen(
                        [self._executable, *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        start_new_session=True,
                    )
                late = not _wait_for_end(child, seconds, tick_seconds, tick)
            finally:
                if child is not None:
                    _stop(child)
            return Answer(
                command=_name_command(arguments),
                code=child.returncode,
                out=_read_text(out),
                err=_read_text(err),
                timed_out=late,
            )


def _find_json(text: str) -> tuple[Any] | None:
    """Find the JSON that begins a line and has at most lines of text before and after it.

    The last such value counts: a sentence may hold a bracket, and az prints its answer last.
    """
    try:
        return (json.loads(text),)
    except ValueError:
        pass
    decoder, found, position = json.JSONDecoder(), None, 0
    while match := _OPENING.search(text, position):
        try:
            value, end = decoder.raw_decode(text, match.start(1))
        except ValueError:
            position = match.end()
            continue
        rest = text[end:].partition("\n")[0]
        found = found if rest.strip() else (value,)
        position = end
    return found


def _wait_for_end(
    child: subprocess.Popen[bytes], seconds: float, tick_seconds: float, tick: Callable[[], None]
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
    _send_signal(child, signal.SIGTERM)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _send_signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # az is a script that starts Python, so the signal goes to the whole process group.
    # Windows has no process groups.
    if hasattr(os, "killpg"):
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)


def _name_command(arguments: tuple[str, ...]) -> str:
    """The words before the first option, such as `deployment group create`."""
    words = []
    for argument in arguments:
        if argument.startswith("-"):
            break
        words.append(argument)
    return " ".join(words)


def _read_text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "replace"))
