"""A thousand cards on real storage: all are published, and an edit among them is.

How long that takes is measured by `python -m benchmarks cards`.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from aos.adapters.blobs import AzureBlobs, AzureBlobStore, BlobAccount
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.services.catalog import storage
from aos.services.catalog.publisher import CatalogPublisher
from aos.services.catalog.reader import CatalogReader
from tests.contract.azurite import Azurite
from tests.unit.catalog.cards import card

CARDS = 1_000
UPLOADS_AT_ONCE = 16
TIMEOUT_SECONDS = 120.0


class _Clock:
    """The system's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture
async def containers(azurite: Azurite) -> AsyncIterator[tuple[AzureBlobStore, AzureBlobStore]]:
    blobs = AzureBlobs(BlobAccount(connection_string=azurite.connection_string))
    config, data = (blobs.container(f"t-{uuid.uuid4().hex[:20]}") for _ in range(2))
    await config.create_if_missing()
    await data.create_if_missing()
    yield config, data
    await blobs.close()


async def test_a_thousand_cards_are_published_and_so_is_an_edit_among_them(
    containers: tuple[AzureBlobStore, AzureBlobStore],
) -> None:
    config, data = containers
    await _upload(config, CARDS)
    publisher = CatalogPublisher(config=config, data=data, clock=_Clock(), policy=CardPolicy())

    async with asyncio.timeout(TIMEOUT_SECONDS):
        first = await publisher.publish()
    assert (len(first.changes), first.statuses_complete) == (CARDS, True)

    etag = await config.write("agents/a0007.json", card("a0007", purpose="Lead well"))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        edit = await publisher.publish()
    assert [change.card_id for change in edit.changes] == ["a0007"]
    blob = await config.read(storage.status(CardKind.AGENT, "a0007"))
    assert blob is not None
    status = json.loads(blob.body)
    assert (status["state"], status["source_etag"]) == ("active", etag)
    assert (await CatalogReader(data, _Clock()).find("a0007")).card.purpose == "Lead well"


async def test_two_publishers_at_once_on_real_storage_lose_nothing(
    containers: tuple[AzureBlobStore, AzureBlobStore],
) -> None:
    config, data = containers
    publishers = [
        CatalogPublisher(config=config, data=data, clock=_Clock(), policy=CardPolicy())
        for _ in range(2)
    ]
    for number in range(5):
        await config.write(f"agents/b{number}.json", card(f"b{number}"))
        await asyncio.gather(*(publisher.publish() for publisher in publishers))
    reader = CatalogReader(data, _Clock())
    assert await reader.version() == 5
    for number in range(5):
        assert (await reader.find(f"b{number}")).state == "active"


async def _upload(config: AzureBlobStore, count: int) -> None:
    names = iter([f"a{number:04}" for number in range(count)])

    async def work() -> None:
        for name in names:
            await config.write(f"agents/{name}.json", card(name))

    await asyncio.gather(*(work() for _ in range(UPLOADS_AT_ONCE)))
