"""Records every run in an append-only database. Entry points: `Journal`, `read_records`.

`audit.db` (SQLite) gets an entry when a run starts, when a phase begins, when a phase ends, and
when the run ends. Each entry holds the hash of the entry before it, so a changed or missing entry
can be detected. Beside the database there is one JSON file for each run with its whole record and
the hash of its last entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.orchestrator.clock import Clock
from infra.orchestrator.exit_codes import UNRECORDED, Halt

FIRST = "0" * 64
_BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY,
    deployment_id TEXT NOT NULL,
    written_at TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('started', 'phase', 'ended')),
    state TEXT NOT NULL,
    git_sha TEXT NOT NULL,
    body TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER IF NOT EXISTS entries_remain BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;
CREATE VIEW IF NOT EXISTS deployments AS
SELECT deployment_id, written_at, kind, state, git_sha, body FROM entries
WHERE seq IN (SELECT max(seq) FROM entries GROUP BY deployment_id);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the chain."""

    seq: int
    deployment_id: str
    written_at: str
    kind: str
    body: str
    previous_hash: str
    hash: str

    def compute_hash(self) -> str:
        """Compute the hash that the entry must have."""
        return _hash_parts(
            self.previous_hash, self.deployment_id, self.written_at, self.kind, self.body
        )


class Journal:
    """Writes the record of one run. After each call of `write` the whole record is on disk."""

    def __init__(self, folder: Path, clock: Clock, record: dict[str, Any]) -> None:
        """Write the first entry. Raises Halt (UNRECORDED) when it cannot be written."""
        self.folder = folder
        self.record: dict[str, Any] = {**record, "state": "RUNNING", "phases": []}
        self._clock = clock
        with _halt_when_unwritable(folder):
            _make_database(folder)
        self.write("started")

    def add(self, name: str, value: object) -> None:
        """Append to a list of the record, such as `attempts`."""
        self.record.setdefault(name, []).append(value)

    def set(self, **facts: object) -> None:
        """Set facts of the record."""
        self.record.update(facts)

    @contextmanager
    def record_phase(self, name: str) -> Iterator[None]:
        """Record the start and the end of a phase.

        The start is written at once, so the record of a killed run shows the phase it was in.
        """
        entry: dict[str, Any] = {"phase": name, "started_at": self._clock.now(), "result": "begun"}
        self.record["phases"].append(entry)
        self.record["state"] = name
        self.write("phase")
        try:
            yield
            entry["result"] = "passed"
        except BaseException:
            entry["result"] = "stopped"
            raise
        finally:
            entry["ended_at"] = self._clock.now()
            self.write("phase")

    def record_skipped(self, name: str, reason: str) -> None:
        """Record a phase that was not needed."""
        self.record["phases"].append({"phase": name, "result": "skipped", "reason": reason})

    def end(self, state: str, *, exit_code: int, reason: str) -> None:
        """Write the last entry."""
        self.set(state=state, exit_code=exit_code, reason=reason, ended_at=self._clock.now())
        self.write("ended")

    def write(self, kind: str) -> None:
        """Append an entry to the chain, then replace the JSON file.

        Raises Halt (UNRECORDED) when that fails, so that a run without a record does not continue.
        """
        with _halt_when_unwritable(self.folder):
            self._write(kind)

    def _write(self, kind: str) -> None:
        body = json.dumps(self.record, sort_keys=True)
        entry = self._append(kind, body)
        chain = {"seq": entry.seq, "previous_hash": entry.previous_hash, "hash": entry.hash}
        text = json.dumps({**self.record, "audit": chain}, indent=2, sort_keys=True)
        self.write_file("json", text + "\n")

    def write_file(self, ending: str, text: str) -> Path:
        """Write a file of this run in one step: readers see the old file or the new one."""
        path = self.folder / f"{self.record['deployment_id']}.{ending}"
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
        return path

    def _append(self, kind: str, body: str) -> Entry:
        with closing(_connect(self.folder)) as connection, connection:
            # Two runs may share the database. The lock is taken before the last hash is read, so
            # that no other run writes in between.
            connection.execute("BEGIN IMMEDIATE")
            last = connection.execute("SELECT seq, hash FROM entries ORDER BY seq DESC").fetchone()
            seq, previous = last or (0, FIRST)
            identity = str(self.record["deployment_id"])
            now = self._clock.now()
            entry = Entry(
                seq=seq + 1,
                deployment_id=identity,
                written_at=now,
                kind=kind,
                body=body,
                previous_hash=previous,
                hash=_hash_parts(previous, identity, now, kind, body),
            )
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(entry.seq, identity, now, kind),
                    *(self.record["state"], str(self.record.get("git_sha", ""))),
                    *(body, previous, entry.hash),
                ),
            )
        return entry


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the record of every run from its last entry, oldest first."""
    latest = {entry.deployment_id: entry for entry in read_entries(folder)}
    return [json.loads(entry.body) for entry in latest.values()]


def read_entries(folder: Path) -> list[Entry]:
    """Read all entries. Without a database there are none."""
    if not (folder / "audit.db").exists():
        return []
    with closing(_connect(folder)) as connection:
        rows = connection.execute(
            "SELECT seq, deployment_id, written_at, kind, body, previous_hash, hash"
            " FROM entries ORDER BY seq"
        ).fetchall()
    names = ("seq", "deployment_id", "written_at", "kind", "body", "previous_hash", "hash")
    return [Entry(**dict(zip(names, row))) for row in rows]  # noqa: B905 - a row has its columns


def find_faults(folder: Path) -> list[str]:
    """Find changed entries, missing entries, and JSON files that differ from their entry."""
    found, previous = [], FIRST
    chain = read_entries(folder)
    for number, entry in enumerate(chain, start=1):
        if entry.seq != number or entry.previous_hash != previous:
            found.append(f"entry {entry.seq} does not follow the entry before it")
        if entry.compute_hash() != entry.hash:
            found.append(f"entry {entry.seq} ({entry.deployment_id}) was changed")
        previous = entry.hash
    latest = {entry.deployment_id: entry for entry in chain}
    for path in sorted(folder.glob("*.json")):
        found += _find_faults_in_file(path, latest)
    return found


def _find_faults_in_file(path: Path, latest: dict[str, Entry]) -> list[str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        chain = record.pop("audit")
    except (ValueError, KeyError, AttributeError, TypeError):
        return []  # not the record of a run, but a plan or parameters
    entry = latest.get(str(record.get("deployment_id")))
    if entry is None or entry.hash != chain.get("hash"):
        return [f"{path.name}: the database does not end with the entry that this file names"]
    return [] if json.loads(entry.body) == record else [f"{path.name} was changed"]


@contextmanager
def _halt_when_unwritable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise Halt(
            UNRECORDED,
            f"the audit record cannot be written in {folder}: {error}",
            "free disk space, correct the rights of the folder, or pass another --audit-dir",
        ) from error


def _make_database(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Records belong in the audit store, not in the repository.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    with closing(_connect(folder)) as connection:
        connection.executescript(_SCHEMA)


def _connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "audit.db", timeout=_BUSY_SECONDS, isolation_level=None)


def _hash_parts(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
