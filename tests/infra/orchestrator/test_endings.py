"""There is an audit record after every end: refusal, Ctrl-C, SIGTERM, crash, kill -9."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.orchestrator.audit import Journal, find_faults, read_entries, read_records
from infra.orchestrator.clock import Clock
from infra.orchestrator.exit_codes import MEANINGS, Halt, Interrupted
from infra.orchestrator.pipeline import Crash
from infra.orchestrator.signals import hold_signals, raise_interrupts
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.az_output import change
from tests.infra.orchestrator.conftest import INFRA
from tests.infra.orchestrator.world import World

HANGS = "exec sleep 60\n"
SECONDS = 30
OWNS_ITS_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
# The command of az that a phase waits in, and what must be recorded.
WITHIN = {
    "VALIDATING_PARAMETERS": "group exists",
    "LINTING": "bicep build",
    "PLANNING": "deployment group what-if",
    "DEPLOYING": "deployment group create",
    "VERIFYING_HEALTH": "resource list",
}


def _command(world: World) -> list[str]:
    return [
        *(sys.executable, str(INFRA / "deploy.py")),
        *("-g", az_output.GROUP, "-l", "eastus", "--git-sha", "0123456789abcdef"),
        *("-t", str(world.infra / "main-modular.bicep")),
        *("-p", str(world.infra / "parameters" / "dev.bicepparam")),
        *("--audit-dir", str(world.audit)),
    ]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours, and that of the process."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("phase", WITHIN)
def test_recorded_az_a_signal_within_a_phase_is_recorded(
    world: World, phase: str, number: signal.Signals
) -> None:
    world.az.answers(WITHIN[phase], script=f"kill -{int(number)} $PPID\n{HANGS}")
    assert world.deploy() == 128 + number
    record = world.record()
    assert (record["state"], record["exit_code"]) == ("INTERRUPTED", 128 + number)
    assert world.phases()[-1] == (phase, "stopped")
    assert find_faults(world.audit) == []
    assert ("az deployment group cancel" in world.said) == (phase == "DEPLOYING")


@pytest.mark.parametrize("phase", WITHIN)
def test_recorded_az_a_crash_within_a_phase_is_recorded(
    world: World, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = {
        "VALIDATING_PARAMETERS": "run_preflight",
        "LINTING": "lint",
        "PLANNING": "make_plan",
        "DEPLOYING": "deploy",
        "VERIFYING_HEALTH": "verify_deployment",
    }

    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(f"infra.orchestrator.pipeline.{work[phase]}", breaks)
    with pytest.raises(Crash) as crash:
        world.deploy()
    assert crash.value.code == 70
    record = world.record()
    assert (record["state"], record["exit_code"]) == ("FAILED", 70)
    assert "ZeroDivisionError: a fault of ours" in record["reason"]
    assert world.phases()[-1] == (phase, "stopped")
    assert find_faults(world.audit) == []


def test_recorded_az_ctrl_c_ends_the_process_and_its_az(world: World) -> None:
    world.az.answers("deployment group create", script=f"echo $$ > $RECORDING_AZ/pid\n{HANGS}")
    pid = world.az.folder / "pid"
    with subprocess.Popen(_command(world), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("== DEPLOYING"):
                break
        while not pid.exists() or not pid.read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Azure continues what it has begun" in rest
    assert world.record()["state"] == "INTERRUPTED"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("phase", WITHIN)
def test_recorded_az_kill_leaves_the_entry_of_the_phase_it_came_in(
    world: World, phase: str
) -> None:
    world.az.answers(WITHIN[phase], script="kill -9 $PPID\n")
    done = subprocess.run(_command(world), capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == -signal.SIGKILL
    assert world.record()["state"] == phase
    assert world.phases()[-1] == (phase, "begun")
    assert "exit_code" not in world.record()
    assert find_faults(world.audit) == []


def test_recorded_az_reader_that_went_away_does_not_end_the_deployment(world: World) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(_command(world), stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, b"")
    assert (world.record()["state"], world.record()["exit_code"]) == ("COMPLETED", 0)
    assert find_faults(world.audit) == []


def test_recorded_az_terminal_that_was_closed_is_recorded(world: World) -> None:
    """Closing it sends SIGHUP, and nothing that is said after that can be written."""
    pid = world.az.folder / "pid"
    world.az.answers("deployment group create", script=f"echo $$ > {pid}\n{HANGS}")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", OWNS_ITS_TERMINAL, *_command(world)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        while not pid.exists() or not pid.read_text():
            assert process.poll() is None
            time.sleep(0.05)
        os.close(ours)
        process.wait(timeout=SECONDS)
    assert (world.record()["state"], world.record()["exit_code"]) == ("INTERRUPTED", 129)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_recorded_az_exit_code_and_crash_of_the_process(world: World) -> None:
    done = subprocess.run(_command(world), capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
    world.az.answers("role assignment list", "[1]")
    done = subprocess.run(_command(world), capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 70
    assert "AttributeError" in world.record()["reason"]


def test_without_az_the_process_says_where_to_get_it_and_records_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(world.infra))
    assert world.deploy() == 2
    assert "https://aka.ms/InstallAzureCLI" in world.said
    assert world.record()["state"] == "FAILED"


@pytest.mark.parametrize(
    ("typed", "code", "state"),
    [
        pytest.param(b"y\n", 0, "COMPLETED", id="y_deploys"),
        pytest.param(b"n\n", 4, "CANCELLED", id="n_cancels"),
        pytest.param(b"\x04", 4, "CANCELLED", id="end_of_input_cancels"),
    ],
)
def test_recorded_az_a_person_at_a_terminal(
    world: World, terminal: tuple[int, int], typed: bytes, code: int, state: str
) -> None:
    lost = change("Delete", "Microsoft.Storage/storageAccounts", "st")
    world.az.answers("deployment group what-if", az_output.what_if(lost))
    ours, theirs = terminal
    with subprocess.Popen(
        _command(world), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        os.close(theirs)
        os.write(ours, typed)
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, out
    assert world.record()["state"] == state
    assert len(world.az.calls("deployment group create")) == (code == 0)


def test_recorded_az_without_a_terminal_nothing_hangs(world: World) -> None:
    lost = change("Delete", "Microsoft.Storage/storageAccounts", "st")
    world.az.answers("deployment group what-if", az_output.what_if(lost))
    done = subprocess.run(
        _command(world), stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 3
    assert world.record()["state"] == "AWAITING_CONFIRMATION"
    assert len(list(world.audit.glob("*.plan.json"))) == 1


def test_without_a_place_for_the_record_nothing_is_asked_of_azure(world: World) -> None:
    world.audit.write_text("a file is in its place")
    assert world.deploy() == 7
    assert "nothing was deployed" in world.said
    assert world.az.calls() == []


def test_recorded_az_record_that_can_no_longer_be_kept_stops_before_deploying(world: World) -> None:
    breaks = f"rm {world.audit}/audit.db; mkdir {world.audit}/audit.db\n"
    world.az.answers("deployment group what-if", az_output.what_if(), script=breaks)
    assert world.deploy() == 7
    assert "it was: {" in world.said
    assert world.az.calls("deployment group create") == []


@contextmanager
def having(number: signal.Signals, handler: Any) -> Iterator[None]:
    """The signal with this handler, whatever this process was started with."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_second_ctrl_c_does_not_interrupt_the_record_of_the_first(handler: Any) -> None:
    with having(signal.SIGINT, handler):
        with raise_interrupts() as ignore:
            ignore()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is handler


