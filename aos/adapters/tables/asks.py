"""Keeps what people are asked about tool calls, in the table `aostoolcalls`. Entry points:
`AzureDecisions`, `AzureQuestions`.

Partition `run_id`: what was asked, and the answer, inserted once. A partition of its own: a row for
each item that still waits, ordered by time, so that the list takes one query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import SCHEMA, check_schema, pack
from aos.domain.codec import decode, encode
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.domain.wire_time import count_milliseconds, from_wire_time
from aos.ports.asks import A, Asked, R
from aos.ports.paging import Page

LAST = "A"
"""A key after every row of a list, because their keys begin with digits."""
LONGEST_TOKEN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRows:
    """The rows of one kind: `id_field` of what was asked identifies it in the run, `asked` and
    `answered` end the keys of its rows, `waiting` is the partition of the list."""

    id_field: str
    asked: str
    answered: str
    waiting: str

    def find_place(self, document: Mapping[str, Any]) -> str:
        """The key in the list, from the document of what was asked."""
        asked_at = from_wire_time(document["requested_at"])
        assert asked_at is not None
        return _make_place(asked_at, document["run_id"], document[self.id_field])


DECISIONS = AskRows(
    id_field="tool_call_id", asked=":approval", answered=":decision", waiting="approvals"
)
QUESTIONS = AskRows(
    id_field="question_id", asked=":question", answered=":answer", waiting="questions"
)


class _AzureAsks(Generic[R, A]):
    """What waits for a person, and the answers. Implements `Asks`."""

    def __init__(
        self,
        table: Table,
        payloads: Payloads,
        *,
        rows: AskRows,
        kind: Callable[..., R],
        answer_kind: Callable[..., A],
    ) -> None:
        self._table = table
        self._payloads = payloads
        self._rows = rows
        self._kind = kind
        self._answer_kind = answer_kind

    async def ask(self, request: R) -> None:
        """Add a request to those that wait. Two calls.

        The row of the list is written second, so that every listed request can be answered.
        """
        (packed,) = pack([encode(request)])
        await self._payloads.keep(request.conversation_id, packed.payloads)
        row = f"{request.ask_id}{self._rows.asked}"
        names = {"conversation_id": request.conversation_id, "owner": request.owner}
        await self._table.put({**packed.entity(request.run_id, row), **names})
        await self._table.put({**packed.entity(self._rows.waiting, _place(request)), **names})

    async def find(self, run_id: str, ask_id: str) -> Asked[R, A] | None:
        """Return what was asked and its answer. Two calls."""
        row = await self._table.get(run_id, f"{ask_id}{self._rows.asked}")
        if row is None:
            return None
        asked = await self._read(row)
        answered = await self._table.get(run_id, f"{ask_id}{self._rows.answered}")
        if answered is None:
            return Asked(request=asked)
        return Asked(request=asked, answer=await self._read_answer(asked, answered))

    async def answer(self, request: R, answer: A) -> None:
        """Insert the answer. Raises StaleWrite if the request has one. One call."""
        (packed,) = pack([encode(answer)])
        await self._payloads.keep(request.conversation_id, packed.payloads)
        row = f"{request.ask_id}{self._rows.answered}"
        await self._table.insert(packed.entity(request.run_id, row))

    async def list_waiting(self, *, owner: str | None, after: str | None, limit: int) -> Page[R]:
        """List the open requests, oldest first. One call."""
        mine, parameters = "", {}
        if owner is not None:
            mine, parameters = " and owner eq @owner", {"owner": owner}
        rows = await self._table.query(
            f"PartitionKey eq @partition and RowKey gt @after and RowKey lt @end{mine}",
            limit=limit + 1,
            partition=self._rows.waiting,
            after=(after or "")[:LONGEST_TOKEN],
            end=LAST,
            **parameters,
        )
        items = rows[:limit]
        return Page(
            items=[await self._read(row) for row in items],
            next=items[-1]["RowKey"] if len(rows) > limit else None,
        )

    async def close(self, request: R) -> None:
        """Remove a request from the list. One call."""
        await self._table.delete(self._rows.waiting, _place(request))

    async def _read(self, row: Entity) -> R:
        return decode(self._kind, await self._payloads.whole(row["conversation_id"], row))

    async def _read_answer(self, asked: R, row: Entity) -> A:
        told = await self._payloads.whole(asked.conversation_id, row)
        return decode(self._answer_kind, told)


class AzureDecisions(_AzureAsks[ApprovalRequest, Decision]):
    """The tool calls that wait for a decision, and the decisions. Implements `Decisions`.

    The fields of a decision are columns of its row.
    """

    def __init__(self, table: Table, payloads: Payloads) -> None:
        super().__init__(
            table, payloads, rows=DECISIONS, kind=ApprovalRequest, answer_kind=Decision
        )

    async def answer(self, request: ApprovalRequest, answer: Decision) -> None:
        """Insert the decision. Raises StaleWrite if the call has one. One call."""
        keys = {"PartitionKey": request.run_id, "RowKey": f"{request.ask_id}{DECISIONS.answered}"}
        await self._table.insert({**keys, "schema": SCHEMA, **encode(answer)})

    async def _read_answer(self, asked: ApprovalRequest, row: Entity) -> Decision:
        check_schema(row)
        return decode(Decision, row)


class AzureQuestions(_AzureAsks[QuestionRequest, QuestionAnswer]):
    """The questions of tools, and the answers. Implements `Questions`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        super().__init__(
            table, payloads, rows=QUESTIONS, kind=QuestionRequest, answer_kind=QuestionAnswer
        )


def _make_place(asked: datetime, run_id: str, ask_id: str) -> str:
    """Return the key of a row in a list: first the time, then the ids."""
    return f"{count_milliseconds(asked):015d}-{run_id}-{ask_id}"


def _place(request: R) -> str:
    return _make_place(request.requested_at, request.run_id, request.ask_id)
