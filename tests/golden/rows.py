"""Records every kind of table row through the adapters. Entry point: `ROWS`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from aos.adapters.memory import ManualClock
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.tables.account import Table
from aos.adapters.tables.asks import AzureDecisions, AzureQuestions
from aos.adapters.tables.conversations import AzureConversationStore
from aos.adapters.tables.index import AzureRunIndex
from aos.adapters.tables.ledger import AzureLedger
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.pending import AzurePendingStore
from aos.adapters.tables.pushes import AzurePushConfigs
from aos.adapters.tables.requests import AzureRequestStore
from aos.adapters.tables.run_events import AzureRunEventStore
from aos.adapters.tables.schedules import AzureWatermarks
from aos.adapters.tables.slots import AzureSlots
from aos.adapters.tables.spending import AzureSpendingStore
from aos.adapters.tables.tool_calls import AzureToolLedger
from aos.adapters.tables.tools import AzureToolCatalog
from aos.domain.budgets import DaySpending
from aos.domain.pushes import PushConfig
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest, Run, Usage
from aos.domain.runs.run_events import EventId, EventRow
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest, TaskWait
from aos.domain.tools.tool import ApprovalRequest, Decision, ServerTools, ToolCallRow
from aos.ports.index import IndexedRun
from aos.ports.ledger import CountedRun
from aos.ports.requests import PendingRun, StoredRequest
from aos.ports.schedules import Watermark
from aos.ports.slots import Slot
from tests.golden.kinds import Kind
from tests.golden.questions import ANSWERS, QUESTIONS
from tests.golden.rows_only import RowsOnly
from tests.golden.tool_values import APPROVALS, CALL, FULL_SERVER
from tests.golden.values import (
    AT,
    CALL_ID,
    DELTA,
    DIGEST,
    FULL_HEAD,
    FULL_MESSAGE,
    FULL_REQUEST,
    FULL_RUN,
    HEAD_AT_FIRST_TURN,
    LATER,
    MINIMAL_HEAD,
    MINIMAL_MESSAGE,
    MINIMAL_OUTCOME,
    MINIMAL_REQUEST,
    MINIMAL_RUN,
    OTHER_RUN,
    OUTCOME,
    PAUSE,
    PAUSED_HEAD,
    PUSH_CONFIGS,
    REQUEST_WITH_IMAGE,
    REQUEST_WITH_NOTIFY,
    REQUEST_WITH_PUSHES,
    RUN_ID,
    SAVED_EVENTS,
    WATCHED_REQUEST,
)


def _payloads() -> Payloads:
    return Payloads(MemoryBlobStore(clock=ManualClock()))


def _table(rows: RowsOnly) -> Table:
    return cast("Table", rows)


def _kept(rows: RowsOnly) -> Any:
    """The rows as JSON shows them; a typed number as [number, type]."""
    return json.loads(json.dumps(rows.rows))


def _requests(rows: RowsOnly) -> AzureRequestStore:
    return AzureRequestStore(_table(rows), _payloads())


def _conversations(rows: RowsOnly) -> AzureConversationStore:
    return AzureConversationStore(_table(rows), _payloads())


async def _write_request(stored: StoredRequest) -> Any:
    rows = RowsOnly()
    store = _requests(rows)
    await store.insert(stored.request)
    if stored.cancel_requested_at is not None:
        run_id, reason = stored.request.run_id, stored.cancel_reason
        await store.ask_cancel(run_id, at=stored.cancel_requested_at, reason=reason)
        await store.join_tree(run_id, OTHER_RUN)
    return _kept(rows)


async def _read_request(recorded: Any) -> StoredRequest | None:
    return await _requests(RowsOnly(recorded)).find(RUN_ID)


async def _write_head(head: Conversation) -> Any:
    rows = RowsOnly()
    await _conversations(rows).save(Step(conversation=head), etag=None)
    return _kept(rows)


async def _read_head(recorded: Any) -> Conversation | None:
    loaded = await _conversations(RowsOnly(recorded)).load("board")
    return loaded.conversation


async def _write_run(run: Run) -> Any:
    rows = RowsOnly()
    await _conversations(rows).save(Step(conversation=MINIMAL_HEAD, runs=(run,)), etag=None)
    return _kept(rows)[1:]


async def _read_run(recorded: Any) -> Run | None:
    return await _conversations(RowsOnly(recorded)).find_run("board", RUN_ID)


async def _write_message(message: Message) -> Any:
    rows = RowsOnly()
    step = Step(conversation=MINIMAL_HEAD, messages=(message,))
    await _conversations(rows).save(step, etag=None)
    return _kept(rows)[1:]


async def _read_message(recorded: Any) -> Message:
    (read,) = await _conversations(RowsOnly(recorded)).read_history("board", before=9, limit=9)
    return read


async def _write_events(row: EventRow) -> Any:
    rows = RowsOnly()
    if row.last_id.is_provisional:
        await AzureRunEventStore(_table(rows), _payloads()).add("board", row)
        return _kept(rows)
    await _conversations(rows).save(Step(conversation=MINIMAL_HEAD, events=(row,)), etag=None)
    return _kept(rows)[1:]


async def _read_events(recorded: Any) -> EventRow:
    store = AzureRunEventStore(_table(RowsOnly(recorded)), _payloads())
    (read,) = await store.read("board", RUN_ID, after=EventId(), limit=9)
    return read


async def _write_pending(pending: PendingRun) -> Any:
    rows = RowsOnly()
    await AzurePendingStore(_table(rows)).put(pending)
    return _kept(rows)


async def _read_pending(recorded: Any) -> PendingRun:
    (read,) = await AzurePendingStore(_table(RowsOnly(recorded))).list_due(LATER, limit=100)
    return replace(read, etag=None)


async def _write_push(config: PushConfig) -> Any:
    rows = RowsOnly()
    await AzurePushConfigs(_table(rows)).put(config)
    return _kept(rows)


async def _read_push(recorded: Any) -> PushConfig:
    (read,) = await AzurePushConfigs(_table(RowsOnly(recorded))).list_all(RUN_ID)
    return read


async def _write_slot(slot: Slot) -> Any:
    rows = RowsOnly()
    await AzureSlots(_table(rows)).take(slot, over=None)
    return _kept(rows)


async def _read_slot(recorded: Any) -> Slot | None:
    found = await AzureSlots(_table(RowsOnly(recorded))).find("board")
    return None if found is None else replace(found, etag=None)


async def _write_watermark(watermark: Watermark) -> Any:
    rows = RowsOnly()
    await AzureWatermarks(_table(rows)).put(watermark)
    return _kept(rows)


async def _read_watermark(recorded: Any) -> Watermark | None:
    return await AzureWatermarks(_table(RowsOnly(recorded))).find("ceo", DIGEST[:32])


async def _write_index(run: IndexedRun) -> Any:
    rows = RowsOnly()
    await AzureRunIndex(_table(rows), requests=_table(RowsOnly())).add(run)
    return sorted(_kept(rows), key=lambda row: (row["PartitionKey"], row["RowKey"]))


async def _read_index(recorded: Any) -> IndexedRun:
    index = AzureRunIndex(_table(RowsOnly(recorded)), requests=_table(RowsOnly()))
    page = await index.list_runs(agent_id="ceo", owner=None, since=None, after=None, limit=100)
    return page.items[0]


async def _write_ledger(run: Run) -> Any:
    rows = RowsOnly()
    await AzureLedger(_table(rows)).record(CountedRun(run=run, owner="ann"))
    return _kept(rows)


async def _write_spending(spending: DaySpending) -> Any:
    rows = RowsOnly()
    await AzureSpendingStore(_table(rows)).write("ceo", "2026-01-31", spending, etag=None)
    return _kept(rows)


async def _read_spending(recorded: Any) -> DaySpending:
    rows = RowsOnly(recorded)
    return (await AzureSpendingStore(_table(rows)).read("ceo", "2026-01-31")).spending


def _decisions(rows: RowsOnly) -> AzureDecisions:
    return AzureDecisions(_table(rows), _payloads())


async def _write_approval(approval: ApprovalRequest) -> Any:
    rows = RowsOnly()
    await _decisions(rows).ask(approval)
    return _kept(rows)


async def _read_approval(recorded: Any) -> ApprovalRequest:
    store = _decisions(RowsOnly(recorded))
    found = await store.find(RUN_ID, CALL_ID)
    (listed,) = (await store.list_waiting(owner=None, after=None, limit=9)).items
    assert found is not None
    assert found.request == listed
    return listed


async def _write_decision(decision: Decision) -> Any:
    rows = RowsOnly()
    await _decisions(rows).answer(APPROVALS["minimal"], decision)
    return _kept(rows)


async def _read_decision(recorded: Any) -> Decision | None:
    asked = await _write_approval(APPROVALS["minimal"])
    found = await _decisions(RowsOnly([*asked, *recorded])).find(RUN_ID, CALL_ID)
    return None if found is None else found.answer


def _questions(rows: RowsOnly) -> AzureQuestions:
    return AzureQuestions(_table(rows), _payloads())


async def _write_question(question: QuestionRequest) -> Any:
    rows = RowsOnly()
    await _questions(rows).ask(question)
    return _kept(rows)


async def _read_question(recorded: Any) -> QuestionRequest:
    store = _questions(RowsOnly(recorded))
    (listed,) = (await store.list_waiting(owner=None, after=None, limit=9)).items
    found = await store.find(RUN_ID, listed.question_id)
    assert found is not None
    assert found.request == listed
    return listed


async def _write_answer(answer: QuestionAnswer) -> Any:
    rows = RowsOnly()
    await _questions(rows).answer(QUESTIONS["form"], answer)
    return _kept(rows)


async def _read_answer(recorded: Any) -> QuestionAnswer | None:
    asked = await _write_question(QUESTIONS["form"])
    store = _questions(RowsOnly([*asked, *recorded]))
    found = await store.find(RUN_ID, QUESTIONS["form"].question_id)
    return None if found is None else found.answer


async def _write_call(row: ToolCallRow) -> Any:
    rows = RowsOnly()
    ledger = AzureToolLedger(_table(rows), _payloads())
    if row.result is None:
        await ledger.start(row)
    else:
        await ledger.finish(row, row.result)
    return _kept(rows)


async def _read_call(recorded: Any) -> ToolCallRow | None:
    found = await AzureToolLedger(_table(RowsOnly(recorded)), _payloads()).find(RUN_ID, CALL_ID)
    return None if found is None else replace(found, etag=None)


async def _write_tools(tools: ServerTools) -> Any:
    rows = RowsOnly()
    await AzureToolCatalog(_table(rows), _payloads()).put(tools)
    return _kept(rows)


async def _read_tools(recorded: Any) -> ServerTools | None:
    return await AzureToolCatalog(_table(RowsOnly(recorded)), _payloads()).find("github")


def _row(
    name: str,
    examples: Mapping[str, Any],
    write: Callable[[Any], Awaitable[Any]],
    read: Callable[[Any], Awaitable[Any]] | None,
) -> Kind:
    return Kind(name=f"rows/{name}", examples=examples, write=write, read=read)


def _stored(request: AdmittedRequest, *, cancelled: bool) -> StoredRequest:
    if not cancelled:
        return StoredRequest(request=request)
    return StoredRequest(request=request, cancel_requested_at=LATER, cancel_reason="parent_ended")


def _indexed(conversation_id: str) -> IndexedRun:
    return IndexedRun(
        run_id=RUN_ID,
        conversation_id=conversation_id,
        agent_id="ceo",
        owner="key:laptop",
        created_at=AT,
    )


def _pending(checks: int) -> PendingRun:
    return PendingRun(
        run_id=RUN_ID, conversation_id="board", created_at=AT, next_check=LATER, checks=checks
    )


def _decision(decision_id: str) -> Decision:
    return Decision(
        decision="deny",
        reason="zu früh" if decision_id else "",
        decided_by="key:laptop",
        decided_at=LATER,
        decision_id=decision_id,
    )


_BOARD_RUN = replace(MINIMAL_RUN, conversation_id="board")
_SPENT = replace(
    FULL_RUN,
    usage=Usage(
        input_tokens=3_000_000_000, output_tokens=2, cached_tokens=2_999_999_999, reasoning_tokens=1
    ),
)

ROWS: tuple[Kind, ...] = (
    _row(
        "request",
        {
            "full": _stored(FULL_REQUEST, cancelled=True),
            "minimal": _stored(MINIMAL_REQUEST, cancelled=False),
            "with_image": _stored(REQUEST_WITH_IMAGE, cancelled=False),
            "with_notify": _stored(REQUEST_WITH_NOTIFY, cancelled=False),
            "with_pushes": _stored(REQUEST_WITH_PUSHES, cancelled=False),
            "watched": _stored(WATCHED_REQUEST, cancelled=False),
        },
        _write_request,
        _read_request,
    ),
    _row(
        "head",
        {
            "full": FULL_HEAD,
            "first_turn": HEAD_AT_FIRST_TURN,
            "minimal": MINIMAL_HEAD,
            "paused": PAUSED_HEAD,
        },
        _write_head,
        _read_head,
    ),
    _row("run", {"full": FULL_RUN, "minimal": _BOARD_RUN}, _write_run, _read_run),
    _row(
        "message", {"full": FULL_MESSAGE, "minimal": MINIMAL_MESSAGE}, _write_message, _read_message
    ),
    _row("events", {"saved": SAVED_EVENTS, "delta": DELTA}, _write_events, _read_events),
    _row(
        "watermark",
        {"full": Watermark(agent_id="ceo", schedule_id=DIGEST[:32], last=AT)},
        _write_watermark,
        _read_watermark,
    ),
    _row("pending", {"full": _pending(3), "minimal": _pending(0)}, _write_pending, _read_pending),
    _row("push", PUSH_CONFIGS, _write_push, _read_push),
    _row(
        "slot",
        {"full": Slot(conversation_id="board", run_id=RUN_ID, taken_at=AT)},
        _write_slot,
        _read_slot,
    ),
    _row(
        "index", {"full": _indexed("board"), "minimal": _indexed(RUN_ID)}, _write_index, _read_index
    ),
    _row("ledger", {"full": _SPENT, "minimal": MINIMAL_RUN}, _write_ledger, None),
    _row(
        "spending",
        {
            "full": DaySpending(
                tokens=3_000_000_000, turns=7, lost_turns=1, open_turns={RUN_ID: "t-1"}
            ),
            "minimal": DaySpending(),
        },
        _write_spending,
        _read_spending,
    ),
    _row("approval", APPROVALS, _write_approval, _read_approval),
    _row(
        "decision",
        {"full": _decision("d-1"), "minimal": _decision("")},
        _write_decision,
        _read_decision,
    ),
    _row("question", QUESTIONS, _write_question, _read_question),
    _row("answer", ANSWERS, _write_answer, _read_answer),
    _row(
        "tool-call",
        {
            "full": replace(CALL, holder="h-1", result=OUTCOME),
            "not_called": replace(CALL, result=MINIMAL_OUTCOME),
            "minimal": CALL,
            "asks": replace(CALL, result=replace(MINIMAL_OUTCOME, pause=PAUSE)),
            "task": replace(CALL, task=TaskWait(task_id="t-1", poll_at=LATER)),
        },
        _write_call,
        _read_call,
    ),
    _row(
        "tools",
        {"full": FULL_SERVER, "minimal": ServerTools(server_id="github", state="starting")},
        _write_tools,
        _read_tools,
    ),
)
