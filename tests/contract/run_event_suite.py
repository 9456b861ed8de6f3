"""Suite of the port `RunEventStore`, for the fake and the real adapter."""

from __future__ import annotations

import asyncio

import pytest

from aos.domain.runs.conversation import Step
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId, EventRow, RunEvent, RunEventType
from aos.errors import StaleWrite
from aos.ports.conversations import ConversationStore
from aos.ports.run_events import RunEventStore
from tests.samples import AWKWARD_TEXTS, NOON, a_head, a_request, an_id

START = EventId()


def an_event(event_id: str, kind: RunEventType = "message.delta", text: str = "a") -> RunEvent:
    """An event with everything set."""
    return RunEvent(id=event_id, type=kind, time=NOON, turn=1, data={"text": text, "n": [1, None]})


def a_row(request: AdmittedRequest, *event_ids: str, text: str = "a") -> EventRow:
    """A row with these events."""
    events = tuple(an_event(event_id, text=text) for event_id in event_ids)
    return EventRow(run_id=request.run_id, events=events)


class RunEventStoreSuite:
    """Needs the fixtures `store: ConversationStore` and `events: RunEventStore`, of one account."""

    async def test_a_run_that_is_not_known_has_no_events(self, events: RunEventStore) -> None:
        assert await events.read(an_id(), an_id(), after=START, limit=10) == []
        assert await events.remove_provisional(an_id(), an_id(), limit=10) == 0

    async def test_saved_and_provisional_events_are_read_in_the_order_of_their_ids(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        request, other = a_request(), a_request()
        name = request.conversation_id
        saved = [a_row(request, "2", "3"), a_row(request, "4", "5", "6"), a_row(request, "10")]
        told = [a_row(request, "3.1.1"), a_row(request, "3.1.2"), a_row(request, "3.2.1")]
        head = a_head(request)
        etag = await store.save(Step(conversation=head, events=(saved[0],)), etag=None)
        for row in reversed(told):
            await events.add(name, row)
        strange = a_row(other, "2")
        for row in saved[1:]:
            etag = await store.save(Step(conversation=head, events=(row, strange)), etag=etag)
        assert await events.read(name, request.run_id, after=START, limit=10) == [
            saved[0],
            *told,
            *saved[1:],
        ]
        assert await events.read(name, other.run_id, after=START, limit=10) == [strange]
        assert await events.read(name, request.run_id, after=EventId(3), limit=2) == told[:2]
        assert await events.read(name, request.run_id, after=EventId(3, 1, 1), limit=1) == [told[1]]
        assert await events.read(name, request.run_id, after=EventId(4), limit=10) == saved[1:]
        assert await events.read(name, request.run_id, after=EventId(10), limit=10) == []

    async def test_a_new_row_takes_no_others_place(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        """Two handlers of one turn begin under the same number: one of them takes the next."""
        request = a_request()
        name = request.conversation_id
        await store.save(Step(conversation=a_head(request)), etag=None)
        await events.add(name, a_row(request, "1.1.1"), new=True)
        with pytest.raises(StaleWrite):
            await events.add(name, a_row(request, "1.1.1", text="b"), new=True)
        await events.add(name, a_row(request, "1.2.1", text="b"), new=True)
        assert await events.read(name, request.run_id, after=START, limit=10) == [
            a_row(request, "1.1.1"),
            a_row(request, "1.2.1", text="b"),
        ]

    async def test_provisional_events_go_and_saved_ones_stay(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        request = a_request()
        name = request.conversation_id
        saved = a_row(request, "2")
        await store.save(Step(conversation=a_head(request), events=(saved,)), etag=None)
        for part in range(1, 4):
            await events.add(name, a_row(request, f"2.1.{part}"))
        assert await events.remove_provisional(name, request.run_id, limit=2) == 2
        assert await events.remove_provisional(name, request.run_id, limit=2) == 1
        assert await events.read(name, request.run_id, after=START, limit=10) == [saved]

    async def test_provisional_events_are_saved_with_what_follows_them(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        request = a_request()
        name, head = request.conversation_id, a_head(request)
        begin, text = a_row(request, "2.1.1"), a_row(request, "2.1.2", text="b")
        started, ended = a_row(request, "2"), a_row(request, "3", "4")
        step = Step(conversation=head, events=(started,), provisional=(begin,))
        etag = await store.save(step, etag=None)
        with pytest.raises(StaleWrite):
            await events.add(name, a_row(request, "2.1.1", text="b"), new=True)
        await store.save(Step(conversation=head, events=(ended,), provisional=(text,)), etag=etag)
        told = await events.read(name, request.run_id, after=START, limit=10)
        assert told == [started, begin, text, ended]
        assert await events.remove_provisional(name, request.run_id, limit=10) == 2
        assert await events.read(name, request.run_id, after=START, limit=10) == [started, ended]

    async def test_two_that_remove_at_the_same_time_do_not_disturb_each_other(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        request = a_request()
        name = request.conversation_id
        saved = a_row(request, "2")
        await store.save(Step(conversation=a_head(request), events=(saved,)), etag=None)
        for part in range(1, 100):
            await events.add(name, a_row(request, f"2.1.{part}"))
        both = (events.remove_provisional(name, request.run_id, limit=100) for _ in range(2))
        assert 99 in await asyncio.gather(*both)
        assert await events.read(name, request.run_id, after=START, limit=10) == [saved]

    async def test_events_keep_any_text(
        self, store: ConversationStore, events: RunEventStore
    ) -> None:
        request = a_request()
        name = request.conversation_id
        await store.save(Step(conversation=a_head(request)), etag=None)
        rows = [
            a_row(request, f"1.1.{place}", text=text)
            for place, text in enumerate(AWKWARD_TEXTS.values(), 1)
        ]
        for row in rows:
            await events.add(name, row)
        assert await events.read(name, request.run_id, after=START, limit=100) == rows
