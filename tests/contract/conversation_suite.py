"""Suite of the port `ConversationStore`, for the fake and the real adapter.

A test class inherits a suite and gives it the fixture `store`, freshly made for each test and
empty. Ids are new in every test, so suites may share an account.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aos.domain.envelope import (
    MAIN_QUEUE,
    ContinueRun,
    Outgoing,
    RunEnded,
    to_realm,
)
from aos.domain.runs.conversation import ActiveRun, Conversation, Step
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.errors import ErrorInfo, StaleWrite
from aos.ports.conversations import ConversationStore, Loaded
from tests.samples import NOON, a_head, a_request, an_ended_run, an_id, some_messages


class ConversationStoreSuite:
    """Needs the fixture `store: ConversationStore`."""

    async def test_an_unknown_conversation_is_empty(self, store: ConversationStore) -> None:
        assert await store.load(an_id()) == Loaded()
        assert await store.load(an_id(), run_id=an_id()) == Loaded()
        assert await store.read_history(an_id(), before=10, limit=10) == []
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
            Run.from_request(waiting),
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
        assert await store.read_history(name, before=2, limit=40) == list(messages)

    async def test_of_two_first_saves_one_wins(self, store: ConversationStore) -> None:
        request = a_request()
        steps = [
            Step(conversation=a_head(request), runs=(Run.from_request(request),)) for _ in range(4)
        ]
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
        assert await store.read_history(request.conversation_id, before=10, limit=10) == []

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
        etag = await store.save(
            Step(conversation=head, runs=(Run.from_request(request),)), etag=None
        )
        ended = an_ended_run(request)
        await store.save(
            Step(conversation=replace(head, write_id=an_id()), runs=(ended,)), etag=etag
        )
        assert await store.find_run(request.conversation_id, request.run_id) == ended

    async def test_the_head_of_a_run_that_is_found_is_not_older_than_its_row(
        self, store: ConversationStore
    ) -> None:
        """Else the conversation that owes the end of a run looks idle."""
        for _ in range(12):
            request = a_request()
            head, after = a_head(request, queued=(request,)), a_head(request)

            async def end(head: Conversation, after: Conversation, run: Run) -> None:
                etag = await store.save(Step(conversation=head), etag=None)
                await store.save(Step(conversation=after, runs=(run,)), etag=etag)

            async def look(request: AdmittedRequest, after: Conversation) -> None:
                for _ in range(8):
                    loaded = await store.load(request.conversation_id, run_id=request.run_id)
                    assert loaded.run is None or loaded.conversation == after

            ending = end(head, after, an_ended_run(request))
            await asyncio.gather(ending, *(look(request, after) for _ in range(3)))

    async def test_a_run_that_is_taken_for_new_has_no_row(self, store: ConversationStore) -> None:
        request = a_request()
        head, ended = a_head(request), an_ended_run(request)
        late = Step(
            conversation=replace(head, next_sequence=2, write_id=an_id()),
            messages=some_messages(request, range(2)),
            runs=(Run.from_request(request),),
        )
        etag = await store.save(Step(conversation=head, runs=(ended,)), etag=None)
        with pytest.raises(StaleWrite):
            await store.save(late, etag=etag, new_run_id=request.run_id)
        assert await store.load(request.conversation_id, run_id=request.run_id) == Loaded(
            conversation=head, etag=etag, run=ended
        )
        other = a_request()
        new = replace(late, runs=(ended, an_ended_run(other)))
        await store.save(new, etag=etag, new_run_id=other.run_id)
        assert await store.find_run(request.conversation_id, other.run_id) is not None

    async def test_history_is_a_window_oldest_first(self, store: ConversationStore) -> None:
        request = a_request()
        name, etag = request.conversation_id, None
        for start in range(0, 24, 8):
            head = a_head(request, next_sequence=start + 8)
            step = Step(conversation=head, messages=some_messages(request, range(start, start + 8)))
            etag = await store.save(step, etag=etag)

        async def window(before: int, limit: int) -> list[int]:
            return [m.sequence for m in await store.read_history(name, before=before, limit=limit)]

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
        assert await store.read_history(request.conversation_id, before=2, limit=2) == list(
            messages
        )

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

    async def test_waiting_requests_with_images_and_their_message_are_kept_whole(
        self, store: ConversationStore
    ) -> None:
        parts = ({"type": "image", "mimeType": "image/png", "data": "iVBO" * 100_000},)
        request = a_request(parts=parts)
        waiting = tuple(a_request(parts=parts, message=f"{number}") for number in range(32))
        [message] = (replace(m, parts=parts) for m in some_messages(request, range(1)))
        head = a_head(request, queued=waiting, next_sequence=1)
        await store.save(Step(conversation=head, messages=(message,)), etag=None)
        assert (await store.load(request.conversation_id)).conversation == head
        assert await store.read_history(request.conversation_id, before=1, limit=1) == [message]

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
