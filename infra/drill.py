#!/usr/bin/env python3
"""How long is the loss of a region, and what is lost? A drill on this machine, measured.

`.venv/bin/python infra/drill.py` starts a first region (a whole laptop), talks with an agent, makes
a backup, talks on, and kills it: storage, Service Bus and apps. Then it starts a second region on
empty storage, restores, and asks again. It prints

- RTO: from the loss until a conversation from before is answered in the second region;
- RPO: how old the backup was at the loss, and which runs it did not have.

These are the times of the procedure and of our tools. In Azure, deploying takes longer (keep the
second region deployed) and data is more; docs/runbooks/disaster-recovery.md says how to measure
there. Exit code 1 when the second region does not answer or a conversation of the backup is lost.
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

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from backups import cli  # noqa: E402 - the laptop beside it needs the path

from benchmarks import parts  # noqa: E402 - needs the path
from devhost.laptop import Laptop  # noqa: E402 - needs the path

AGENT = {"agent_id": "drill", "purpose": "Answer, so that it can be seen who remembers."}
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the drill measured. Times in seconds."""

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
    """How the run ended that was accepted before the backup and had not begun."""

    @property
    def passed(self) -> bool:
        """Whether everything that was in the backup is there and goes on."""
        whole = self.runs_found == self.runs_before_backup
        remembered = self.messages_found == self.messages_expected
        return whole and remembered and self.waiting_run == "completed"


def drill(root: Path, *, model: str, runs: int) -> Report:
    """Lose a region and come back in another."""
    saved = root / "backup"
    with region(root / "first", model) as first:
        parts.put_card(first.urls["main"], AGENT)
        before = [ask(first, f"c{number}")["run_id"] for number in range(runs)]
        first.take_down("realm")  # so that one run is accepted and has not begun
        waiting = start(first, "waiting", wait_seconds=0)["run_id"]
        began_backup = time.monotonic()
        run_backup("create", str(saved), storage=first)
        backup = time.monotonic() - began_backup
        first.bring_up("realm")
        after = [ask(first, f"later{number}")["run_id"] for number in range(max(1, runs // 2))]
        lost_at = time.monotonic()
        for name in ("main", "realm", "mcp", "servicebus", "azurite"):
            first.child(name).kill9()
    with region(root / "second", model, apps=()) as storage:
        began_restore = time.monotonic()
        run_backup("restore", str(saved), storage=storage)
        restore = time.monotonic() - began_restore
    began_start = time.monotonic()
    with region(root / "second", model) as second:
        answer_when_live(second, "c0")
        recovered = time.monotonic()
        lost = [run for run in after if get(second, f"/api/runs/{run}") is None]
        still = [run for run in before if get(second, f"/api/runs/{run}")]
        messages = get(second, "/api/conversations/c0/messages") or {"items": []}
        ended = status_at_the_end(second, waiting)
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
def region(root: Path, model: str, *, apps: tuple[str, ...] | None = None) -> Iterator[Laptop]:
    """A region: storage and Service Bus, and the three apps."""
    chosen = ("main", "mcp", "realm") if apps is None else apps
    settings = {"AOS_MODEL": "instant"}
    laptop = Laptop(root=root, model_endpoint=model, apps=chosen, settings=settings, restart=False)
    with laptop:
        yield laptop


def run_backup(command: str, folder: str, *, storage: Laptop) -> None:
    """backup.py against a region. Raises RuntimeError."""
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
        raise RuntimeError(f"backup.py {command} ended with {code}")


def ask(laptop: Laptop, conversation: str) -> dict[str, Any]:
    """One run that completed. Raises RuntimeError or OSError."""
    run = start(laptop, conversation, wait_seconds=50)
    if run["status"] != "completed":
        raise RuntimeError(f"the run {run['run_id']} is {run['status']}: {run['error']}")
    return run


def start(laptop: Laptop, conversation: str, *, wait_seconds: int) -> dict[str, Any]:
    """A run, after at most so many seconds. Raises OSError."""
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


def status_at_the_end(laptop: Laptop, run_id: str, *, seconds: float = 90.0) -> str:
    """How a run ended; its last status if it does not. The mender takes half a minute."""
    deadline = time.monotonic() + seconds
    while True:
        run = get(laptop, f"/api/runs/{run_id}") or {"status": "lost"}
        if run["status"] not in ("queued", "in_progress") or time.monotonic() > deadline:
            return str(run["status"])
        time.sleep(0.2)


def answer_when_live(laptop: Laptop, conversation: str, *, seconds: float = 60.0) -> None:
    """Ask until the agent is live and answers. Raises RuntimeError or OSError."""
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


def get(laptop: Laptop, path: str) -> dict[str, Any] | None:
    """The JSON of a route, None for 404. Raises OSError."""
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
    """Run the drill and print what it measured."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="aos-drill-") as folder, parts.instant_model() as model:
        report = drill(Path(folder), model=model, runs=options.runs)
    say = sys.stdout.write
    say(f"backup {report.backup:.1f} s, restore {report.restore:.1f} s\n")
    say(f"second region from start to answer {report.start:.1f} s\n")
    say(f"RTO {report.rto:.1f} s: from the loss to an answer that continues a conversation\n")
    say(
        f"RPO {report.rpo:.1f} s: {report.runs_lost} of {report.runs_after_backup} runs after the"
        f" backup are lost, {report.runs_found} of {report.runs_before_backup} before it are there"
        "\n"
    )
    say(f"{report.messages_found} of {report.messages_expected} messages in the conversation\n")
    say(f"the run that was accepted before the backup and had not begun: {report.waiting_run}\n")
    say(f"{'passed' if report.passed else 'FAILED'}\n")
    if options.json:
        fields = {name: getattr(report, name) for name in Report.__slots__}
        say(json.dumps({**fields, "passed": report.passed}) + "\n")
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="drill.py", description="Lose a region, and come back.")
    parser.add_argument("--runs", type=int, default=10, help="conversations before the backup (10)")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, on the last line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
