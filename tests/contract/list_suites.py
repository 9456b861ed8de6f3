"""Suites of the ports `RunIndex`, `Ledger`, `UsageReader` and `SpendingStore`, for the fake and the
real adapter.

A test class inherits a suite and gives it the fixture `index` or `ledger`, freshly made for each
test and empty. Ids are new in every test, so suites may share an account.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aos.domain.budgets import Budget, DaySpending
from aos.domain.runs.run import Run, Usage
from aos.domain.usage import UsageRow
from aos.errors import StaleWrite
from aos.ports.cleaning import RunCleaner
from aos.ports.index import IndexedRun, RunIndex
from aos.ports.ledger import CountedRun, Ledger
from aos.ports.spending import SpendingStore, StoredSpending
from aos.ports.usage import UsageReader
from tests.samples import NOON, a_listed, a_request, an_ended_run, an_id


class RunIndexSuite:
    """Needs the fixtures `index: RunIndex` and `cleaner: RunCleaner` of the same rows. Owners and
    agents are new in every test."""

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
        page = await index.list_runs(
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
            page = await index.list_runs(
                agent_id=None, owner=owner, since=None, after=after, limit=3
            )
            assert len(page.items) <= 3
            found += [item.run_id for item in page.items]
            after = page.next
            if after is None:
                break
        assert after is None
        assert len(found) == len(runs)
        assert set(found) == {request.run_id for request in runs}
        assert found[:3] == [request.run_id for request in reversed(runs[4:])]

    async def test_the_first_run_of_a_conversation_is_found(self, index: RunIndex) -> None:
        chat = f"chat-{an_id()[:8]}"
        assert await index.find_first(chat) is None
        runs = [
            a_request(owner=owner, conversation_id=chat, admitted_at=NOON + timedelta(seconds=n))
            for n, owner in enumerate((an_id(), an_id()))
        ]
        for request in runs:
            await index.add(a_listed(request))
        assert await index.find_first(chat) == a_listed(runs[0])

    async def test_a_conversation_is_listed_once_by_its_first_run(self, index: RunIndex) -> None:
        owner, chat = an_id(), an_id()
        first = a_request(owner=owner, conversation_id=chat, admitted_at=NOON)
        second = a_request(
            owner=owner, conversation_id=chat, admitted_at=NOON + timedelta(seconds=9)
        )
        alone = a_request(owner=owner, admitted_at=NOON + timedelta(seconds=5))
        for request in (first, alone, second):
            await index.add(a_listed(request))
        page = await index.list_conversations(owner=owner, after=None, limit=10)
        assert [item.conversation_id for item in page.items] == [alone.conversation_id, chat]
        assert page.next is None
        assert (await index.list_conversations(owner=an_id(), after=None, limit=10)).items == []

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
        page = await index.list_conversations(owner=owner, after=None, limit=10)
        assert [item.run_id for item in page.items] == [first.run_id]

    async def test_a_conversation_that_begins_anew_after_its_entry_was_removed_is_listed(
        self, index: RunIndex, cleaner: RunCleaner
    ) -> None:
        owner, chat = an_id(), f"chat-{an_id()[:8]}"
        old, new, next_one = [
            a_request(owner=owner, conversation_id=chat, admitted_at=NOON + timedelta(days=days))
            for days in (0, 31, 32)
        ]
        await index.add(a_listed(old))
        await cleaner.unlist(chat)
        for request in (new, next_one):
            await index.add(a_listed(request))
        page = await index.list_conversations(owner=owner, after=None, limit=10)
        assert [item.run_id for item in page.items] == [new.run_id]

    async def test_a_conversation_that_two_owners_began_at_once_is_in_the_list_of_each(
        self, index: RunIndex
    ) -> None:
        """Realm decides whose it is; the reader looks at its head."""
        chat, owners = an_id(), (an_id(), an_id())
        runs = [
            a_request(
                owner=owner, conversation_id=chat, admitted_at=NOON + timedelta(seconds=number)
            )
            for number, owner in enumerate((*owners, *owners))
        ]
        for request in runs:
            await index.add(a_listed(request))
        for owner, first in zip(owners, runs[:2], strict=True):
            page = await index.list_conversations(owner=owner, after=None, limit=10)
            assert [item.run_id for item in page.items] == [first.run_id]

    async def test_a_conversation_named_after_anothers_run_is_in_the_list_of_each(
        self, index: RunIndex
    ) -> None:
        first = a_request(owner=an_id())
        second = a_request(
            owner=an_id(),
            conversation_id=first.conversation_id,
            admitted_at=NOON + timedelta(seconds=1),
        )
        for request in (second, first):
            await index.add(a_listed(request))
        for request in (first, second):
            page = await index.list_conversations(owner=request.owner, after=None, limit=10)
            assert [item.run_id for item in page.items] == [request.run_id]

    async def test_an_admin_lists_everybodys_conversations(self, index: RunIndex) -> None:
        later = NOON + timedelta(days=900)
        begun = [a_request(owner=an_id(), admitted_at=later) for _ in range(2)]
        for request in begun:
            await index.add(a_listed(request))
        page = await index.list_conversations(owner=None, after=None, limit=2)
        assert {item.run_id for item in page.items} == {request.run_id for request in begun}

    async def test_many_runs_entered_at_once_are_all_listed(self, index: RunIndex) -> None:
        owner = an_id()
        runs = [a_request(owner=owner) for _ in range(150)]
        await asyncio.gather(*map(index.add, map(a_listed, runs)))
        assert set(await self._ids(index, owner=owner)) == {request.run_id for request in runs}

    async def test_many_runs_are_entered_by_one_call(self, index: RunIndex) -> None:
        agents, owners, chat = [f"a-{an_id()}", f"b-{an_id()}"], [an_id(), an_id()], an_id()
        runs = [
            a_request(
                agent_id=agents[n % 2],
                owner=owners[n % 2],
                admitted_at=NOON + timedelta(seconds=n),
                **({"conversation_id": chat} if n < 6 else {}),
            )
            for n in range(200)
        ]
        await index.add(*(a_listed(request) for request in reversed(runs)))
        for n in (0, 1):
            wanted = [request.run_id for request in reversed(runs[n::2])]
            assert await self._ids(index, agent_id=agents[n]) == wanted
            assert await self._ids(index, owner=owners[n]) == wanted
            page = await index.list_conversations(owner=owners[n], after=None, limit=200)
            assert [item.run_id for item in page.items if item.conversation_id == chat] == [
                runs[n].run_id
            ]
        first = await index.find_first(chat)
        assert first is not None
        assert first.run_id == runs[0].run_id

    async def test_conversations_are_paged(self, index: RunIndex) -> None:
        owner = an_id()
        runs = [a_request(owner=owner, admitted_at=NOON + timedelta(days=n)) for n in range(5)]
        for request in runs:
            await index.add(a_listed(request))
        first = await index.list_conversations(owner=owner, after=None, limit=3)
        rest = await index.list_conversations(owner=owner, after=first.next, limit=3)
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
            page = await index.list_runs(
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
        assert not await ledger.is_recorded(run)
        await ledger.record(CountedRun(run=run, owner="ann"))
        assert await ledger.is_recorded(run)

    async def test_of_two_who_record_at_once_one_wins(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        answers = await asyncio.gather(
            *(ledger.record(CountedRun(run=run, owner="ann")) for _ in range(3)),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == [
            "NoneType",
            "StaleWrite",
            "StaleWrite",
        ]

    async def test_a_recorded_run_cannot_be_recorded_again(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        await ledger.record(CountedRun(run=run, owner="ann"))
        with pytest.raises(StaleWrite):
            await ledger.record(CountedRun(run=run, owner="ann"))

    async def test_runs_are_recorded_together_or_not_at_all(self, ledger: Ledger) -> None:
        agent = f"a-{an_id()}"
        runs = [an_ended_run(a_request(agent_id=agent)) for _ in range(40)]
        counted = [CountedRun(run=run, owner=f"o-{n}") for n, run in enumerate(runs)]
        await ledger.record(*counted[:3])
        with pytest.raises(StaleWrite):
            await ledger.record(*counted[2:])
        assert [await ledger.is_recorded(run) for run in runs[:5]] == [True] * 3 + [False] * 2
        await ledger.record(*counted[3:])
        assert await asyncio.gather(*map(ledger.is_recorded, runs)) == [True] * 40

    async def test_a_recorded_run_was_told(self, ledger: Ledger) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        assert await ledger.find(run) is None
        await ledger.record(CountedRun(run=run, owner="ann"))
        seen = await ledger.find(run)
        assert seen is not None
        assert (seen.told, seen.counted) == (True, True)

    @pytest.mark.parametrize("told", [False, True])
    async def test_an_end_that_was_sent_and_not_counted_is_counted_once(
        self, ledger: Ledger, *, told: bool
    ) -> None:
        run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
        sent = CountedRun(run=run, owner="ann", told=told)
        await ledger.note_sent(sent)
        with pytest.raises(StaleWrite):
            await ledger.note_sent(sent)
        with pytest.raises(StaleWrite):
            await ledger.record(sent)
        assert await ledger.is_recorded(run)
        seen = await ledger.find(run)
        assert seen is not None
        assert (seen.told, seen.counted) == (told, False)
        over = CountedRun(run=run, owner="ann", etag=seen.etag)
        await ledger.record(over)
        seen = await ledger.find(run)
        assert seen is not None
        assert (seen.told, seen.counted) == (True, True)
        with pytest.raises(StaleWrite):
            await ledger.record(over)

    async def test_runs_of_one_agent_are_each_recorded_when_looked_at_again(
        self, ledger: Ledger
    ) -> None:
        agent = f"a-{an_id()}"
        runs = [an_ended_run(a_request(agent_id=agent)) for _ in range(20)]

        await asyncio.gather(*(_record(ledger, run, owner="ann") for run in runs))
        assert [await ledger.is_recorded(run) for run in runs] == [True] * 20


class UsageSuite:
    """Needs the fixtures `ledger: Ledger` and `usage: UsageReader` of the same rows."""

    async def test_usage_is_read_by_day_agent_owner_and_model(
        self, ledger: Ledger, usage: UsageReader
    ) -> None:
        agent, other = f"a-{an_id()}", f"b-{an_id()}"
        ann, bob = f"Änn/#? {an_id()}", f"bob-{an_id()}"
        spent = Usage(input_tokens=11, output_tokens=5, cached_tokens=7, reasoning_tokens=3)
        for agent_id, owner, model, days in (
            (agent, ann, "m", 0),
            (agent, ann, "m", 0),
            (agent, ann, "big", 0),
            (agent, bob, "m", 0),
            (other, ann, None, 1),
            (other, ann, "m", 2),
        ):
            run = _in_the_first_bucket(agent_id)
            ended_at = NOON + timedelta(days=days)
            run = replace(run, model=model, usage=spent, ended_at=ended_at)
            await _record(ledger, run, owner=owner)

        async def read(
            agent_id: str | None, owner: str | None, last: str = "2030-01-02"
        ) -> dict[tuple[str, ...], tuple[int, Usage]]:
            found = await usage.read(
                first="2030-01-01", last=last, agent_id=agent_id, owner=owner, most=10_000
            )
            assert found.complete
            return _sum_rows(found.rows)

        one, two = (1, spent), (2, spent + spent)
        of_ann = {
            (agent, "2030-01-01", ann, "m"): two,
            (agent, "2030-01-01", ann, "big"): one,
            (other, "2030-01-02", ann, ""): one,
        }
        of_bob = {(agent, "2030-01-01", bob, "m"): one}
        assert await read(None, ann) == of_ann
        assert await read(None, bob) == of_bob
        again = _in_the_first_bucket(agent)
        pair = [replace(again, run_id=an_id(), model=model, usage=spent) for model in ("m", "big")]
        pair = [replace(run, ended_at=NOON) for run in pair]
        await ledger.record(*(CountedRun(run=run, owner=ann) for run in pair))  # two rows at once
        of_ann[agent, "2030-01-01", ann, "m"] = (3, two[1] + spent)
        of_ann[agent, "2030-01-01", ann, "big"] = two
        assert await read(None, ann) == of_ann
        everybody = (await read(None, None)).items()
        assert of_ann.items() | of_bob.items() <= everybody
        assert await read(other, ann, last="2030-01-01") == {}
        assert (await read(agent, None)).keys() == (of_ann | of_bob).keys() - {
            (other, "2030-01-02", ann, "")
        }

    async def test_more_rows_than_asked_for_are_said_to_be_missing(
        self, ledger: Ledger, usage: UsageReader
    ) -> None:
        agent = f"a-{an_id()}"
        for number in range(3):
            run = an_ended_run(a_request(agent_id=agent))
            await _record(ledger, run, owner=f"o-{number}")
        for most, complete in ((2, False), (3, True)):
            found = await usage.read(
                first="2030-01-01", last="2030-01-01", agent_id=agent, owner=None, most=most
            )
            assert (len(found.rows), found.complete) == (most, complete)


def _in_the_first_bucket(agent_id: str) -> Run:
    """An ended run; those of a day share a row if their owner and model are the same."""
    while True:
        run = an_ended_run(a_request(agent_id=agent_id))
        if hashlib.sha256(run.run_id.encode()).digest()[0] % 16 == 0:
            return run


async def _record(ledger: Ledger, run: Run, *, owner: str) -> None:
    """Record a run as `Replies` does, which looks again when another wrote meanwhile."""
    for _ in range(30):
        try:
            await ledger.record(CountedRun(run=run, owner=owner))
        except StaleWrite:
            continue
        return
    raise AssertionError("never recorded")


def _sum_rows(rows: Sequence[UsageRow]) -> dict[tuple[str, ...], tuple[int, Usage]]:
    found: dict[tuple[str, ...], tuple[int, Usage]] = {}
    for row in rows:
        key = (row.agent_id, row.day, str(row.owner), str(row.model))
        runs, usage = found.get(key, (0, Usage()))
        found[key] = (runs + row.runs, usage + row.usage)
    return found


class SpendingSuite:
    """Needs the fixture `spending: SpendingStore`."""

    async def test_what_was_written_is_read_whole(self, spending: SpendingStore) -> None:
        agent = f"a-{an_id()}"
        owner = Budget(of="owner", name=f"Zoë/#? {an_id()}", tokens=1).account
        written = DaySpending(
            tokens=3_000_000_000, turns=2, lost_turns=1, open_turns={"r-1": "t-1", "r-2": "t-2"}
        )
        for account in (agent, owner):
            assert await spending.read(account, DAY) == StoredSpending()
            etag = await spending.write(account, DAY, written, etag=None)
            assert await spending.read(account, DAY) == StoredSpending(spending=written, etag=etag)
            assert await spending.read(account, "2030-01-02") == StoredSpending()

    async def test_a_row_that_changed_is_not_written(self, spending: SpendingStore) -> None:
        agent = f"a-{an_id()}"
        first = await spending.write(agent, DAY, DaySpending(tokens=1), etag=None)
        second = await spending.write(agent, DAY, DaySpending(tokens=2), etag=first)
        for etag in (None, first):
            with pytest.raises(StaleWrite):
                await spending.write(agent, DAY, DaySpending(tokens=9), etag=etag)
        kept = await spending.read(agent, DAY)
        assert kept == StoredSpending(spending=DaySpending(tokens=2), etag=second)

    async def test_the_row_of_many_open_turns_is_written(self, spending: SpendingStore) -> None:
        """The service refuses a property of more than 32 Ki characters."""
        kept = DaySpending()
        for _ in range(1000):
            kept = kept.open_turn(an_id(), an_id())
        agent = f"a-{an_id()}"
        await spending.write(agent, DAY, kept, etag=None)
        assert (await spending.read(agent, DAY)).spending == kept


DAY = "2030-01-01"
