"""Stores messages in SQLite, and which of them are locked in a file beside it. Entry points:
`Store.commit`, `Store.load`.

The database is in WAL mode with `synchronous=NORMAL`: a commit survives a `kill -9` of the process
(not a power cut). It is made on the event loop, because handing it to a thread costs more than the
commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devhost.servicebus.agenda import wall_clock_ms
from devhost.servicebus.entities.message import Message, State, read_content
from devhost.servicebus.entities.namespace import Namespace
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.records import (
    CounterMoved,
    IdSeen,
    MessageLocked,
    MessageRemoved,
    MessageStored,
    MessageUnlocked,
    Record,
    RulesChanged,
    SessionStateSet,
)
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import StoreError
from devhost.servicebus.lock_file import LockFile

SCHEMA_VERSION = 1
_SEQUENCE_BITS = 40
"""A message's key is its entity's number, then its sequence number."""
_LOCK_RECORDS = (MessageLocked, MessageUnlocked)
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_PRUNE_EVERY = 10_000
"""Seen message ids are pruned once in so many of them."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entities (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, last_sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    key INTEGER PRIMARY KEY, state INTEGER NOT NULL, delivery_count INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL, expires_ms INTEGER, due_ms INTEGER, origin_sequence INTEGER,
    content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    entity INTEGER NOT NULL, session_id TEXT NOT NULL, state BLOB NOT NULL, set_ms INTEGER NOT NULL,
    PRIMARY KEY (entity, session_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    entity INTEGER NOT NULL, message_id TEXT NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (entity, message_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (
    entity INTEGER PRIMARY KEY, configured TEXT NOT NULL, rules BLOB NOT NULL);
"""
_KEEP = "INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class NoStore:
    """Stores nothing: the Service Bus is in memory."""

    def commit(self, records: list[Record]) -> None:
        """Do nothing."""


class Store:
    """A database file that one process opens exclusively. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
            self._prepare()
            self._locks = LockFile(path.with_suffix(".locks"))
        except (sqlite3.Error, OSError) as error:
            raise self._fail(error) from error
        self._numbers: dict[str, int] = {}
        self._ids_since_pruning = 0

    @property
    def mended(self) -> str:
        """What was wrong with the files when they were opened, and was mended; else no text."""
        cut = self._locks.cut_bytes
        if not cut:
            return ""
        name = self._path.with_suffix(".locks")
        return (
            f"{name} ended within a note, as a full disk leaves it: its last {cut} bytes were"
            " removed. If they noted a delivery, it is not counted; no message is lost"
        )

    def _fail(self, error: Exception) -> StoreError:
        """The error of a file that cannot be used, with what to do where it is damaged."""
        advice = ""
        if getattr(error, "sqlite_errorname", "") in _DAMAGED:
            advice = (
                "; restore the file from a copy, or move it and the files beside it away to begin"
                " without messages"
            )
        return StoreError(f"{self._path}: {error}{advice}")

    def _prepare(self) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=NORMAL")
        execute("PRAGMA secure_delete=ON")  # a removed message does not stay in the file
        execute("PRAGMA journal_size_limit=0")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise StoreError(f"the database has format {version}, not {SCHEMA_VERSION}")
        self._database.executescript(_SCHEMA)
        execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def commit(self, records: list[Record]) -> None:
        """Store the records in one transaction. Raises StoreError; then none is stored.

        Locks are noted beside the database, after it.
        """
        changes = [record for record in records if type(record) not in _LOCK_RECORDS]
        if changes:
            self._commit(changes)
        try:
            for record in records:
                self._note_lock(record)
        except OSError as error:
            raise StoreError(f"the locks cannot be noted: {error}") from error

    def _note_lock(self, record: Record) -> None:
        match record:
            case MessageLocked(path, sequence):
                self._locks.add(self._key(path, sequence))
            case MessageRemoved(path, sequence) | MessageUnlocked(path, sequence):
                self._locks.drop(self._key(path, sequence))
            case MessageStored(path, message):
                self._locks.drop(self._key(path, message.sequence))

    def _commit(self, records: list[Record]) -> None:
        execute = self._database.execute
        try:
            execute("BEGIN IMMEDIATE")
            counters: dict[str, int] = {}
            for record in records:
                if type(record) is CounterMoved:
                    counters[record.entity] = record.last
                else:
                    self._keep(record)
            for path, last in counters.items():
                execute(
                    "UPDATE entities SET last_sequence=? WHERE number=?",
                    (last, self._numbers[path]),
                )
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise StoreError(str(error)) from error

    def _keep(self, record: Record) -> None:
        execute = self._database.execute
        match record:
            case MessageStored(path, message):
                execute(_KEEP, _row(self._key(path, message.sequence), message))
            case MessageRemoved(path, sequence):
                execute("DELETE FROM messages WHERE key=?", (self._key(path, sequence),))
            case IdSeen(path, message_id, until_ms):
                row = (self._numbers[path], message_id, until_ms)
                execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", row)
                self._prune()
            case SessionStateSet(path, session_id, None):
                execute(
                    "DELETE FROM sessions WHERE entity=? AND session_id=?",
                    (self._numbers[path], session_id),
                )
            case SessionStateSet(path, session_id, state, set_ms):
                session = (self._numbers[path], session_id, state, set_ms)
                execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", session)
            case RulesChanged(path, configured, rules):
                rule_set = (self._numbers[path], configured, rules)
                execute("INSERT OR REPLACE INTO rules VALUES (?, ?, ?)", rule_set)

    def load(self, namespace: Namespace) -> int:
        """Load everything into the entities. Returns the number of messages. Raises StoreError."""
        try:
            self._number(namespace)
            self._load_ids(namespace)
            self._load_rules(namespace)
            self._load_sessions(namespace)
            return self._load_messages(namespace)
        except sqlite3.Error as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Write back the log and close the files."""
        self._database.close()
        self._locks.close()

    def _number(self, namespace: Namespace) -> None:
        """The entity's number, which never changes; messages of removed entities stay."""
        execute = self._database.execute
        rows = execute("SELECT path, number, last_sequence FROM entities").fetchall()
        known = {path: (number, last) for path, number, last in rows}
        for path, place in namespace.entities():
            if path not in known:
                cursor = execute(
                    "INSERT INTO entities (path, last_sequence) VALUES (?, 0)", (path,)
                )
                known[path] = (int(cursor.lastrowid or 0), 0)
            self._numbers[path], place.entity.intake.last_sequence = known[path]

    def _load_messages(self, namespace: Namespace) -> int:
        count, locked, known = 0, self._locks.keys, set[int]()
        for path, place in namespace.entities():
            first = self._numbers[path] << _SEQUENCE_BITS
            rows = self._database.execute(
                "SELECT * FROM messages WHERE key >= ? AND key < ? ORDER BY key",
                (first, first + (1 << _SEQUENCE_BITS)),
            )
            messages = [_message(row) for row in rows]
            known |= {first | message.sequence for message in messages}
            place.entity.take_in(messages)
            if isinstance(place.entity, Queue):
                place.entity.count_lost_locks(
                    message.sequence for message in messages if first | message.sequence in locked
                )
            count += len(messages)
        for key in locked - known:
            self._locks.drop(key)
        return count

    def _load_ids(self, namespace: Namespace) -> None:
        self._database.execute("DELETE FROM seen WHERE until_ms <= ?", (wall_clock_ms(),))
        self._each(
            "SELECT entity, message_id, until_ms FROM seen ORDER BY until_ms",
            namespace,
            lambda path, row: _entity(namespace, path).intake.remember(row[0], row[1]),
        )

    def _load_rules(self, namespace: Namespace) -> None:
        def load(path: str, row: tuple[str, bytes]) -> None:
            place = namespace.find(path)
            if place is not None and place.subscription is not None:
                place.subscription.load_rules(RulesChanged(path, row[0], row[1]))

        self._each("SELECT entity, configured, rules FROM rules", namespace, load)

    def _load_sessions(self, namespace: Namespace) -> None:
        def load(path: str, row: tuple[str, bytes, int]) -> None:
            queue = _entity(namespace, path)
            if isinstance(queue, Queue) and queue.rules.requires_session:
                queue.sessions.load_state(queue.open_backlog(row[0]), row[1], row[2])

        self._each("SELECT entity, session_id, state, set_ms FROM sessions", namespace, load)

    def _each(
        self, query: str, namespace: Namespace, load: Callable[[str, tuple[Any, ...]], None]
    ) -> None:
        paths = {number: path for path, number in self._numbers.items()}
        for number, *row in self._database.execute(query).fetchall():
            if number in paths:
                load(paths[number], tuple(row))

    def _prune(self) -> None:
        self._ids_since_pruning += 1
        if self._ids_since_pruning >= _PRUNE_EVERY:
            self._ids_since_pruning = 0
            self._database.execute("DELETE FROM seen WHERE until_ms <= ?", (wall_clock_ms(),))

    def _key(self, path: str, sequence: int) -> int:
        return self._numbers[path] << _SEQUENCE_BITS | sequence


def _row(key: int, message: Message) -> tuple[object, ...]:
    return (
        key,
        message.state.value,
        message.delivery_count,
        message.enqueued_ms,
        message.expires_ms,
        message.due_ms,
        message.origin_sequence,
        message.content.encode(),
    )


def _message(row: tuple[int, int, int, int, int | None, int | None, int | None, bytes]) -> Message:
    key, state, count, enqueued_ms, expires_ms, due_ms, origin, content = row
    return Message(
        content=read_content(content),
        sequence=key & ((1 << _SEQUENCE_BITS) - 1),
        enqueued_ms=enqueued_ms,
        expires_ms=expires_ms,
        due_ms=due_ms,
        state=State(state),
        delivery_count=count,
        origin_sequence=origin,
    )


def _entity(namespace: Namespace, path: str) -> Queue | Topic:
    place = namespace.find(path)
    assert place is not None
    return place.entity
