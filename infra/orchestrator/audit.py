"""What was deployed when, by whom, from which commit, and how did it end?

`audit.db` (SQLite) only grows: an entry when a run starts, one when each phase begins and one when
it ends, one at the end. Each entry holds the hash of the one before it, so that a changed or
missing one shows. Beside it lies one JSON file for each run with its whole record and the hash of
its last entry.
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

from orchestrator.clock import Clock
from orchestrator.exits import UNRECORDED, Halt

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

    def own_hash(self) -> str:
        """What its hash must be."""
        return _hash(self.previous_hash, self.deployment_id, self.written_at, self.kind, self.body)


class Journal:
    """The record of one run. Everything it knows is on disk after each call of `write`."""

    def __init__(self, folder: Path, clock: Clock, record: dict[str, Any]) -> None:
        """Write the first entry. Raises Halt (UNRECORDED) when nothing can be kept."""
        self.folder = folder
        self.record: dict[str, Any] = {**record, "state": "RUNNING", "phases": []}
        self._clock = clock
        with _recording(folder):
            _make(folder)
        self.write("started")

    def add(self, name: str, value: object) -> None:
        """Append to a list of the record: attempts, warnings."""
        self.record.setdefault(name, []).append(value)

    def set(self, **facts: object) -> None:
        """Set facts of the record."""
        self.record.update(facts)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase, in the order in which it came; written down when it begins, so that a run that
        was killed shows how far it came, and however it ends.
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

    def skipped(self, name: str, reason: str) -> None:
        """A phase that was not needed."""
        self.record["phases"].append({"phase": name, "result": "skipped", "reason": reason})

    def end(self, state: str, *, exit_code: int, reason: str) -> None:
        """The last entry."""
        self.set(state=state, exit_code=exit_code, reason=reason, ended_at=self._clock.now())
        self.write("ended")

    def write(self, kind: str) -> None:
        """Append an entry to the chain, then replace the JSON file.

        Raises Halt (UNRECORDED): what cannot be recorded is not gone on with.
        """
        with _recording(self.folder):
            self._write(kind)

    def _write(self, kind: str) -> None:
        body = json.dumps(self.record, sort_keys=True)
        entry = self._append(kind, body)
        chain = {"seq": entry.seq, "previous_hash": entry.previous_hash, "hash": entry.hash}
        text = json.dumps({**self.record, "audit": chain}, indent=2, sort_keys=True)
        self.keep("json", text + "\n")

    def keep(self, ending: str, text: str) -> Path:
        """Write a file that belongs to this run; readers see the old or the new one, whole."""
        path = self.folder / f"{self.record['deployment_id']}.{ending}"
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
        return path

    def _append(self, kind: str, body: str) -> Entry:
        with closing(_connect(self.folder)) as connection, connection:
            # Two runs may share the file: who reads the last hash must be who writes next.
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
                hash=_hash(previous, identity, now, kind, body),
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


def records(folder: Path) -> list[dict[str, Any]]:
    """The record of every run as its last entry holds it, oldest first."""
    latest = {entry.deployment_id: entry for entry in entries(folder)}
    return [json.loads(entry.body) for entry in latest.values()]


def entries(folder: Path) -> list[Entry]:
    """The whole chain. Without a database it is empty."""
    if not (folder / "audit.db").exists():
        return []
    with closing(_connect(folder)) as connection:
        rows = connection.execute(
            "SELECT seq, deployment_id, written_at, kind, body, previous_hash, hash"
            " FROM entries ORDER BY seq"
        ).fetchall()
    names = ("seq", "deployment_id", "written_at", "kind", "body", "previous_hash", "hash")
    return [Entry(**dict(zip(names, row))) for row in rows]  # noqa: B905 - a row has its columns


def faults(folder: Path) -> list[str]:
    """What is wrong with the chain: a changed entry, a gap, a JSON file that says otherwise."""
    found, previous = [], FIRST
    chain = entries(folder)
    for number, entry in enumerate(chain, start=1):
        if entry.seq != number or entry.previous_hash != previous:
            found.append(f"entry {entry.seq} does not follow the one before it")
        if entry.own_hash() != entry.hash:
            found.append(f"entry {entry.seq} ({entry.deployment_id}) was changed")
        previous = entry.hash
    latest = {entry.deployment_id: entry for entry in chain}
    for path in sorted(folder.glob("*.json")):
        found += _faults_of_file(path, latest)
    return found


def _faults_of_file(path: Path, latest: dict[str, Entry]) -> list[str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        chain = record.pop("audit")
    except (ValueError, KeyError, AttributeError, TypeError):
        return []  # no record of a run: a plan, parameters
    entry = latest.get(str(record.get("deployment_id")))
    if entry is None or entry.hash != chain.get("hash"):
        return [f"{path.name}: the database does not end with the entry that this file names"]
    return [] if json.loads(entry.body) == record else [f"{path.name} was changed"]


@contextmanager
def _recording(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise Halt(
            UNRECORDED,
            f"no audit record can be kept in {folder}: {error}",
            "make room or rights there, or choose another --audit-dir",
        ) from error


def _make(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Records are for the audit store, not for the repository whose commit they name.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    with closing(_connect(folder)) as connection:
        connection.executescript(_SCHEMA)


def _connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "audit.db", timeout=_BUSY_SECONDS, isolation_level=None)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
