"""Makes the values that tests of stores and of the bus keep and send. Entry points: `a_request`,
`a_head`."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aos.domain.envelope import (
    RESPONSES_QUEUE,
)
from aos.domain.pushes import PushConfig
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run, RunStatus, Usage
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, ToolCallRow
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun, PendingStore

NOON = datetime(2030, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CALL_ID = "call_00000001_0_0"
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


def a_push_config(**changes: Any) -> PushConfig:
    """A receiver of the push notifications of a task."""
    config = PushConfig(
        run_id=an_id(),
        config_id="main",
        url="https://client.example.com/größe?k=1",
        created_at=NOON,
        token="t-1",
        scheme="Bearer",
        credentials="secret",
    )
    return replace(config, **changes)


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


def a_delegated_request() -> AdmittedRequest:
    """A request of another run, whose owner is ann."""
    return a_request(
        owner="ann",
        door="delegation",
        reply=None,
        parent=ParentRun(
            run_id=an_id(),
            conversation_id="chat",
            tool_call_id=CALL_ID,
            root_run_id=an_id(),
            depth=2,
            deadline=NOON + timedelta(minutes=5),
            tokens_left=7,
        ),
    )


def an_ended_run(request: AdmittedRequest, **changes: Any) -> Run:
    """The run of a request, completed."""
    run = Run.from_request(request).end(
        RunStatus.COMPLETED, at=NOON + timedelta(seconds=3), output=HARD_TEXT
    )
    usage = Usage(input_tokens=11, output_tokens=5)
    return replace(run, usage=usage, model="m", card_digest="c" * 64, started_at=NOON, **changes)


def a_head(request: AdmittedRequest, **changes: Any) -> Conversation:
    """A head with everything set."""
    return replace(
        Conversation.create(request, now=NOON),
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
    return [row for row in await store.list_due(now, limit=500) if row.run_id in ids]


def an_approval(**changes: Any) -> ApprovalRequest:
    """A call that waits, of a run and an owner that nobody else has."""
    whole: dict[str, Any] = {
        "run_id": an_id(),
        "tool_call_id": CALL_ID,
        "agent_id": "ceo",
        "conversation_id": "chat",
        "owner": f"ann {an_id()}",
        "tool": "github/create_issue",
        "arguments": {"title": "Grüße 🚀", "labels": ["a", None], "body": {"deep": 1.5}},
        "requested_at": NOON,
        "expires_at": NOON + timedelta(hours=24),
        "server_digest": "d1",
        "schema_digest": "d2",
        **changes,
    }
    return ApprovalRequest(**whole)


def a_decision(**changes: Any) -> Decision:
    """Ann approves."""
    whole: dict[str, Any] = {
        "decision": "approve",
        "reason": "Grüße",
        "decided_by": "ann",
        "decided_at": NOON,
        "decision_id": an_id(),
        **changes,
    }
    return Decision(**whole)


def a_question(**changes: Any) -> QuestionRequest:
    """A question that waits, of a run and an owner that nobody else has."""
    whole: dict[str, Any] = {
        "run_id": an_id(),
        "question_id": CALL_ID,
        "tool_call_id": CALL_ID,
        "agent_id": "ceo",
        "conversation_id": "chat",
        "owner": f"ann {an_id()}",
        "tool": "github/create_issue",
        "message": "Grüße?",
        "requested_schema": {"type": "object", "properties": {"a": {"enum": ["ü", None]}}},
        "requested_at": NOON,
        "expires_at": NOON + timedelta(hours=24),
        **changes,
    }
    return QuestionRequest(**whole)


def an_answer(**changes: Any) -> QuestionAnswer:
    """Ann fills in the form."""
    whole: dict[str, Any] = {
        "action": "accept",
        "values": {"a": "ü", "n": 1.5, "many": ["x"]},
        "answered_by": "ann",
        "answered_at": NOON,
        "answer_id": an_id(),
        **changes,
    }
    return QuestionAnswer(**whole)


def a_tool_call_row(**changes: Any) -> ToolCallRow:
    """A call that has just begun."""
    run_id = an_id()
    whole: dict[str, Any] = {
        "run_id": run_id,
        "tool_call_id": f"call_{run_id[:8]}_0_0",
        "conversation_id": run_id,
        "server_id": "books",
        "tool": "add",
        "started_at": NOON,
        "until": NOON + timedelta(seconds=90),
        "holder": "h1",
    }
    return ToolCallRow(**{**whole, **changes})
