"""The supervisor: readiness, restarts, the order of the end, and what it says."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devhost.errors import LaptopError, LaptopInterrupted
from devhost.supervisor import LONGEST_DELAY_SECONDS, Supervisor
from tests.unit.devhost.conftest import MakeSpec, file_exists, wait_until

SLEEPS = "import time; time.sleep(600)"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    running = Supervisor(say=said.append)
    yield running
    running.stop()


def test_start_returns_when_every_child_of_the_wave_is_ready(
    supervisor: Supervisor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    program = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(ready)!r}).touch()\n"
    supervisor.start([make_spec("slow", program + SLEEPS, ready=file_exists(ready))])
    assert ready.exists()
    assert supervisor.child("slow").alive


def test_a_child_that_ends_before_it_is_ready_is_named_with_its_last_words_and_its_log(
    supervisor: Supervisor, make_spec: MakeSpec
) -> None:
    spec = make_spec("broken", "raise SystemExit('no such setting AOS_X')", ready=lambda: False)
    with pytest.raises(LaptopError) as caught:
        supervisor.start([spec])
    assert str(caught.value) == (
        f"broken did not start (exit code 1); it said: no such setting AOS_X; log: {spec.log_path}"
    )


def test_a_child_that_is_never_ready_is_given_up_after_its_time(
    supervisor: Supervisor, make_spec: MakeSpec
) -> None:
    spec = make_spec("mute", SLEEPS, ready=lambda: False, start_timeout_seconds=0.3)
    with pytest.raises(LaptopError, match=r"mute is not ready after 0\.3 s; log: .*mute\.log"):
        supervisor.start([spec])


def test_a_program_that_does_not_exist_is_a_clear_error(
    supervisor: Supervisor, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without setpriv in front, the error is Python's own
    spec = replace(make_spec("gone", ""), command=("/does/not/exist",))
    with pytest.raises(LaptopError, match="gone cannot be started"):
        supervisor.start([spec])


def test_a_child_that_is_killed_is_restarted_within_five_seconds_and_one_line_says_so(
    supervisor: Supervisor, make_spec: MakeSpec, said: list[str]
) -> None:
    supervisor.start([make_spec("realm", SLEEPS)])
    child = supervisor.child("realm")
    first = child.pid
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: child.alive and child.pid != first, what="the restart")
    assert time.monotonic() - began < 5
    wait_until(lambda: bool(said), what="the line")
    assert said == [
        f"realm ended (SIGKILL) and was started again, pid {child.pid}; log: {child.spec.log_path}"
    ]
    assert child.restarts == 1
    assert child.spec.pid_path.read_text() == f"{child.pid}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_a_child_has_started_ends_with_it(
    supervisor: Supervisor, make_spec: MakeSpec, tmp_path: Path, number: int
) -> None:
    started = tmp_path / "started"
    program = f"""
        import os, pathlib, subprocess, sys, time
        other = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}])
        path = pathlib.Path({str(started)!r})
        path.with_suffix(".new").write_text(str(other.pid))
        os.replace(path.with_suffix(".new"), path)
        time.sleep(600)
    """
    supervisor.start([make_spec("script", textwrap.dedent(program), ready=file_exists(started))])
    other = Path("/proc", started.read_text(), "cmdline")
    if number == signal.SIGTERM:
        supervisor.take_down("script")
    else:
        os.kill(supervisor.child("script").pid, number)
    wait_until(lambda: not other.exists() or not other.read_bytes(), what="the other's end")


def test_a_crash_loop_backs_off_but_never_longer_than_the_contract_allows(
    supervisor: Supervisor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    program = f"""
        import pathlib, sys, time
        path = pathlib.Path({str(starts)!r})
        with path.open("a") as file: file.write(f"{{time.monotonic()}}\\n")
        time.sleep(600 if len(path.read_text().splitlines()) == 1 else 0)
    """
    spec = make_spec("loop", textwrap.dedent(program), ready=file_exists(starts))
    supervisor.start([spec])
    supervisor.child("loop").kill9()
    wait_until(lambda: len(starts.read_text().split()) >= 5, what="four restarts")
    times = [float(line) for line in starts.read_text().split()][:5]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times[1:])]
    assert gaps[0] < gaps[1] < gaps[2]
    assert LONGEST_DELAY_SECONDS < 5


def test_the_last_wave_ends_first_and_each_child_ends_gently(
    supervisor: Supervisor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    ends = tmp_path / "ends"

    def program(name: str) -> str:
        return textwrap.dedent(f"""
            import pathlib, signal, sys, time
            def end(*_):
                time.sleep(0.2)
                with open({str(ends)!r}, "a") as file: file.write("{name}\\n")
                sys.exit(0)
            signal.signal(signal.SIGTERM, end)
            pathlib.Path({str(tmp_path)!r}, "{name}").touch()
            time.sleep(600)
        """)

    for name in ("azurite", "servicebus", "main"):
        ready = file_exists(tmp_path / name)
        supervisor.start([make_spec(name, program(name), ready=ready)])
    supervisor.stop()
    assert ends.read_text().split() == ["main", "servicebus", "azurite"]
    assert [child.exit_code for child in supervisor.children] == [0, 0, 0]


def test_a_child_that_ignores_sigterm_is_killed_when_its_time_is_over(
    supervisor: Supervisor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    program = (
        "import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch();" + SLEEPS
    )
    spec = make_spec("deaf", program, ready=file_exists(ready), stop_timeout_seconds=0.3)
    supervisor.start([spec])
    supervisor.stop()
    assert supervisor.child("deaf").describe_end() == "SIGKILL"


def test_a_paused_child_can_be_stopped(supervisor: Supervisor, make_spec: MakeSpec) -> None:
    supervisor.start([make_spec("paused", SLEEPS)])
    supervisor.child("paused").send_signal(signal.SIGSTOP)
    supervisor.stop()
    assert supervisor.child("paused").describe_end() == "SIGTERM"


def test_a_child_taken_down_stays_down_until_it_is_brought_up(
    supervisor: Supervisor, make_spec: MakeSpec, said: list[str]
) -> None:
    supervisor.start([make_spec("main", SLEEPS)])
    supervisor.take_down("main")
    supervisor.look()
    assert not supervisor.child("main").alive
    supervisor.bring_up("main")
    assert supervisor.child("main").alive
    assert said == []


def test_a_stop_during_the_start_ends_the_waiting(
    supervisor: Supervisor, make_spec: MakeSpec
) -> None:
    def ask_for_the_end() -> bool:
        supervisor.request_stop()
        return False

    with pytest.raises(LaptopInterrupted):
        supervisor.start([make_spec("slow", SLEEPS, ready=ask_for_the_end)])


def test_an_unknown_child_is_refused_with_the_names_there_are(
    supervisor: Supervisor, make_spec: MakeSpec
) -> None:
    supervisor.start([make_spec("main", SLEEPS)])
    with pytest.raises(LaptopError, match="there is no child 'relam'; there are: main"):
        supervisor.child("relam")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="the machine has no setpriv")
@pytest.mark.parametrize("late", [0, 0.3], ids=["later", "before the child asked to be told"])
def test_children_end_when_the_supervisor_itself_is_killed(tmp_path: Path, late: float) -> None:
    setpriv = tmp_path / "bin" / "setpriv"
    setpriv.parent.mkdir()
    setpriv.write_text(f'#!/bin/sh\nsleep {late}\nexec {shutil.which("setpriv")} "$@"\n')
    setpriv.chmod(0o755)
    path = f"{setpriv.parent}{os.pathsep}{os.environ['PATH']}"
    program = textwrap.dedent(f"""
        import os, pathlib, sys, time
        from devhost.child import ChildSpec
        from devhost.supervisor import Supervisor
        here = pathlib.Path({str(tmp_path)!r})
        supervisor = Supervisor(say=print)
        supervisor.start([ChildSpec(
            name="child", command=(sys.executable, "-c", "import time; time.sleep(600)"),
            environment=dict(os.environ), folder=here, ready=lambda: True,
            log_path=here / "child.log", pid_path=here / "child.pid",
        )])
        (here / "ready").touch()
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PATH": path})
    try:
        wait_until((tmp_path / "ready").exists, what="the supervisor")
    finally:
        parent.kill()
        parent.wait(timeout=10)
    child = int((tmp_path / "child.pid").read_text())
    wait_until(lambda: not _runs(child), what="the end of the child")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