def test_recorded_az_deployment_under_nohup_outlives_its_terminal(world: World) -> None:
    world.az.answers(WITHIN["PLANNING"], az_output.what_if(), script="kill -HUP $PPID\n")
    with having(signal.SIGHUP, signal.SIG_IGN):
        assert world.deploy() == 0
    assert (world.record()["state"], world.record()["exit_code"]) == ("COMPLETED", 0)


def test_signal_that_comes_while_a_process_is_started_waits_for_that() -> None:
    done = []

    def start() -> None:
        with raise_interrupts(), hold_signals():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("started")

    with pytest.raises(Interrupted):
        start()
    assert done == ["started"]


def test_database_and_file_hold_the_same_record(world: World) -> None:
    assert world.deploy() == 0
    with closing(sqlite3.connect(world.audit / "audit.db")) as database:
        ((identity, sha, state, body),) = database.execute(
            "SELECT deployment_id, git_sha, state, body FROM deployments"
        ).fetchall()
        assert any("CREATE TABLE entries" in line for line in database.iterdump())
    kept = json.loads((world.audit / f"{identity}.json").read_text())
    chain = kept.pop("audit")
    assert kept == json.loads(body)
    assert (sha, state) == (kept["git_sha"], "COMPLETED")
    assert sha == "0123456789abcdef0123456789abcdef01234567"
    assert chain["hash"] == read_entries(world.audit)[-1].hash


def test_runs_follow_each_other_in_one_chain(world: World) -> None:
    assert world.deploy() == 0
    assert world.deploy("--dry-run") == 0
    assert [it["state"] for it in read_records(world.audit)] == ["COMPLETED", "PLANNED"]
    assert find_faults(world.audit) == []


def test_entries_cannot_be_changed_by_mistake(world: World) -> None:
    assert world.deploy() == 0
    with closing(sqlite3.connect(world.audit / "audit.db")) as database:
        for statement in ("UPDATE entries SET state = 'x'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="audit entries are never"):
                database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE entries SET body = replace(body, 'dev', 'prod') WHERE seq = 2", "was changed"),
        ("DELETE FROM entries WHERE seq = 3", "does not follow"),
        ("DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)", "does not end with"),
    ],
)
def test_tampering_shows(world: World, statement: str, fault: str) -> None:
    assert world.deploy() == 0
    with closing(sqlite3.connect(world.audit / "audit.db")) as database, database:
        database.executescript("DROP TRIGGER entries_stay; DROP TRIGGER entries_remain")
        database.execute(statement)
    assert any(fault in it for it in find_faults(world.audit))
    assert world.run("history", "--verify") == 1


def test_a_changed_file_shows(world: World) -> None:
    assert world.deploy() == 0
    identity = world.record()["deployment_id"]
    path = world.audit / f"{identity}.json"
    path.write_text(path.read_text().replace('"COMPLETED"', '"FAILED"'))
    assert find_faults(world.audit) == [f"{identity}.json was changed"]


def test_two_runs_at_once_write_one_chain(tmp_path: Path) -> None:
    def write(name: str) -> None:
        journal = Journal(tmp_path / "audit", Clock(), {"deployment_id": name})
        for _ in range(15):
            with journal.record_phase("PLANNING"):
                pass

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(read_entries(tmp_path / "audit")) == 2 * (1 + 15 * 2)
    assert find_faults(tmp_path / "audit") == []


def test_exit_codes_of_the_readme_are_those_of_the_help() -> None:
    shown = (INFRA / "README.md").read_text().replace("`", "")
    for code, meaning in MEANINGS.items():
        assert f"| {code} | {meaning} |\n" in shown


def test_every_exit_code_of_a_halt_is_in_the_help(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        world.run("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 70, 130, 143):
        assert f"\n{code:>5}  " in shown
    assert Halt(3, "x").code == 3
