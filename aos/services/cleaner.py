"""Removes what is old: rows of runs, conversations by their age, usage. Entry point:
`Cleaner.clean`.

A tick follows what is due, not what exists. The lists of runs are ordered by time, so the runs that
became old since the last tick are one range; what must be looked at on a certain day has a row with
that time. Conversations are deleted by realm: main only sends it the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from aos.domain.budgets import Budget
from aos.domain.row_kinds import REQUEST_RETENTION, USAGE_RETENTION
from aos.domain.runs.conversation import Conversation
from aos.domain.transcripts import make_transcript_name
from aos.errors import AosError, TransientError
from aos.ports.blobs import BlobStore
from aos.ports.cleaning import Due, DueStore, OldRun, RunCleaner, Window
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun
from aos.ports.requests import RequestStore
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.deletions import ConversationDeletions
from aos.services.forgotten_letters import Deletion, ForgottenLetters

PAGE = 100
TICK_SECONDS = 120.0
"""A tick begins no further page after this time; the next tick continues."""
ALL_RUNS = "runs"
NUDGE_PAUSE = timedelta(minutes=5)
LOOK_AGAIN = timedelta(days=1)
SECOND_LOOK = timedelta(hours=1)
"""After a deletion; no request that was under way then still is."""
AT_ONCE = 8
WORST_SKEW = timedelta(minutes=1)


class WaitingItems(Protocol):
    """What callers added to conversations and no response has taken."""

    async def drop(self, conversation_id: str) -> None:
        """Remove what waits at a conversation."""
        ...

    async def expire(self, conversation_id: str) -> datetime | None:
        """Remove what is too old; return when to look again."""
        ...


class Cleaner:
    """Main's use case: clean what is due."""

    def __init__(
        self,
        *,
        due: DueStore,
        rows: RunCleaner,
        requests: RequestStore,
        conversations: ConversationStore,
        deletions: ConversationDeletions,
        letters: ForgottenLetters,
        logs: BlobStore,
        read_ages: Callable[[], Awaitable[Mapping[str, int]]],
        items: WaitingItems,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """`read_ages` returns `memory.ttl_days` of the agents that have it, by agent."""
        self._due = due
        self._rows = rows
        self._requests = requests
        self._conversations = conversations
        self._deletions = deletions
        self._letters = letters
        self._logs = logs
        self._read_ages = read_ages
        self._items = items
        self._clock = clock
        self._telemetry = telemetry

    async def clean(self) -> None:
        """Do what is due, a bounded part of it. Raises TransientError when storage is away."""
        until = self._clock.monotonic() + TICK_SECONDS
        windows = await self._due.read_windows()
        await self._do_due(until)
        days = REQUEST_RETENTION.days
        await self._look_through(ALL_RUNS, days, windows, self._remove_old, None, until)
        for agent_id, days in (await self._read_ages()).items():
            name = f"ttl:{agent_id}"
            expire = partial(self._expire, days=days)
            await self._look_through(name, days, windows, expire, agent_id, until)

    async def _do_due(self, until: float) -> None:
        """Do what has a row with a time. What fails is logged, and looked at again later."""
        while self._clock.monotonic() < until:
            found = await self._due.list_due(self._clock.now(), limit=PAGE)
            deleted: dict[Due, str] = {}
            for due in found:
                if self._clock.monotonic() >= until:
                    break
                await self._do_safely(due, deleted)
            await self._purge_letters(deleted)
            if len(found) < PAGE:
                return

    async def _do_safely(self, due: Due, deleted: dict[Due, str]) -> None:
        try:
            match due.kind:
                case "deletion":
                    await self._follow_deletion(due, deleted)
                case "run":
                    await self._remove_run(due.run, is_first=False)
                    await self._due.drop(due)
                case "refusal":
                    await self._rows.remove_run(due.run, listed=False)
                    await self._due.drop(due)
                case "transcript":
                    await self._logs.delete(make_transcript_name(due.conversation_id, due.name))
                    await self._due.drop(due)
                case "items":
                    again = await self._items.expire(due.name)
                    await (self._due.drop(due) if again is None else self._move(due, again))
                case "usage":
                    await self._rows.remove_usage(due.name, day=due.about)
                    await self._due.drop(due)
        except TransientError:
            raise
        except AosError as error:
            self._telemetry.log(
                "cleaning_failed", level="error", kind=due.kind, name=due.name, reason=str(error)
            )
            await self._move(due, self._clock.now() + LOOK_AGAIN)

    async def _follow_deletion(self, due: Due, deleted: dict[Due, str]) -> None:
        """See to it that realm deletes, looks once more an hour later, and ends the head 30 days
        later.

        What realm has deleted is added to `deleted`, with the owner.
        """
        now, at = self._clock.now(), due.about
        head = (await self._conversations.load(due.name)).conversation
        if head is None and await self._is_on_its_way(due):
            await self._deletions.tell_realm(due)
            await self._move(due, now + NUDGE_PAUSE)
        elif head is None:
            await self._rows.unlist(due.name)
            await self._due.drop(due)
        elif _is_past(head, due):
            await self._due.drop(due)
        elif head.deleted_at == at and head.cleaning is None and now < at + REQUEST_RETENTION:
            if await self._look_again(due):
                deleted[due] = head.owner
        elif due.unused and head.deleted_at != at and not await self._is_over(due, head):
            await self._due.drop(due)
        else:
            await self._deletions.tell_realm(due)
            await self._move(due, now + NUDGE_PAUSE)

    async def _look_again(self, due: Due) -> bool:
        """An hour after the deletion let realm look once more for rows that were written late.

        A main that died meanwhile told nobody of them. True: it is not the time, or it was done.
        """
        if due.again or due.unused or self._clock.now() < due.about + SECOND_LOOK:
            return True
        told = replace(due, again=True)
        again = told if await self._deletions.tell_realm(told) else due
        await self._due.put(replace(again, due_at=self._clock.now() + NUDGE_PAUSE))
        await self._due.drop(due)
        return False

    async def _is_on_its_way(self, due: Due) -> bool:
        """Whether realm has still to see the run that begins a deleted conversation."""
        if due.first_run_id is None:
            return False
        stored = await self._requests.find(due.first_run_id)
        return stored is not None and not stored.scrubbed

    async def _is_over(self, due: Due, head: Conversation) -> bool:
        """Whether the conversation's time may be over; if it was used since, it is looked at
        later."""
        days = (await self._read_ages()).get(head.agent_id)
        if days is None:
            return False
        if not due.checks and due.about + timedelta(days=days) <= self._clock.now():
            return True
        used_at, _ = await self._find_last_use(head)
        await self._look_later(head.conversation_id, used_at, days=days)
        return False

    async def _purge_letters(self, deleted: Mapping[Due, str]) -> None:
        """Remove the dead letters of the conversations that realm has deleted."""
        is_done = await self._letters.purge(
            [
                Deletion(conversation_id=due.name, owner=owner, deleted_at=due.about)
                for due, owner in deleted.items()
            ]
        )
        for due in deleted:
            await self._items.drop(due.name)
            if not is_done:
                due_at = self._clock.now() + NUDGE_PAUSE
            elif due.again or due.unused:
                due_at = due.about + REQUEST_RETENTION
            else:
                due_at = max(due.about + SECOND_LOOK, self._clock.now() + NUDGE_PAUSE)
            await self._move(due, due_at)

    async def _look_through(
        self,
        name: str,
        days: int,
        windows: Mapping[str, Window],
        handle: Callable[[Sequence[OldRun], datetime], Awaitable[None]],
        agent_id: str | None,
        until: float,
    ) -> None:
        """Handle the runs that became `days` old since the last look, page after page."""
        window = windows.get(name) or Window(days=days)
        if window.days != days:
            window = Window(days=days)
        if window.end is None:
            end = self._clock.now() - timedelta(days=days)
            window = replace(window, end=end)
        while self._clock.monotonic() < until:
            assert window.end is not None
            page = await self._rows.list_old(window, agent_id=agent_id, limit=PAGE)
            await handle(page, window.end)
            if len(page) < PAGE:
                # a look that found nothing is not noted: the next one covers its time too
                if page or window.after is not None or name not in windows:
                    window = Window(days=days, done=window.end - WORST_SKEW)
                    await self._due.write_window(name, window)
                return
            window = replace(window, after=page[-1].place)
            await self._due.write_window(name, window)

    async def _remove_old(self, page: Sequence[OldRun], end: datetime) -> None:
        for start in range(0, len(page), AT_ONCE):
            now = page[start : start + AT_ONCE]
            days = await asyncio.gather(
                *(self._remove_run(old.run, is_first=old.first) for old in now)
            )
            counted = {
                (account, day)
                for old, day in zip(now, days, strict=True)
                if day is not None
                for account in (old.run.agent_id, _name_owner(old.run.owner))
            }
            for account, day in counted:
                await self._due.put(
                    Due(due_at=day + USAGE_RETENTION, kind="usage", name=account, about=day)
                )

    async def _remove_run(self, run: IndexedRun, *, is_first: bool) -> datetime | None:
        """Remove the rows of one run; return the day on which it was counted.

        A run whose end is not delivered keeps its rows, and is looked at again a day later.
        """
        ended_at = await self._rows.find_end(run.run_id, agent_id=run.agent_id)
        if ended_at is None and await self._requests.find(run.run_id) is not None:
            due_at = self._clock.now() + LOOK_AGAIN
            await self._due.put(Due.of_run(run, kind="run", due_at=due_at))
            return None
        listed = is_first and await self._stands(run.conversation_id)
        await self._rows.remove_run(run, listed=listed)
        if ended_at is None:
            return None
        return ended_at.replace(hour=0, minute=0, second=0, microsecond=0)

    async def _stands(self, conversation_id: str) -> bool:
        head = (await self._conversations.load(conversation_id)).conversation
        return head is not None and not head.is_deleted

    async def _expire(self, page: Sequence[OldRun], end: datetime, *, days: int) -> None:
        """Have those conversations deleted in which nothing happened after `end`.

        One that was used later is looked at when its later runs are old. If there are none, because
        a run took long, it is noted when to look again.
        """
        for conversation_id in dict.fromkeys(old.run.conversation_id for old in page):
            head = (await self._conversations.load(conversation_id)).conversation
            if head is None or head.is_deleted:
                continue
            used_at, admitted_at = await self._find_last_use(head)
            if used_at <= end:
                await self._deletions.start(conversation_id, deleted_at=end, unused=True)
            elif admitted_at <= end:
                await self._look_later(conversation_id, used_at, days=days)

    async def _find_last_use(self, head: Conversation) -> tuple[datetime, datetime]:
        """Return when the conversation was last used, and when its last run was admitted."""
        requests = list(head.queued) if head.active is None else [head.active.request, *head.queued]
        if requests:
            return self._clock.now(), max(request.admitted_at for request in requests)
        found = await self._conversations.read_history(
            head.conversation_id, before=head.next_sequence, limit=1
        )
        if not found:
            return head.created_at, head.created_at
        last = found[0]
        run = await self._conversations.find_run(head.conversation_id, last.run_id)
        return last.created_at, last.created_at if run is None else run.created_at

    async def _look_later(self, conversation_id: str, used_at: datetime, *, days: int) -> None:
        """Have the conversation deleted when its days are over, unless it is used until then."""
        due_at = used_at + timedelta(days=days)
        await self._due.put(
            Due(due_at=due_at, kind="deletion", name=conversation_id, about=used_at, unused=True)
        )

    async def _move(self, due: Due, due_at: datetime) -> None:
        """Look at it again at another time."""
        await self._due.put(replace(due, due_at=due_at, checks=due.checks + 1))
        await self._due.drop(due)


def _is_past(head: Conversation, due: Due) -> bool:
    """Whether a later deletion, or a conversation that began later, has taken its place.

    While the head names an older deletion, realm has still to note this one: a run that was
    admitted between the two may come late.
    """
    known = head.deleted_at
    if known is not None and (known >= due.about or not due.unused):
        return known > due.about
    return head.began_at is not None and head.began_at > due.about


def _name_owner(owner: str) -> str:
    """Return the account of an owner's budget."""
    return Budget(of="owner", name=owner, tokens=0).account
