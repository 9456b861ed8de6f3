"""Cards in memory: containers, publishers, and what became of uploads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aos.adapters.memory import ManualClock
from aos.adapters.memory.blobs import Hook, MemoryBlobStore, Moment, Operation
from aos.adapters.memory.tables import MemoryTables
from aos.adapters.memory.tools import MemoryToolCatalog
from aos.domain.cards.catalog import CatalogIndex, make_status
from aos.domain.cards.catalog_json import head_from_json, index_from_json
from aos.domain.cards.identity import CardKind, digest_of
from aos.domain.cards.policy import CardPolicy
from aos.errors import TransientError
from aos.services.catalog import storage
from aos.services.catalog.editor import CardEditor
from aos.services.catalog.publisher import CatalogPublisher
from aos.services.catalog.reader import CatalogReader

T = TypeVar("T")


def card(agent_id: str = "ceo", **fields: Any) -> bytes:
    """An agent card."""
    return json.dumps({"agent_id": agent_id, "purpose": "Lead", **fields}).encode()


class Crash(BaseException):
    """The process is gone: nobody catches this."""


@dataclass(slots=True)
class FailAt:
    """A hook that fails the Nth call before or after it takes effect, and counts."""

    number: int
    moment: Moment
    error: BaseException
    only: str = ""
    seen: int = 0

    async def __call__(self, operation: Operation, name: str, moment: Moment) -> None:
        """One moment of a call."""
        if moment != self.moment or not name.startswith(self.only):
            return
        self.seen += 1
        if self.seen == self.number:
            raise self.error


@dataclass(slots=True, kw_only=True)
class Cards:
    """`aos-config` and `aos-data`, and as many publishers as a test wants."""

    policy: CardPolicy = field(default_factory=CardPolicy)
    clock: ManualClock = field(default_factory=ManualClock)
    tables: MemoryTables = field(default_factory=MemoryTables)
    table_calls: list[str] = field(default_factory=list)
    tables_away: bool = False
    config: MemoryBlobStore = field(init=False)
    data: MemoryBlobStore = field(init=False)

    def __post_init__(self) -> None:
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)

    async def note(self, operation: str, key: str, act: Callable[[], T]) -> T:
        """Count the readings of the table of tools."""
        self.table_calls.append(operation)
        if self.tables_away:
            raise TransientError("the tables are away")
        return act()

    def publisher(self, *, policy: CardPolicy | None = None) -> CatalogPublisher:
        """A publisher as a fresh process has it."""
        return CatalogPublisher(
            config=self.config,
            data=self.data,
            clock=self.clock,
            policy=policy or self.policy,
            tools=MemoryToolCatalog(self.tables, intercept=self.note),
        )

    def hooked_publisher(self, hook: Hook) -> CatalogPublisher:
        """A publisher whose storage calls pass the hook; the containers are the same."""
        return CatalogPublisher(
            config=replace(self.config, hook=hook),
            data=replace(self.data, hook=hook),
            clock=self.clock,
            policy=self.policy,
        )

    def reader(self, *, check_every_seconds: float = 0.0) -> CatalogReader:
        """A reader as a fresh process has it."""
        return CatalogReader(self.data, self.clock, check_every_seconds=check_every_seconds)

    def editor(self) -> CardEditor:
        """An editor as a fresh process has it."""
        return CardEditor(
            config=self.config,
            data=self.data,
            publisher=self.publisher(),
            clock=self.clock,
            policy=self.policy,
        )

    async def upload(self, agent_id: str, body: bytes, *, kind: CardKind = CardKind.AGENT) -> str:
        """Put a card into `aos-config`; its ETag."""
        return await self.config.write(kind.blob_name(agent_id), body)

    async def remove(self, agent_id: str, *, kind: CardKind = CardKind.AGENT) -> None:
        """Take a card out of `aos-config`."""
        await self.config.delete(kind.blob_name(agent_id))

    async def status(self, card_id: str, *, kind: CardKind = CardKind.AGENT) -> dict[str, Any]:
        """A status file."""
        return dict(json.loads(await _body(self.config, storage.status(kind, card_id))))

    async def published(self) -> CatalogIndex:
        """The index that the head names, its digest and its bodies checked."""
        head = head_from_json(await _body(self.data, storage.HEAD))
        body = await _body(self.data, storage.index(head.index))
        assert digest_of(body) == head.index
        index = index_from_json(body)
        assert (index.version, index.revision) == (head.version, head.revision)
        for entry in index.entries.values():
            if entry.serving_digest is not None:
                served = await _body(self.data, storage.card_body(entry.serving_digest))
                assert digest_of(served) == entry.serving_digest
        return index

    async def assert_told(self) -> None:
        """Every status file says what the published catalog says."""
        index = await self.published()
        for (kind, card_id), entry in index.entries.items():
            assert await self.status(card_id, kind=kind) == make_status(entry)

    def calls(self) -> dict[str, int]:
        """How many storage calls there were since the last look, by container and kind."""
        counted = {
            f"{name} {operation}": number
            for name, store in (("config", self.config), ("data", self.data))
            for operation, number in store.calls.items()
        }
        self.config.calls.clear()
        self.data.calls.clear()
        return counted


async def _body(store: MemoryBlobStore, name: str) -> bytes:
    blob = await store.read(name)
    assert blob is not None
    return blob.body
