"""Writes what thousands of runs leave behind, through the product's stores. Entry points:
`GrownState.lengthen`, `GrownState.spread`.

Each written run is a copy of one that the laptop has really made: its row, its messages and its
events, under other ids, and for a new conversation the row that says which run began it. The rows
of its request are left out, as after 30 days.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.tables import AzureTables, TableAccount
from aos.adapters.tables.account import MOST_ROWS, Table, TableClients, Write
from aos.adapters.tables.index import EVERYBODY, make_columns, name_first_row
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import Run, RunStatus
from aos.domain.runs.run_events import EventId, EventRow
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun

PAIRS_OF_A_LONG_RUN = 30
"""A run with tools has many messages."""
AT_ONCE = 16


class GrownState:
    """The stores of a laptop, and the run that is copied."""

    def __init__(self, connection_string: str) -> None:
        blobs = AzureBlobs(BlobAccount(connection_string=connection_string))
        account = TableAccount(connection_string=connection_string)
        self._blobs = blobs
        self._clients = TableClients(account)
        self.tables = AzureTables(account, payloads=blobs.container("aos-data"))
        self._head: Conversation
        self._run: Run
        self._messages: Sequence[Message] = ()
        self._events: Sequence[EventRow] = ()

    async def close(self) -> None:
        """Close the clients."""
        await self.tables.close()
        await self._clients.close()
        await self._blobs.close()

    async def copy_from(self, conversation_id: str, run_id: str) -> None:
        """Read the run that is copied from now on. It is the only one of its conversation."""
        store = self.tables.conversations()
        loaded = await store.load(conversation_id, run_id=run_id)
        assert loaded.conversation is not None
        assert loaded.run is not None
        self._head, self._run = loaded.conversation, loaded.run
        self._messages = await store.read_history(conversation_id, before=2, limit=2)
        self._events = await self.tables.run_events().read(
            conversation_id, run_id, after=EventId(), limit=100
        )

    def copy_sample(self) -> None:
        """Copy an invented run from now on, where no app runs that could make one."""
        at = datetime.now(UTC)
        self._head = Conversation(
            conversation_id="sample", agent_id="bench", owner="local", created_at=at
        )
        self._run = Run(
            run_id="sample",
            agent_id="bench",
            conversation_id="sample",
            status=RunStatus.COMPLETED,
            created_at=at,
            ended_at=at,
        )
        self._messages = (
            Message(sequence=0, role="user", content="?", run_id="sample", created_at=at),
            Message(sequence=1, role="assistant", content="!", run_id="sample", created_at=at),
        )

    async def lengthen(self, conversation_id: str, *, messages: int) -> None:
        """Add runs to an idle conversation until it has this many messages."""
        store = self.tables.conversations()
        loaded = await store.load(conversation_id)
        head, etag = loaded.conversation, loaded.etag
        assert head is not None
        while head.next_sequence < messages:
            left = (messages - head.next_sequence + 1) // 2
            step = self._copy_run(head, pairs=min(PAIRS_OF_A_LONG_RUN, left))
            etag = await store.save(step, etag=etag)
            head = step.conversation

    async def spread(self, names: Sequence[str]) -> None:
        """Write new conversations of one run each."""
        store = self.tables.conversations()
        gate = asyncio.Semaphore(AT_ONCE)

        async def write(name: str) -> Run:
            head = replace(self._head, conversation_id=name, next_sequence=0)
            async with gate:
                step = self._copy_run(head)
                await store.save(step, etag=None)
            return step.runs[0]

        await self._mark_firsts(await asyncio.gather(*(write(name) for name in names)))

    async def _mark_firsts(self, runs: Sequence[Run]) -> None:
        """Write which run began each conversation, as the first run's admission does."""
        marks = [
            {
                "PartitionKey": EVERYBODY,
                "RowKey": name_first_row(run.conversation_id),
                **make_columns(IndexedRun.of(run, owner=self._head.owner), first=True),
            }
            for run in runs
        ]
        index = Table(self._clients, "aosindex")
        for start in range(0, len(marks), MOST_ROWS):
            some = marks[start : start + MOST_ROWS]
            await index.transact([Write(entity=mark) for mark in some])

    async def owe(self, count: int) -> list[str]:
        """Write pending rows that are due, of admissions in progress; return their run ids."""
        now = datetime.now(UTC)
        run_ids = [str(uuid.uuid4()) for _ in range(count)]
        for run_id in run_ids:
            await self.tables.pending().put(
                PendingRun(
                    run_id=run_id,
                    conversation_id=f"owed-{run_id}",
                    created_at=now,
                    next_check=now - timedelta(seconds=1),
                )
            )
        return run_ids

    def _copy_run(self, head: Conversation, *, pairs: int = 1) -> Step:
        run_id, name = str(uuid.uuid4()), head.conversation_id
        first = head.next_sequence
        messages = (*self._messages,) * pairs
        return Step(
            conversation=replace(
                head, next_sequence=first + len(messages), write_id=str(uuid.uuid4())
            ),
            messages=tuple(
                replace(message, sequence=first + i, run_id=run_id)
                for i, message in enumerate(messages)
            ),
            runs=(replace(self._run, run_id=run_id, conversation_id=name),),
            events=tuple(replace(row, run_id=run_id) for row in self._events),
        )
