"""A Service Bus without a network: entities, a clock that tests turn, and a disk that may fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devhost.amqp import message as m
from devhost.amqp.types import Symbol, Timestamp
from devhost.servicebus.agenda import Agenda
from devhost.servicebus.config import parse_config
from devhost.servicebus.entities.backlog import Held, Lock, Receiver
from devhost.servicebus.entities.message import Content, Message, read_content
from devhost.servicebus.entities.namespace import Namespace
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.records import Record
from devhost.servicebus.entities.settlement import Outcome, settle
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import StoreError
from devhost.servicebus.group_commit import GroupCommit
from devhost.servicebus.store import Store

START_MS = 1_800_000_000_000


def content(
    body: str = "",
    *,
    own: dict[str, Any] | None = None,
    schedule_ms: int | None = None,
    **fields: Any,
) -> Content:
    """A message; `ttl_ms`, and every field of `Properties`, by name."""
    ttl_ms = fields.pop("ttl_ms", None)
    fields.setdefault("message_id", f"id-{body}")
    parts = [m.encode_composite_section(m.Header(ttl=ttl_ms))]
    if schedule_ms is not None:
        annotations = {Symbol("x-opt-scheduled-enqueue-time"): Timestamp(schedule_ms)}
        parts.append(m.encode_map_section(m.MESSAGE_ANNOTATIONS, annotations))
    parts.append(m.encode_composite_section(m.Properties(**fields)))
    if own:
        parts.append(m.encode_map_section(m.APPLICATION_PROPERTIES, own))
    parts.append(m.encode_data_section(body.encode()))
    return read_content(b"".join(parts))


def body_of(message: Message) -> str:
    """The text that `content` was given."""
    data: bytes = m.read_body(m.slice_message(message.content.bare).body).values[0]
    return data.decode()


@dataclass
class Disk:
    """Keeps records in a database if there is one; `broken` makes every commit fail."""

    store: Store | None = None
    broken: bool = False
    commits: int = 0

    def commit(self, records: list[Record]) -> None:
        if self.broken:
            raise StoreError("disk full")
        self.commits += 1
        if self.store is not None:
            self.store.commit(records)


@dataclass
class Client:
    """A receiver that notes what it gets."""

    world: World
    queue: Queue
    receiver: Receiver
    got: list[tuple[Message, Held, Lock | None]] = field(default_factory=list)
    granted: list[str | None] = field(default_factory=list)
    lost: int = 0

    @property
    def bodies(self) -> list[str]:
        return [body_of(message) for message, _, _ in self.got]

    def want(self, credit: int) -> Client:
        self.queue.want(self.receiver, credit)
        self.world.commit.flush()
        return self

    def settle(self, index: int, outcome: Outcome) -> None:
        _, held, lock = self.got[index]
        assert lock is not None
        settle(self.queue, held, lock, outcome)
        self.world.commit.flush()

    def leave(self) -> None:
        self.queue.detach(self.receiver)
        self.world.commit.flush()


class World:
    """The entities of a Config.json under a clock of its own."""

    def __init__(
        self,
        *,
        queues: dict[str, dict[str, Any]] | None = None,
        topics: dict[str, dict[str, Any]] | None = None,
        data: Path | None = None,
        now_ms: int = START_MS,
    ) -> None:
        named_queues = [{"Name": n, "Properties": p} for n, p in (queues or {}).items()]
        named_topics = [{"Name": n, **p} for n, p in (topics or {}).items()]
        self.now_ms = now_ms
        self.agenda = Agenda(now_ms=lambda: self.now_ms)
        self.disk = Disk(Store(data) if data else None)
        self._soon: list[Callable[[], None]] = []
        self.commit = GroupCommit(self.disk, call_soon=self._soon.append)
        config = parse_config(
            {"UserConfig": {"Namespaces": [{"Queues": named_queues, "Topics": named_topics}]}}
        )
        self.namespace = Namespace(config, journal=self.commit, agenda=self.agenda)
        self.loaded = self.disk.store.load(self.namespace) if self.disk.store else 0
        self.commit.flush()

    def queue(self, path: str) -> Queue:
        place = self.namespace.find(path)
        assert place is not None
        assert isinstance(place.entity, Queue)
        return place.entity

    def topic(self, path: str) -> Topic:
        place = self.namespace.find(path)
        assert place is not None
        assert isinstance(place.entity, Topic)
        return place.entity

    def send(self, path: str, *contents: Content) -> list[int]:
        place = self.namespace.find(path)
        assert place is not None
        numbers = place.entity.send(contents)
        self.commit.flush()
        return numbers

    def pass_time(self, ms: int) -> None:
        """GroupCommit the clock, stopping wherever something is due."""
        end_ms = self.now_ms + ms
        while (due_ms := self.agenda.next_due_ms) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.agenda.run_due()
            self.commit.flush()
        self.now_ms = end_ms
        self.commit.flush()

    def client(self, path: str, *, deletes: bool = False, name: str = "link") -> Client:
        """A receiver that has not asked for anything yet."""
        queue = self.queue(path)
        client = Client(self, queue, Receiver(name=name, deletes=deletes, deliver=lambda *_: None))
        receiver = client.receiver
        receiver.deliver = lambda message, held, lock: client.got.append((message, held, lock))
        receiver.session_granted = lambda: client.granted.append(
            receiver.backlog.session_id if receiver.backlog else None
        )

        def lost() -> None:
            client.lost += 1

        receiver.session_lost = lost
        return client

    def plain(self, path: str, *, credit: int = 0, deletes: bool = False) -> Client:
        """A receiver of a plain queue."""
        client = self.client(path, deletes=deletes)
        client.queue.attach(client.receiver)
        return client.want(credit)

    def session(
        self, path: str, session_id: str | None = None, *, credit: int = 0, name: str = "link"
    ) -> Client:
        """A receiver of a named session, or of the next available one."""
        client = self.client(path, name=name)
        client.receiver.credit = credit
        if session_id is None:
            client.queue.sessions.accept_next(client.receiver)
        else:
            client.queue.sessions.accept(client.receiver, session_id)
        self.commit.flush()
        return client

    def close(self) -> None:
        if self.disk.store is not None:
            self.disk.store.close()
