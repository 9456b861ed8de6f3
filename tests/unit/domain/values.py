"""Values of the domain, made up: for hypothesis, and by hand for the rules."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from aos.domain.envelope import (
    MAIN_QUEUE,
    Approve,
    CallTool,
    CancelChild,
    CancelRun,
    ContinueRun,
    Outgoing,
    RequestRun,
    RunEnded,
    StartRun,
    ToolResult,
    to_realm,
)
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import CardView, Conversation, Message
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run, RunStatus, Usage
from aos.domain.tools.tool import MessageCall, ToolOutcome
from aos.errors import CODES, ErrorInfo
from tests.texts import texts as any_text

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CARD = CardView(state="active", digest="d1", run_timeout_seconds=60.0)

texts = any_text(max_size=40)
ids = st.uuids().map(str)
moments = st.integers(0, 10**12).map(lambda ms: NOON + timedelta(milliseconds=ms))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, plain, max_size=3)
addresses = st.builds(
    ReplyAddress,
    entity=texts,
    session_id=st.none() | texts,
    correlation_id=st.none() | texts,
)
parents = st.builds(
    ParentRun,
    run_id=ids,
    conversation_id=texts,
    tool_call_id=texts,
    root_run_id=ids,
    depth=st.integers(1, 5),
    deadline=moments,
    tokens_left=st.none() | st.integers(0, 10**9),
)
requests = st.builds(
    AdmittedRequest,
    run_id=ids,
    conversation_id=texts,
    agent_id=texts,
    owner=texts,
    door=st.sampled_from(["http", "queue", "schedule", "event", "delegation"]),
    message=texts,
    digest=texts,
    admitted_at=moments,
    catalog_version=st.integers(0, 10**6),
    metadata=objects,
    reply=st.none() | addresses,
    as_admin=st.booleans(),
    traceparent=st.none() | texts,
    replay_of=st.none() | ids,
    parent=st.none() | parents,
)
errors = st.builds(ErrorInfo, code=st.sampled_from(sorted(CODES)), message=texts, details=objects)
runs = st.builds(
    Run,
    run_id=ids,
    agent_id=texts,
    conversation_id=texts,
    status=st.sampled_from(RunStatus),
    created_at=moments,
    card_digest=st.none() | texts,
    output=texts,
    output_parts=st.none() | st.lists(objects, max_size=2).map(tuple),
    usage=st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9)),
    model=st.none() | texts,
    error=st.none() | errors,
    metadata=objects,
    started_at=st.none() | moments,
    ended_at=st.none() | moments,
    replay_of=st.none() | ids,
)
attempts = st.integers(0, 50)
starts = st.builds(StartRun, request=requests, attempt=attempts)
cancels = st.builds(
    CancelRun, request=requests, reason=st.none() | st.just("parent_ended"), attempt=attempts
)
continues = st.builds(
    ContinueRun, run_id=ids, conversation_id=texts, due=st.none() | moments, attempt=attempts
)
ends = st.builds(
    RunEnded,
    run=runs,
    owner=texts,
    reply=st.none() | addresses,
    parent=st.none() | parents,
    traceparent=st.none() | texts,
    attempt=attempts,
)
outcomes = st.sampled_from(["ok", "error", "outcome_unknown", "not_called", "denied"])
parts = st.lists(objects, max_size=2).map(tuple)
tool_calls = st.builds(
    CallTool,
    run_id=ids,
    conversation_id=texts,
    tool_call_id=texts,
    agent_id=texts,
    server_id=texts,
    tool=texts,
    arguments=objects,
    deadline=moments,
    traceparent=st.none() | texts,
    attempt=attempts,
)
results = st.builds(
    ToolResult,
    run_id=ids,
    conversation_id=texts,
    tool_call_id=texts,
    outcome=outcomes,
    content=texts,
    parts=parts,
    tokens=st.integers(0, 10**6),
    traceparent=st.none() | texts,
    attempt=attempts,
)
approves = st.builds(
    Approve, run_id=ids, conversation_id=texts, tool_call_id=texts, attempt=attempts
)
delegations = st.builds(
    RequestRun,
    parent=parents,
    owner=texts,
    agent_id=texts,
    message=texts,
    as_admin=st.booleans(),
    traceparent=st.none() | texts,
    attempt=attempts,
)
child_cancels = st.builds(
    CancelChild,
    run_id=ids,
    conversation_id=texts,
    owner=texts,
    tool_call_id=texts,
    attempt=attempts,
)
commands = (
    starts
    | cancels
    | continues
    | ends
    | tool_calls
    | results
    | approves
    | delegations
    | child_cancels
)
outgoing = st.builds(
    Outgoing,
    queue=texts,
    command=commands,
    session_id=st.none() | texts,
    scheduled_at=st.none() | moments,
)
open_calls = st.builds(
    OpenCall,
    tool_call_id=texts,
    name=texts,
    written=texts,
    state=st.sampled_from(["to_ask", "asked", "called", "answered"]),
    server_id=st.none() | texts,
    tool=texts,
    arguments=objects,
    asked_at=st.none() | moments,
    expires_at=st.none() | moments,
    result=st.none() | st.builds(ToolOutcome, outcome=outcomes, content=texts, parts=parts),
)
messages = st.builds(
    Message,
    sequence=st.integers(0, 10**9),
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=texts,
    run_id=ids,
    created_at=moments,
    tool_calls=st.lists(
        st.builds(MessageCall, tool_call_id=texts, name=texts, arguments=texts), max_size=2
    ).map(tuple),
    tool_call_id=st.none() | texts,
    parts=parts,
)
active_runs = st.builds(
    ActiveRun,
    request=requests,
    card_digest=texts,
    run_timeout_seconds=st.floats(1, 1e6),
    started_at=moments,
    clock_seconds=st.floats(0, 1e6),
    max_tokens=st.none() | st.integers(0, 10**9),
    turns=st.integers(0, 64),
    tool_calls=st.integers(0, 128),
    usage=st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9)),
    child_tokens=st.integers(0, 10**9),
    model=st.none() | texts,
    calls=st.lists(open_calls, max_size=2).map(tuple),
    waiting_since=st.none() | moments,
    approval_since=st.none() | moments,
    approval_seconds=st.floats(0, 1e6),
    wake_at=st.none() | moments,
    tools_since=st.none() | moments,
)
conversations = st.builds(
    Conversation,
    conversation_id=texts,
    agent_id=texts,
    owner=texts,
    created_at=moments,
    next_sequence=st.integers(0, 10**9),
    active=st.none() | active_runs,
    queued=st.lists(requests, max_size=2).map(tuple),
    outbox=st.lists(outgoing, max_size=2).map(tuple),
    retry_at=st.none() | moments,
    retry_since=st.none() | moments,
    retries=st.integers(0, 99),
    write_id=texts,
)


def a_request(name: str, **changes: Any) -> AdmittedRequest:
    """A request of `ann` to `ceo` on the conversation `chat`."""
    whole: dict[str, Any] = {
        "run_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "conversation_id": "chat",
        "agent_id": "ceo",
        "owner": "ann",
        "door": "queue",
        "message": f"{name}?",
        "digest": "d",
        "admitted_at": NOON,
        "catalog_version": 1,
        "reply": ReplyAddress(entity="replies", correlation_id=name),
        **changes,
    }
    return AdmittedRequest(**whole)


def ended(request: AdmittedRequest, run: Run) -> Outgoing:
    """What an outbox holds for main when this run has ended."""
    return Outgoing(
        queue=MAIN_QUEUE,
        command=RunEnded(run=run, owner=request.owner, reply=request.reply),
    )


def wake(request: AdmittedRequest, *, due: datetime | None = None) -> Outgoing:
    """What an outbox holds to go on with this run."""
    command = ContinueRun(run_id=request.run_id, conversation_id="chat", due=due)
    return to_realm(command, scheduled_at=due)
