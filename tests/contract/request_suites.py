"""Suites of the ports `RequestStore`, `ConversationSlots`, `PushConfigStore` and `PendingStore`,
for the fake and the real adapter.

A test class inherits a suite and gives it the fixture `store`, freshly made for each test and
empty. Ids are new in every test, so suites may share an account.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from aos.errors import StaleWrite
from aos.ports.pushes import PushConfigStore
from aos.ports.requests import PendingStore, RequestStore, StoredRequest
from aos.ports.slots import ConversationSlots, Slot
from tests.samples import (
    AWKWARD_TEXTS,
    NOON,
    a_pending,
    a_push_config,
    a_request,
    an_id,
    the_due,
)


class RequestStoreSuite:
    """Needs the fixture `store: RequestStore`."""

    async def test_an_unknown_run_is_not_found(self, store: RequestStore) -> None:
        assert await store.find(an_id()) is None
        assert await store.is_cancel_requested(an_id()) is False

    async def test_what_was_inserted_is_found_whole(self, store: RequestStore) -> None:
        full, bare = a_request(), a_request(reply=None, traceparent=None, metadata={})
        await store.insert(full)
        await store.insert(bare)
        assert await store.find(full.run_id) == StoredRequest(request=full)
        assert await store.find(bare.run_id) == StoredRequest(request=bare)

    async def test_a_large_message_is_kept_whole(self, store: RequestStore) -> None:
        request = a_request(message="ä" * 120_000)
        await store.insert(request)
        found = await store.find(request.run_id)
        assert found is not None
        assert found.request == request

    async def test_large_images_are_kept_whole(self, store: RequestStore) -> None:
        image = {"type": "image", "mimeType": "image/png", "data": "iVBO" * 500_000}
        request = a_request(parts=(image, {**image, "data": "iVBO"}))
        await store.insert(request)
        assert await store.find(request.run_id) == StoredRequest(request=request)

    @pytest.mark.parametrize("name", sorted(AWKWARD_TEXTS))
    async def test_texts_of_any_characters_and_length_are_kept_whole(
        self, store: RequestStore, name: str
    ) -> None:
        request = a_request(message=AWKWARD_TEXTS[name], metadata={"text": AWKWARD_TEXTS[name]})
        await store.insert(request)
        assert await store.find(request.run_id) == StoredRequest(request=request)

    async def test_large_metadata_is_kept_whole(self, store: RequestStore) -> None:
        many = {f"key {number}": [number, "v" * 20, None] for number in range(12_000)}
        request = a_request(metadata={"many": many, "nested": {"text": "ö" * 200_000}})
        await store.insert(request)
        assert await store.find(request.run_id) == StoredRequest(request=request)

    @pytest.mark.parametrize("conversation_id", ["..", ".", "a.b..", "-", "_" * 128])
    async def test_large_texts_of_oddly_named_conversations_are_kept(
        self, store: RequestStore, conversation_id: str
    ) -> None:
        request = a_request(conversation_id=conversation_id, message=an_id() * 2_000)
        await store.insert(request)
        assert await store.find(request.run_id) == StoredRequest(request=request)

    async def test_a_cancellation_of_an_unknown_run_makes_no_row(self, store: RequestStore) -> None:
        run_id = an_id()
        await store.ask_cancel(run_id, at=NOON)
        assert await store.find(run_id) is None

    async def test_a_second_insert_is_stale_and_changes_nothing(self, store: RequestStore) -> None:
        request = a_request()
        await store.insert(request)
        with pytest.raises(StaleWrite):
            await store.insert(replace(request, message="another"))
        assert await store.find(request.run_id) == StoredRequest(request=request)

    async def test_of_many_inserts_at_once_one_wins(self, store: RequestStore) -> None:
        request = a_request()
        tries = [replace(request, message=f"try {number}") for number in range(8)]
        answers = await asyncio.gather(*map(store.insert, tries), return_exceptions=True)
        won = [item for item, answer in zip(tries, answers, strict=True) if answer is None]
        assert len(won) == 1
        assert all(answer is None or isinstance(answer, StaleWrite) for answer in answers)
        assert await store.find(request.run_id) == StoredRequest(request=won[0])

    async def test_the_first_ask_to_cancel_stands(self, store: RequestStore) -> None:
        request = a_request()
        await store.insert(request)
        assert await store.is_cancel_requested(request.run_id) is False
        await store.ask_cancel(request.run_id, at=NOON)
        await store.ask_cancel(request.run_id, at=NOON + timedelta(hours=1))
        assert await store.is_cancel_requested(request.run_id) is True
        assert await store.find(request.run_id) == StoredRequest(
            request=request, cancel_requested_at=NOON
        )


class PendingStoreSuite:
    """Needs the fixture `store: PendingStore`."""

    async def test_a_row_is_due_from_its_moment_on(self, store: PendingStore) -> None:
        row = a_pending()
        await store.put(row)
        assert await the_due(store, NOON - timedelta(seconds=1), row) == []
        (due,) = await the_due(store, NOON, row)
        assert due.etag is not None
        assert replace(due, etag=None) == row

    async def test_a_repeated_put_makes_the_row_anew(self, store: PendingStore) -> None:
        row = a_pending(checks=5)
        await store.put(row)
        (old,) = await the_due(store, NOON, row)
        await store.put(replace(row, checks=0, created_at=NOON))
        (new,) = await the_due(store, NOON, row)
        assert (new.checks, new.created_at) == (0, NOON)
        assert new.etag != old.etag

    async def test_many_buckets_are_read_and_the_limit_holds(self, store: PendingStore) -> None:
        rows = [a_pending() for _ in range(40)]
        await asyncio.gather(*map(store.put, rows))
        assert {row.run_id for row in await the_due(store, NOON, *rows)} == {
            row.run_id for row in rows
        }
        assert len(await store.list_due(NOON, limit=7)) == 7

    async def test_a_moved_row_is_due_later_and_counts_its_checks(
        self, store: PendingStore
    ) -> None:
        row = a_pending()
        await store.put(row)
        (due,) = await the_due(store, NOON, row)
        later = NOON + timedelta(minutes=1)
        await store.move(due, next_check=later)
        assert await the_due(store, NOON, row) == []
        (moved,) = await the_due(store, later, row)
        assert replace(moved, etag=None) == replace(row, next_check=later, checks=1)

    async def test_of_two_menders_one_moves_the_row(self, store: PendingStore) -> None:
        row = a_pending()
        await store.put(row)
        (due,) = await the_due(store, NOON, row)
        await store.move(due, next_check=NOON + timedelta(minutes=1))
        with pytest.raises(StaleWrite):
            await store.move(due, next_check=NOON + timedelta(minutes=9))
        with pytest.raises(StaleWrite):
            await store.drop(row.run_id, etag=due.etag)
        assert len(await the_due(store, NOON + timedelta(minutes=1), row)) == 1

    async def test_a_dropped_row_is_gone_and_absence_is_forgiven(self, store: PendingStore) -> None:
        row, other = a_pending(), a_pending()
        await store.put(row)
        await store.put(other)
        (due,) = await the_due(store, NOON, other)
        await store.drop(row.run_id)
        await store.drop(row.run_id)
        await store.drop(other.run_id, etag=due.etag)
        await store.drop(other.run_id, etag=due.etag)
        assert await the_due(store, NOON, row, other) == []

    async def test_many_rows_are_dropped_together_whichever_are_gone(
        self, store: PendingStore
    ) -> None:
        rows, kept = [a_pending() for _ in range(120)], a_pending()
        await asyncio.gather(*map(store.put, (*rows, kept)))
        await store.drop_all([row.run_id for row in rows[:60]])
        assert len(await the_due(store, NOON, *rows, kept)) == 61
        await store.drop_all([an_id(), *(row.run_id for row in rows)])
        (left,) = await the_due(store, NOON, *rows, kept)
        assert left.run_id == kept.run_id
        await store.drop_all([])

    async def test_a_dropped_row_cannot_be_moved(self, store: PendingStore) -> None:
        row = a_pending()
        await store.put(row)
        (due,) = await the_due(store, NOON, row)
        await store.drop(row.run_id)
        with pytest.raises(StaleWrite):
            await store.move(due, next_check=NOON)


class SlotsSuite:
    """Needs the fixture `slots: ConversationSlots`."""

    async def test_a_slot_that_was_taken_is_found(self, slots: ConversationSlots) -> None:
        assert await slots.find(an_id()) is None
        slot = _a_slot()
        await slots.take(slot, over=None)
        found = await slots.find(slot.conversation_id)
        assert found is not None
        assert replace(found, etag=None) == slot

    async def test_a_slot_is_taken_over_from_the_run_that_has_it(
        self, slots: ConversationSlots
    ) -> None:
        first = _a_slot()
        await slots.take(first, over=None)
        found = await slots.find(first.conversation_id)
        second, third = replace(first, run_id=an_id()), replace(first, run_id=an_id())
        await slots.take(second, over=found)
        with pytest.raises(StaleWrite):
            await slots.take(third, over=found)
        with pytest.raises(StaleWrite):
            await slots.take(third, over=None)
        kept = await slots.find(first.conversation_id)
        assert kept is not None
        assert kept.run_id == second.run_id

    @pytest.mark.parametrize("is_free", [True, False])
    async def test_of_many_that_take_a_slot_at_once_one_gets_it(
        self, slots: ConversationSlots, is_free: bool
    ) -> None:
        first = _a_slot()
        if not is_free:
            await slots.take(first, over=None)
        over = await slots.find(first.conversation_id)
        tries = [replace(first, run_id=an_id()) for _ in range(8)]
        answers = await asyncio.gather(
            *(slots.take(slot, over=over) for slot in tries), return_exceptions=True
        )
        assert sum(answer is None for answer in answers) == 1
        assert all(answer is None or isinstance(answer, StaleWrite) for answer in answers)

    @pytest.mark.parametrize("name", ["..", ".", "a.b..", "-", "_" * 128])
    async def test_oddly_named_conversations_have_slots(
        self, slots: ConversationSlots, name: str
    ) -> None:
        found = await slots.find(name)
        await slots.take(replace(_a_slot(), conversation_id=name), over=found)
        assert await slots.find(name) is not None


class PushConfigStoreSuite:
    """Needs the fixture `pushes: PushConfigStore`."""

    async def test_what_was_put_is_found_whole_and_listed_by_id(
        self, pushes: PushConfigStore
    ) -> None:
        full = a_push_config(config_id="b")
        bare = a_push_config(
            run_id=full.run_id, config_id="a", token=None, scheme=None, credentials=None
        )
        for config in (full, bare, a_push_config()):
            await pushes.put(config)
        assert await pushes.find(full.run_id, "b") == full
        assert await pushes.list_all(full.run_id) == [bare, full]

    async def test_a_receiver_is_written_over_and_dropped_twice(
        self, pushes: PushConfigStore
    ) -> None:
        config = a_push_config()
        await pushes.put(config)
        moved = replace(config, url="https://other.example.com/")
        await pushes.put(moved)
        assert await pushes.list_all(config.run_id) == [moved]
        for _ in range(2):
            await pushes.drop(config.run_id, config.config_id)
        assert await pushes.list_all(config.run_id) == []
        assert await pushes.find(config.run_id, config.config_id) is None

    @pytest.mark.parametrize("name", ["a.b~c", "_", "-", "run", "p" * 128])
    async def test_oddly_named_receivers_are_found(
        self, pushes: PushConfigStore, name: str
    ) -> None:
        config = a_push_config(config_id=name)
        await pushes.put(config)
        assert await pushes.find(config.run_id, name) == config


def _a_slot() -> Slot:
    return Slot(conversation_id=an_id(), run_id=an_id(), taken_at=NOON)
