"""The BlobStore port: the fake in memory and the real adapter on Azurite behave alike."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.blobs import Blob, BlobMissing, BlobStore, Unchanged
from tests.contract.azurite import Azurite


class _StoppedClock:
    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture(params=["memory", "azurite"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobStore(clock=_StoppedClock())
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    blobs = AzureBlobs(BlobAccount(connection_string=azurite.connection_string))
    container = blobs.container(f"t-{uuid.uuid4().hex[:20]}")
    await container.create_if_missing()
    await container.create_if_missing()
    yield container
    await blobs.close()


async def test_what_was_written_is_read_with_its_etag(store: BlobStore) -> None:
    etag = await store.write("agents/ceo.json", b'{"a": 1}')
    assert etag.startswith('"')
    assert etag.endswith('"')
    assert await store.read("agents/ceo.json") == Blob(
        name="agents/ceo.json", etag=etag, body=b'{"a": 1}'
    )


async def test_an_empty_blob_is_read_as_empty(store: BlobStore) -> None:
    etag = await store.write("empty", b"")
    assert await store.read("empty") == Blob(name="empty", etag=etag, body=b"")
    assert await store.read("empty", max_bytes=10) == Blob(name="empty", etag=etag, body=b"")


async def test_names_with_spaces_and_umlauts_are_kept(store: BlobStore) -> None:
    name = "agents/Größe 1%20#?.json"
    await store.write(name, b"x")
    assert [row.name for row in await store.list("agents/")] == [name]
    found = await store.read(name)
    assert found is not None
    assert (found.name, found.body) == (name, b"x")


async def test_an_absent_blob_is_missing_and_not_unchanged(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        await store.read("nothing")
    with pytest.raises(BlobMissing):
        await store.read_if_changed("nothing", etag='"0x1"')


async def test_an_unchanged_blob_is_not_read_again(store: BlobStore) -> None:
    old = await store.write("head", b"1")
    assert await store.read_if_changed("head", etag=old) == Unchanged()
    new = await store.write("head", b"2")
    assert new != old
    assert await store.read_if_changed("head", etag=old) == Blob(name="head", etag=new, body=b"2")


async def test_only_the_first_bytes_are_fetched_when_asked(store: BlobStore) -> None:
    await store.write("large", b"abcdefgh")
    start = await store.read("large", max_bytes=3)
    whole = await store.read("large", max_bytes=100)
    assert (start and start.body, whole and whole.body) == (b"abc", b"abcdefgh")


async def test_a_listing_has_the_prefix_in_order_with_the_etags_of_reads(
    store: BlobStore,
) -> None:
    etags = {name: await store.write(name, b"xyz") for name in ("agents/b", "agents/a", "other")}
    found = await store.list("agents/")
    assert [(row.name, row.etag, row.size) for row in found] == [
        ("agents/a", etags["agents/a"], 3),
        ("agents/b", etags["agents/b"], 3),
    ]
    assert all(row.last_modified.tzinfo is not None for row in found)
    assert await store.list("nothing/") == []


async def test_a_write_at_a_stale_etag_changes_nothing(store: BlobStore) -> None:
    old = await store.write("head", b"1")
    await store.write("head", b"2", if_match=old)
    with pytest.raises(StaleWrite):
        await store.write("head", b"3", if_match=old)
    found = await store.read("head")
    assert found is not None
    assert found.body == b"2"


async def test_a_conditional_write_needs_the_blob(store: BlobStore) -> None:
    with pytest.raises(StaleWrite):
        await store.write("absent", b"1", if_match='"0x1"')
    with pytest.raises(KeyError):
        await store.read("absent")


async def test_of_two_that_create_one_wins(store: BlobStore) -> None:
    answers = await asyncio.gather(
        store.write("head", b"a", create_only=True),
        store.write("head", b"b", create_only=True),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["StaleWrite", "str"]


async def test_deleting_honours_the_etag_and_forgives_absence(store: BlobStore) -> None:
    old = await store.write("card", b"1")
    new = await store.write("card", b"2")
    with pytest.raises(StaleWrite):
        await store.delete("card", if_match=old)
    await store.delete("card", if_match=new)
    await store.delete("card")
    assert await store.list("") == []


async def test_a_listing_of_many_is_complete(store: BlobStore) -> None:
    names = [f"many/{number:03}" for number in range(120)]
    await asyncio.gather(*(store.write(name, b"x") for name in names))
    assert [row.name for row in await store.list("many/")] == names


async def test_a_missing_container_is_transient_and_named(azurite: Azurite) -> None:
    blobs = AzureBlobs(BlobAccount(connection_string=azurite.connection_string))
    store = blobs.container("not-there-yet")
    with pytest.raises(TransientError, match="not-there-yet"):
        await store.read("head")
    with pytest.raises(TransientError, match="not-there-yet"):
        await store.write("head", b"1")
    with pytest.raises(TransientError, match="not-there-yet"):
        await store.list("")
    await blobs.close()


async def test_storage_that_is_away_is_transient_and_leaves_a_write_unknown() -> None:
    address = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;"
    blobs = AzureBlobs(
        BlobAccount(connection_string=f"{address}BlobEndpoint=http://127.0.0.1:1/a;")
    )
    store = blobs.container("aos-config")
    with pytest.raises(TransientError):
        await store.read("head")
    with pytest.raises(OutcomeUnknown):
        await store.write("head", b"1", create_only=True)
    await blobs.close()
    assert "a2V5" not in repr(BlobAccount(connection_string=address))
