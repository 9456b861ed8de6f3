#!/usr/bin/env python3
"""Measures on this machine how long the recovery from a lost region takes. Entry point: `drill`.

`.venv/bin/python infra/drill.py` starts a first region (a whole laptop), has conversations with an
agent, makes a backup, has more conversations, and kills storage, Service Bus and apps. Then it
starts a second region with empty storage, restores the backup, and continues a conversation. It
prints

- RTO: the time from the loss to an answer that continues an earlier conversation;
- RPO: the age of the backup at the loss, and the runs that it does not contain.

In Azure a deployment takes longer (so keep the second region deployed) and there is more data;
docs/runbooks/disaster-recovery.md explains how to measure there. The exit code is 1 when the second
region does not answer or a conversation of the backup is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import parts
from devhost.laptop import Laptop
from infra.backups import cli

AGENT = {"agent_id": "drill", "purpose": "Answer every question."}
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of the drill. Times are in seconds."""

    backup: float
    restore: float
    start: float
    rto: float
    rpo: float
    runs_before_backup: int
    runs_found: int
    runs_after_backup: int
    runs_lost: int
    messages_expected: int
    messages_found: int
    waiting_run: str
    """The last status of the run that was accepted before the backup and had not begun."""

    @property
    def passed(self) -> bool:
        """Whether everything in the backup was restored and works."""
        has_runs = self.runs_found == self.runs_before_backup
        has_messages = self.messages_found == self.messages_expected
        return has_runs and has_messages and self.waiting_run == "completed"


def drill(root: Path, *, model: str, runs: int) -> Report:
    """Run the drill. Raises RuntimeError or OSError."""
    saved = root / "backup"
    with start_region(root / "first", model) as first:
        parts.put_card(first.urls["main"], AGENT)
        before = [ask(first, f"c{number}")["run_id"] for number in range(runs)]
        first.take_down("realm")  # so that one run is accepted and has not begun
        waiting = start_run(first, "waiting", wait_seconds=0)["run_id"]
        began_backup = time.monotonic()
        run_backup("create", str(saved), storage=first)
        backup = time.monotonic() - began_backup
        first.bring_up("realm")
        after = [ask(first, f"later{number}")["run_id"] for number in range(max(1, runs // 2))]
        lost_at = time.monotonic()
        for name in ("main", "realm", "mcp", "servicebus", "azurite"):
            first.child(name).kill9()
    with start_region(root / "second", model, apps=()) as storage:
        began_restore = time.monotonic()
        run_backup("restore", str(saved), storage=storage)
        restore = time.monotonic() - began_restore
    began_start = time.monotonic()
    with start_region(root / "second", model) as second:
        ask_until_live(second, "c0")
        recovered = time.monotonic()
        lost = [run for run in after if read(second, f"/api/runs/{run}") is None]
        still = [run for run in before if read(second, f"/api/runs/{run}")]
        messages = read(second, "/api/conversations/c0/messages") or {"items": []}
        ended = wait_for_end(second, waiting)
    return Report(
        backup=backup,
        restore=restore,
        start=recovered - began_start,
        rto=recovered - lost_at,
        rpo=lost_at - began_backup,
        runs_before_backup=len(before),
        runs_found=len(still),
        runs_after_backup=len(after),
        runs_lost=len(lost),
        messages_expected=4,  # a question and an answer before, and one of each after
        messages_found=len(messages["items"]),
        waiting_run=ended,
    )


@contextmanager
def start_region(
    root: Path, model: str, *, apps: tuple[str, ...] | None = None
) -> Iterator[Laptop]:
    """Start a region: storage, Service Bus, and the three apps or those named."""
    chosen = ("main", "mcp", "realm") if apps is None else apps
    settings = {"AOS_MODEL": "instant"}
    laptop = Laptop(root=root, model_endpoint=model, apps=chosen, settings=settings, restart=False)
    with laptop:
        yield laptop


def run_backup(command: str, folder: str, *, storage: Laptop) -> None:
    """Run a command of backup.py on the storage of a region. Raises RuntimeError."""
    before = os.environ.get(STORAGE)
    os.environ[STORAGE] = storage.storage_connection_string
    try:
        code = cli.main([command, folder, "--without", "secrets"])
    finally:
        if before is None:
            del os.environ[STORAGE]
        else:
            os.environ[STORAGE] = before
    if code != 0:
        raise RuntimeError(f"backup.py {command} exited with {code}")


def ask(laptop: Laptop, conversation: str) -> dict[str, Any]:
    """Start a run and wait for its end. Raises RuntimeError or OSError."""
    run = start_run(laptop, conversation, wait_seconds=50)
    if run["status"] != "completed":
        raise RuntimeError(f"the run {run['run_id']} is {run['status']}: {run['error']}")
    return run


def start_run(laptop: Laptop, conversation: str, *, wait_seconds: int) -> dict[str, Any]:
    """Start a run and wait at most `wait_seconds` for its end. Raises OSError."""
    body = {
        "message": "Do you remember?",
        "conversation_id": conversation,
        "wait_seconds": wait_seconds,
    }
    request = urllib.request.Request(
        f"{laptop.urls['main']}/api/agents/drill/run",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        run: dict[str, Any] = json.loads(response.read())
    return run


def wait_for_end(laptop: Laptop, run_id: str, *, seconds: float = 90.0) -> str:
    """Return the last status of a run. The mender may need half a minute to start it."""
    deadline = time.monotonic() + seconds
    while True:
        run = read(laptop, f"/api/runs/{run_id}") or {"status": "lost"}
        if run["status"] not in ("queued", "in_progress") or time.monotonic() > deadline:
            return str(run["status"])
        time.sleep(0.2)


def ask_until_live(laptop: Laptop, conversation: str, *, seconds: float = 60.0) -> None:
    """Repeat a question until the agent is published. Raises RuntimeError or OSError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask(laptop, conversation)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in (404, 503) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def read(laptop: Laptop, path: str) -> dict[str, Any] | None:
    """GET a path and return its JSON, or None for 404. Raises OSError."""
    try:
        with urllib.request.urlopen(laptop.urls["main"] + path, timeout=30) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise


def main() -> int:
    """Run the drill and print its figures."""
    options = make_parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="aos-drill-") as folder, parts.instant_model() as model:
        report = drill(Path(folder), model=model, runs=options.runs)
    write = sys.stdout.write
    write(f"backup {report.backup:.1f} s, restore {report.restore:.1f} s\n")
    write(f"second region {report.start:.1f} s, from its start to its first answer\n")
    write(f"RTO {report.rto:.1f} s: from the loss to an answer that continues a conversation\n")
    write(
        f"RPO {report.rpo:.1f} s: {report.runs_lost} of {report.runs_after_backup} runs after the"
        f" backup are lost, {report.runs_found} of {report.runs_before_backup} before it are there"
        "\n"
    )
    write(f"{report.messages_found} of {report.messages_expected} messages in the conversation\n")
    write(f"the run that was accepted before the backup and had not begun: {report.waiting_run}\n")
    write(f"{'passed' if report.passed else 'FAILED'}\n")
    if options.json:
        fields = {name: getattr(report, name) for name in Report.__slots__}
        write(json.dumps({**fields, "passed": report.passed}) + "\n")
    return 0 if report.passed else 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drill.py", description="Measure the recovery from a lost region."
    )
    parser.add_argument("--runs", type=int, default=10, help="conversations before the backup (10)")
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON on the last line"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
