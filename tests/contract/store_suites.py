"""What must every adapter of a storage or bus port do, be it a fake or the real one?

One suite a port. A test class inherits a suite and gives it the fixture it asks for (`store`,
`index`, `ledger`, or `bus` with `probe`), freshly made for each test and empty. Ids are new in
every test, so suites may share an account.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from aos.domain.conversation import ActiveRun, Conversation, Message, Step
from aos.domain.envelope import (
    MAIN_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    CancelRun,
    ContinueRun,
    Event,
    Outgoing,
    Reply,
    RunEnded,
    StartRun,
    read_command,
    to_realm,
)
from aos.domain.run import AdmittedRequest, ReplyAddress, Run, RunStatus, Usage
from aos.errors import ErrorInfo, StaleWrite
from aos.ports import (
    Bus,
    ConversationStore,
    IndexedRun,
    Ledger,
    Loaded,
    PendingRun,
    PendingStore,
    ReceivedMessage,
    RequestStore,
    RunIndex,
    StoredRequest,
)

NOON = datetime(2030, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HARD_TEXT = "Grüße, 世界 🚀 \"quoted\" \\ 'O''Brien' \t tab\nnew line é"


AWKWARD_TEXTS = {
    "control characters": "".join(map(chr, range(32))) * 10 + "\x7f\ufffe\uffff",
    "lone surrogates": "\ud800 and \udfff" * 20,
    "large with lone surrogates": "\ud800ü" * 20_000,
    "emoji at a chunk's edge": "x" * 29_999 + "🚀" * 40,
    "emoji, half of a limit": "🚀" * 8_192,
    "a limit in bytes": "ä" * 16_384,
    "just over a limit": "ä" * 16_384 + "x",
    "escapes": '\n"\\' * 9_000,
    "what looks like a reference": '{"$ref":"payloads/other/0"}' * 3,
}
"""Texts that a store may stumble over; limits are those of Azure Tables."""


def an_id() -> str:
    """A fresh id."""
    return str(uuid.uuid4())


def a_request(**changes: Any) -> AdmittedRequest:
    """An admitted request with everything set."""
    run_id = changes.get("run_id") or an_id()
    whole: dict[str, Any] = {
        "run_id": run_id,
        "conversation_id": run_id,
        "agent_id": "ceo",
        "owner": "queue:aos-requests",
        "door": "queue",
        "message": HARD_TEXT,
        "digest": "d" * 64,
        "admitted_at": NOON,
        "catalog_version": 7,
        "metadata": {"order": 1, "nested": {"list": [1, None, "x"]}},
        "reply": ReplyAddress(entity=RESPONSES_QUEUE, session_id="s", correlation_id="c"),
        "as_admin": True,
        "traceparent": TRACE,
        "replay_of": None,
        **changes,
    }
    return AdmittedRequest(**whole)


def an_ended_run(request: AdmittedRequest, **changes: Any) -> Run:
    """The run of a request, completed."""
    run = Run.queued(request).ended(
        RunStatus.COMPLETED, at=NOON + timedelta(seconds=3), output=HARD_TEXT
    )
    usage = Usage(input_tokens=11, output_tokens=5)
    return replace(run, usage=usage, model="m", card_digest="c" * 64, started_at=NOON, **changes)


def a_head(request: AdmittedRequest, **changes: Any) -> Conversation:
    """A head with everything set."""
    return replace(
        Conversation.begun_by(request, now=NOON),
        **{"write_id": an_id(), **changes},
    )


def some_messages(request: AdmittedRequest, numbers: range) -> tuple[Message, ...]:
    """History rows with these sequences."""
    return tuple(
        Message(
            sequence=number,
            role="assistant" if number % 2 else "user",
            content=f"{number}: {HARD_TEXT}",
            run_id=request.run_id,
            created_at=NOON,
        )
        for number in numbers
    )


class RequestStoreSuite:
    """Needs the fixture `store: RequestStore`."""

    async def test_an_unknown_run_is_not_found(self, store: RequestStore) -> None:
        assert await store.find(an_id()) is None
        assert await store.cancel_asked(an_id()) is False

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
        assert await store.cancel_asked(request.run_id) is False
        await store.ask_cancel(request.run_id, at=NOON)
        await store.ask_cancel(request.run_id, at=NOON + timedelta(hours=1))
        assert await store.cancel_asked(request.run_id) is True
        assert await store.find(request.run_id) == StoredRequest(
            request=request, cancel_requested_at=NOON
        )


def a_listed(request: AdmittedRequest) -> IndexedRun:
    """An admitted run as the lists have it."""
    return IndexedRun.of(request, owner=request.owner)


def a_pending(*, next_check: datetime = NOON, **changes: Any) -> PendingRun:
    """A pending row."""
    return PendingRun(
        **{
            "run_id": an_id(),
            "conversation_id": an_id(),
            "created_at": NOON - timedelta(seconds=30),
            "next_check": next_check,
            **changes,
        }
    )


async def the_due(store: PendingStore, now: datetime, *wanted: PendingRun) -> list[PendingRun]:
    """The due rows of these runs."""
    ids = {row.run_id for row in wanted}
    return [row for row in await store.due(now, limit=500) if row.run_id in ids]


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
        assert len(await store.due(NOON, limit=7)) == 7

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

    async def test_a_dropped_row_cannot_be_moved(self, store: PendingStore) -> None:
        row = a_pending()
        await store.put(row)
        (due,) = await the_due(store, NOON, row)
        await store.drop(row.run_id)
        with pytest.raises(StaleWrite):
            await store.move(due, next_check=NOON)


class ConversationStoreSuite:
    """Needs the fixture `store: ConversationStore`."""

    async def test_an_unknown_conversation_is_empty(self, store: ConversationStore) -> None:
        assert await store.load(an_id()) == Loaded()
        assert await store.load(an_id(), run_id=an_id()) == Loaded()
        assert await store.history(an_id(), before=10, limit=10) == []
        assert await store.find_run(an_id(), an_id()) is None

    async def test_a_whole_step_is_read_back(self, store: ConversationStore) -> None:
        request, waiting = a_request(), a_request()
        ended = an_ended_run(request)
        head = a_head(
            request,
            next_sequence=2,
            active=ActiveRun(
                request=request,
                card_digest="c" * 64,
                run_timeout_seconds=1800.0,
                started_at=NOON,
                clock_seconds=1.5,
            ),
            queued=(waiting,),
            outbox=(
                Outgoing(queue=MAIN_QUEUE, command=RunEnded(run=ended, owner="o")),
                to_realm(
                    ContinueRun(run_id=request.run_id, conversation_id="c", due=NOON),
                    scheduled_at=NOON,
                ),
            ),
            retry_at=NOON,
            retry_since=NOON,
            retries=2,
        )
        messages = some_messages(request, range(2))
        failed = replace(
            Run.queued(waiting),
            status=RunStatus.FAILED,
            error=ErrorInfo(code="model_rejected", message="no", details={"a": 1}),
        )
        etag = await store.save(
            Step(conversation=head, messages=messages, runs=(ended, failed)), etag=None
        )
        name = request.conversation_id
        assert await store.load(name) == Loaded(conversation=head, etag=etag)
        assert await store.load(name, run_id=failed.run_id) == Loaded(
            conversation=head, etag=etag, run=failed
        )
        assert await store.load(name, run_id=an_id()) == Loaded(conversation=head, etag=etag)
        assert await store.find_run(name, ended.run_id) == ended
        assert await store.history(name, before=2, limit=40) == list(messages)

    async def test_of_two_first_saves_one_wins(self, store: ConversationStore) -> None:
        request = a_request()
        steps = [Step(conversation=a_head(request), runs=(Run.queued(request),)) for _ in range(4)]
        answers = await asyncio.gather(
            *(store.save(step, etag=None) for step in steps), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == [*["StaleWrite"] * 3, "str"]
        (won,) = [s for s, a in zip(steps, answers, strict=True) if isinstance(a, str)]
        loaded = await store.load(request.conversation_id)
        assert loaded.conversation == won.conversation

    async def test_a_stale_save_writes_nothing_at_all(self, store: ConversationStore) -> None:
        request = a_request()
        head = a_head(request)
        old = await store.save(Step(conversation=head), etag=None)
        later = replace(head, retries=1, write_id=an_id())
        new = await store.save(Step(conversation=later), etag=old)
        assert new != old
        lost = replace(head, next_sequence=2, write_id=an_id())
        with pytest.raises(StaleWrite):
            await store.save(
                Step(
                    conversation=lost,
                    messages=some_messages(request, range(2)),
                    runs=(an_ended_run(request),),
                ),
                etag=old,
            )
        assert await store.load(request.conversation_id, run_id=request.run_id) == Loaded(
            conversation=later, etag=new
        )
        assert await store.history(request.conversation_id, before=10, limit=10) == []

    async def test_a_save_at_an_etag_needs_the_head(self, store: ConversationStore) -> None:
        request, other = a_request(), a_request()
        etag = await store.save(Step(conversation=a_head(other)), etag=None)
        for runs in ((), (an_ended_run(request),)):
            with pytest.raises(StaleWrite):
                await store.save(Step(conversation=a_head(request), runs=runs), etag=etag)
        assert await store.load(request.conversation_id, run_id=request.run_id) == Loaded()

    async def test_a_head_alone_is_guarded_as_well(self, store: ConversationStore) -> None:
        request = a_request()
        head = a_head(request)
        old = await store.save(Step(conversation=head), etag=None)
        with pytest.raises(StaleWrite):
            await store.save(Step(conversation=replace(head, retries=7)), etag=None)
        new = await store.save(Step(conversation=replace(head, retries=1)), etag=old)
        with pytest.raises(StaleWrite):
            await store.save(Step(conversation=replace(head, retries=2)), etag=old)
        assert await store.load(request.conversation_id) == Loaded(
            conversation=replace(head, retries=1), etag=new
        )

    async def test_a_run_row_is_replaced_by_the_last_word(self, store: ConversationStore) -> None:
        request = a_request()
        head = a_head(request)
        etag = await store.save(Step(conversation=head, runs=(Run.queued(request),)), etag=None)
        ended = an_ended_run(request)
        await store.save(
            Step(conversation=replace(head, write_id=an_id()), runs=(ended,)), etag=etag
        )
        assert await store.find_run(request.conversation_id, request.run_id) == ended

    async def test_head_and_run_are_loaded_as_they_stood_at_one_moment(
        self, store: ConversationStore
    ) -> None:
        """Else a run that has just ended looks new, or the conversation that owes its end idle."""
        for _ in range(12):
            request = a_request()
            head, after = a_head(request, queued=(request,)), a_head(request)

            async def end(head: Conversation, after: Conversation, run: Run) -> None:
                etag = await store.save(Step(conversation=head), etag=None)
                await store.save(Step(conversation=after, runs=(run,)), etag=etag)

            async def look(request: AdmittedRequest, after: Conversation) -> None:
                for _ in range(8):
                    loaded = await store.load(request.conversation_id, run_id=request.run_id)
                    assert (loaded.conversation == after) == (loaded.run is not None)

            ending = end(head, after, an_ended_run(request))
            await asyncio.gather(ending, *(look(request, after) for _ in range(3)))

    async def test_history_is_a_window_oldest_first(self, store: ConversationStore) -> None:
        request = a_request()
        name, etag = request.conversation_id, None
        for start in range(0, 24, 8):
            head = a_head(request, next_sequence=start + 8)
            step = Step(conversation=head, messages=some_messages(request, range(start, start + 8)))
            etag = await store.save(step, etag=etag)

        async def window(before: int, limit: int) -> list[int]:
            return [m.sequence for m in await store.history(name, before=before, limit=limit)]

        assert await window(24, 10) == list(range(14, 24))
        assert await window(20, 3) == [17, 18, 19]
        assert await window(5, 40) == [0, 1, 2, 3, 4]
        assert await window(24, 100) == list(range(24))
        assert await window(0, 10) == []

    async def test_a_step_with_large_texts_is_kept_whole(self, store: ConversationStore) -> None:
        request = a_request(message="f" * 50_000)
        messages = tuple(
            replace(message, content="ö" * 70_000) for message in some_messages(request, range(2))
        )
        ended = replace(an_ended_run(request), output="ö" * 70_000)
        outbox = (Outgoing(queue=MAIN_QUEUE, command=RunEnded(run=ended, owner="o")),)
        head = a_head(request, next_sequence=2, outbox=outbox)
        await store.save(Step(conversation=head, messages=messages, runs=(ended,)), etag=None)
        loaded = await store.load(request.conversation_id, run_id=request.run_id)
        assert (loaded.conversation, loaded.run) == (head, ended)
        assert await store.history(request.conversation_id, before=2, limit=2) == list(messages)

    async def test_a_full_queue_of_waiting_runs_fits_the_head(
        self, store: ConversationStore
    ) -> None:
        request = a_request()
        waiting = tuple(a_request(message="q" * 8_000) for _ in range(33))
        head = a_head(request, queued=waiting)
        await store.save(Step(conversation=head), etag=None)
        assert (await store.load(request.conversation_id)).conversation == head

    async def test_a_full_queue_of_very_large_requests_is_kept_and_taken_off(
        self, store: ConversationStore
    ) -> None:
        request = a_request()
        waiting = tuple(
            a_request(message=f"{number}" + "q" * 200_000, metadata={"m": f"{number}" * 9_000})
            for number in range(32)
        )
        head = a_head(request, queued=waiting)
        etag = await store.save(Step(conversation=head), etag=None)
        assert (await store.load(request.conversation_id)).conversation == head
        shorter = replace(head, queued=waiting[1:])
        ended = an_ended_run(waiting[0])
        etag = await store.save(Step(conversation=shorter, runs=(ended,)), etag=etag)
        assert await store.load(request.conversation_id, run_id=ended.run_id) == Loaded(
            conversation=shorter, etag=etag, run=ended
        )

    async def test_a_step_that_ends_every_waiting_run_is_saved(
        self, store: ConversationStore
    ) -> None:
        request = a_request()
        runs = tuple(
            replace(an_ended_run(a_request(metadata={"m": "ü" * 14_000})), output=f"{n}" * 16_000)
            for n in range(33)
        )
        outbox = tuple(
            Outgoing(queue=MAIN_QUEUE, command=RunEnded(run=run, owner="o")) for run in runs
        )
        head = a_head(request, outbox=outbox)
        await store.save(Step(conversation=head, runs=runs), etag=None)
        assert (await store.load(request.conversation_id)).conversation == head
        for run in (runs[0], runs[-1]):
            assert await store.find_run(request.conversation_id, run.run_id) == run


class RunIndexSuite:
    """Needs the fixture `index: RunIndex`. Owners and agents are new in every test."""

    async def test_runs_are_listed_by_agent_and_owner_newest_first(self, index: RunIndex) -> None:
        agent, mine, other = f"a-{an_id()}", an_id(), an_id()
        runs = [
            a_request(
                agent_id=agent,
                owner=mine if number % 2 else other,
                admitted_at=NOON + timedelta(seconds=number),
            )
            for number in range(6)
        ]
        for request in runs:
            await index.add(a_listed(request))
        assert await self._ids(index, agent_id=agent) == [r.run_id for r in reversed(runs)]
        assert await self._ids(index, owner=mine) == [r.run_id for r in reversed(runs[1::2])]
        assert await self._ids(index, agent_id=agent, owner=other) == [
            r.run_id for r in reversed(runs[0::2])
        ]
        assert await self._ids(index, agent_id=agent, since=NOON + timedelta(seconds=4)) == [
            runs[5].run_id,
            runs[4].run_id,
        ]
        assert await self._ids(index, agent_id=f"b-{an_id()}") == []

    async def test_an_admin_lists_everybodys_runs(self, index: RunIndex) -> None:
        runs = [a_request(owner=an_id(), admitted_at=NOON + timedelta(days=n)) for n in range(3)]
        for request in runs:
            await index.add(a_listed(request))
        found = await self._ids(index)
        assert [run_id for run_id in found if run_id in {r.run_id for r in runs}] == [
            r.run_id for r in reversed(runs)
        ]

    async def test_an_item_says_what_is_known(self, index: RunIndex) -> None:
        request = a_request(owner=an_id())
        await index.add(a_listed(request))
        page = await index.runs(
            agent_id=None, owner=request.owner, since=None, after=None, limit=10
        )
        assert page.items == [
            IndexedRun(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                agent_id=request.agent_id,
                owner=request.owner,
                created_at=request.admitted_at,
            )
        ]
        assert page.next is None

    async def test_entering_a_run_again_changes_nothing(self, index: RunIndex) -> None:
        request = a_request(owner=an_id())
        await index.add(a_listed(request))
        await index.add(a_listed(request))
        assert await self._ids(index, owner=request.owner) == [request.run_id]

    async def test_pages_join_without_gap_or_repeat(self, index: RunIndex) -> None:
        owner = an_id()
        runs = [a_request(owner=owner, admitted_at=NOON) for _ in range(4)]
        runs += [a_request(owner=owner, admitted_at=NOON + timedelta(days=n)) for n in range(1, 4)]
        for request in runs:
            await index.add(a_listed(request))
        found: list[str] = []
        after: str | None = None
        for _ in range(8):
            page = await index.runs(agent_id=None, owner=owner, since=None, after=after, limit=3)
            assert len(page.items) <= 3
            found += [item.run_id for item in page.items]
            after = page.next
            if after is None:
                break
        assert after is None
        assert len(found) == len(runs)
        assert set(found) == {request.run_id for request in runs}
        assert found[:3] == [request.run_id for request in reversed(runs[4:])]

    async def test_a_conversation_is_listed_once_by_its_first_run(self, index: RunIndex) -> None:
        owner, chat = an_id(), an_id()
        first = a_request(owner=owner, conversation_id=chat, admitted_at=NOON)
        second = a_request(
            owner=owner, conversation_id=chat, admitted_at=NOON + timedelta(seconds=9)
        )
        alone = a_request(owner=owner, admitted_at=NOON + timedelta(seconds=5))
        for request in (first, alone, second):
            await index.add(a_listed(request))
        page = await index.conversations(owner=owner, after=None, limit=10)
        assert [item.conversation_id for item in page.items] == [alone.conversation_id, chat]
        assert page.next is None
        assert (await index.conversations(owner=an_id(), after=None, limit=10)).items == []

    async def test_a_conversation_keeps_its_place_when_a_run_is_entered_again(
        self, index: RunIndex
    ) -> None:
        owner = an_id()
        first = a_request(owner=owner)
        second = a_request(
            owner=owner,
            conversation_id=first.conversation_id,
            admitted_at=NOON + timedelta(seconds=1),
        )
        for request in (first, second, first, second):
            await index.add(a_listed(request))
        page = await index.conversations(owner=owner, after=None, limit=10)
        assert [item.run_id for item in page.items] == [first.run_id]

    async def test_an_admins_run_in_anothers_conversation_makes_it_not_the_admins(
        self, index: RunIndex
    ) -> None:
        owner, admin, chat = an_id(), an_id(), an_id()
        mine = a_request(owner=owner, conversation_id=chat)
        theirs = a_request(
            owner=admin, conversation_id=chat, admitted_at=NOON + timedelta(seconds=1)
        )
        for request in (mine, theirs):
            await index.add(a_listed(request))
        assert (await index.conversations(owner=admin, after=None, limit=10)).items == []
        assert await self._ids(index, owner=admin) == [theirs.run_id]

    async def test_an_admin_lists_everybodys_conversations(self, index: RunIndex) -> None:
        later = NOON + timedelta(days=900)
        begun = [a_request(owner=an_id(), admitted_at=later) for _ in range(2)]
        for request in begun:
            await index.add(a_listed(request))
        page = await index.conversations(owner=None, after=None, limit=2)
        assert {item.run_id for item in page.items} == {request.run_id for request in begun}

    async def test_many_runs_entered_at_once_are_all_listed(self, index: RunIndex) -> None:
        owner = an_id()
        runs = [a_request(owner=owner) for _ in range(150)]
        await asyncio.gather(*map(index.add, map(a_listed, runs)))
        assert set(await self._ids(index, owner=owner)) == {request.run_id for request in runs}

    async def test_conversations_are_paged(self, index: RunIndex) -> None:
        owner = an_id()
        runs = [a_request(owner=owner, admitted_at=NOON + timedelta(days=n)) for n in range(5)]
        for request in runs:
            await index.add(a_listed(request))
        first = await index.conversations(owner=owner, after=None, limit=3)
        rest = await index.conversations(owner=owner, after=first.next, limit=3)
        found = [item.conversation_id for item in (*first.items, *rest.items)]
        assert found == [request.conversation_id for request in reversed(runs)]
        assert rest.next is None

    async def _ids(
        self,
        index: RunIndex,
        *,
        agent_id: str | None = None,
        owner: str | None = None,
        since: datetime | None = None,
    ) -> list[str]:
        found: list[str] = []
        after: str | None = None
        for _ in range(20):
            page = await index.runs(
                agent_id=agent_id, owner=owner, since=since, after=after, limit=50
            )
            found += [item.run_id for item in page.items]
            after = page.next
            if after is None:
                return found
        raise AssertionError("a list without an end")


class LedgerSuite:
    """Needs the fixture `ledger: Ledger`."""

    async def test_a_run_is_unseen_until_it_is_recorded(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        entry = await ledger.look(run)
        assert entry.seen is False
        await ledger.record(run, entry)
        assert (await ledger.look(run)).seen is True

    async def test_of_two_who_record_at_once_one_wins(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        entry = await ledger.look(run)
        answers = await asyncio.gather(
            *(ledger.record(run, entry) for _ in range(3)), return_exceptions=True
        )
        assert sorted(type(answer).__name__ for answer in answers) == [
            "NoneType",
            "StaleWrite",
            "StaleWrite",
        ]

    async def test_a_recorded_run_cannot_be_recorded_with_a_new_look(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        await ledger.record(run, await ledger.look(run))
        with pytest.raises(StaleWrite):
            await ledger.record(run, await ledger.look(run))

    async def test_runs_of_one_agent_are_each_recorded_when_looked_at_again(
        self, ledger: Ledger
    ) -> None:
        agent = f"a-{an_id()}"
        runs = [an_ended_run(a_request(agent_id=agent)) for _ in range(20)]

        async def record(run: Run) -> None:
            for _ in range(30):
                try:
                    await ledger.record(run, await ledger.look(run))
                except StaleWrite:
                    continue
                return
            raise AssertionError("never recorded")

        await asyncio.gather(*map(record, runs))
        assert [(await ledger.look(run)).seen for run in runs] == [True] * 20


class BusProbe(Protocol):
    """The other end of a bus under test."""

    async def take(
        self, entity: str, *, session_id: str | None = None, seconds: float = 5.0
    ) -> ReceivedMessage | None:
        """Receive and complete the next message; None when none came in time."""
        ...


class BusSuite:
    """Needs the fixtures `bus: Bus` and `probe: BusProbe`, over queues that are empty."""

    async def test_a_command_for_realm_comes_out_on_its_session(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert got is not None
        assert read_command(got.body) == start
        assert (got.entity, got.message_id) == (REALM_QUEUE, start.command_id)
        assert got.session_id == start.conversation_id
        assert got.delivery_count == 1
        assert got.properties.get("run_id") == start.run_id

    async def test_commands_of_one_session_keep_their_order(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        chat = an_id()
        commands = [
            StartRun(request=a_request(conversation_id=chat)),
            CancelRun(request=a_request(conversation_id=chat)),
            ContinueRun(run_id=an_id(), conversation_id=chat),
        ]
        for command in commands:
            await bus.send(to_realm(command))
        got = [await probe.take(REALM_QUEUE, session_id=chat) for _ in commands]
        assert [read_command(message.body) for message in got if message] == commands

    async def test_the_same_command_twice_is_two_messages(self, bus: Bus, probe: BusProbe) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        await bus.send(to_realm(start))
        for _ in range(2):
            assert await probe.take(REALM_QUEUE, session_id=start.conversation_id) is not None

    async def test_an_end_goes_to_main_without_a_session(self, bus: Bus, probe: BusProbe) -> None:
        request = a_request()
        ended = RunEnded(run=an_ended_run(request), owner="o", reply=request.reply)
        await bus.send(Outgoing(queue=MAIN_QUEUE, command=ended))
        got = await probe.take(MAIN_QUEUE)
        assert got is not None
        assert read_command(got.body) == ended

    async def test_a_scheduled_command_comes_later(self, bus: Bus, probe: BusProbe) -> None:
        chat = an_id()
        soon = datetime.now(UTC) + timedelta(seconds=2)
        later = ContinueRun(run_id=an_id(), conversation_id=chat, due=soon)
        await bus.send(to_realm(later, scheduled_at=soon))
        assert await probe.take(REALM_QUEUE, session_id=chat, seconds=0.5) is None
        got = await probe.take(REALM_QUEUE, session_id=chat, seconds=10.0)
        assert got is not None
        assert got.message_id == later.command_id

    async def test_a_reply_has_the_contracts_properties(self, bus: Bus, probe: BusProbe) -> None:
        run_id = an_id()
        reply = Reply(
            entity=RESPONSES_QUEUE,
            message_id=f"{run_id}:reply",
            correlation_id="order-4711",
            session_id="chat",
            body={"version": 1, "type": "run.completed", "output": HARD_TEXT},
            traceparent=TRACE,
        )
        await bus.reply(reply)
        await bus.reply(reply)
        got = await probe.take(RESPONSES_QUEUE)
        assert got is not None
        assert json.loads(got.body) == reply.body
        assert (got.message_id, got.correlation_id) == (reply.message_id, reply.correlation_id)
        assert (got.session_id, got.traceparent) == ("chat", TRACE)
        assert await probe.take(RESPONSES_QUEUE, seconds=0.5) is None

    async def test_an_event_is_published_without_trouble(self, bus: Bus) -> None:
        await bus.publish(
            Event(
                topic="agent-events",
                id=an_id(),
                type="run.completed",
                source="aos/agents/ceo",
                time=NOON,
                data={"output": HARD_TEXT},
            )
        )

    async def test_a_postponed_copy_keeps_what_the_message_was(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        """Session, properties, correlation, reply address and key stay; the attempt is new."""
        first = ReceivedMessage(
            entity=REQUESTS_QUEUE,
            body=b'{"agent_id":"ceo","message":"hi"}',
            message_id=an_id(),
            sequence_number=42,
            correlation_id="c",
            reply_to="elsewhere",
            reply_to_session_id="s",
            content_type="application/json",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            traceparent=TRACE,
            properties={"aos_owner": "me", "n": 1},
        )
        soon = datetime.now(UTC) + timedelta(seconds=4)
        await bus.postpone(first, at=soon, attempt=3)
        assert await probe.take(REQUESTS_QUEUE, seconds=0.5) is None
        got = await probe.take(REQUESTS_QUEUE, seconds=10.0)
        assert got is not None
        assert (got.body, got.key, got.attempt) == (first.body, first.key, 3)
        assert (got.correlation_id, got.reply_to, got.reply_to_session_id) == (
            "c",
            "elsewhere",
            "s",
        )
        assert (got.content_type, got.traceparent) == (first.content_type, TRACE)
        assert {name: got.properties.get(name) for name in first.properties} == first.properties
        assert got.expires_at is not None
        assert first.expires_at is not None
        assert abs(got.expires_at - first.expires_at) < timedelta(seconds=5)

    async def test_a_postponed_nameless_message_keeps_its_place_as_key(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        first = ReceivedMessage(
            entity=REQUESTS_QUEUE, body=b"{}", message_id=None, sequence_number=4711
        )
        await bus.postpone(first, at=datetime.now(UTC), attempt=1)
        got = await probe.take(REQUESTS_QUEUE)
        assert got is not None
        assert got.key == first.key

    async def test_a_postponed_command_stays_on_its_session(
        self, bus: Bus, probe: BusProbe
    ) -> None:
        start = StartRun(request=a_request())
        await bus.send(to_realm(start))
        got = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert got is not None
        await bus.postpone(got, at=datetime.now(UTC), attempt=1)
        again = await probe.take(REALM_QUEUE, session_id=start.conversation_id)
        assert again is not None
        assert read_command(again.body) == start
        assert (again.session_id, again.attempt, again.key) == (got.session_id, 1, got.key)
