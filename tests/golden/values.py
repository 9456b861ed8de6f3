"""Holds one filled and one minimal value of what the apps exchange and keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aos.domain.envelope import (
    Approve,
    CallTool,
    CancelCall,
    CancelChild,
    CancelRun,
    Command,
    ContinueRun,
    DeliverNotification,
    RemoveDeltas,
    RequestRun,
    RunEnded,
    StartRun,
    ToolResult,
    WatchRun,
    to_main,
    to_realm,
)
from aos.domain.notify import Notify
from aos.domain.pushes import PushConfig
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run, RunStatus, Usage
from aos.domain.runs.run_events import EventRow, RunEvent
from aos.domain.runs.run_options import RunOptions, SaidBefore
from aos.domain.tools.questions import CallPause, CallResume, GivenAnswer, ToolQuestion
from aos.domain.tools.tool import (
    MessageCall,
    ToolOutcome,
)
from aos.errors import ErrorInfo

RUN_ID = "6f3b1c52-8a5e-5d0e-9d0e-0123456789ab"
OTHER_RUN = "0d8f2a77-1b1c-5a4e-8f00-ba9876543210"
CALL_ID = "call_6f3b1c52_0_0"
PLACE: Any = {"run_id": RUN_ID, "conversation_id": "board"}
CALL_OF: Any = {**PLACE, "tool_call_id": CALL_ID}
DIGEST = "0123456789abcdef" * 4
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AT = datetime(2030, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)
PARTS = ({"type": "image", "data": "AAEC", "mimeType": "image/png"},)
FREE = {"größe": 1.5, "none": None, "list": [1, True, {"z": 1, "a": 2}]}

PARENT = ParentRun(
    run_id=OTHER_RUN,
    conversation_id="board",
    tool_call_id="call_0d8f2a77_1_0",
    root_run_id=OTHER_RUN,
    depth=1,
    deadline=LATER,
    tokens_left=4000,
)
UNLIMITED_PARENT = replace(PARENT, tokens_left=None)
QUESTION = ToolQuestion(key="größe", message="Welche Größe?", requested_schema=FREE)
PAUSE = CallPause(
    kind="retry",
    questions=(QUESTION, ToolQuestion(key="", message="Log in.", url="https://x.example/1")),
    request_state="v1.ü",
)
RESUME = CallResume(
    kind="task",
    answers=(GivenAnswer(question=QUESTION, action="accept", values=FREE),),
    earlier=(GivenAnswer(question=QUESTION, action="cancel"),),
    request_state="v1.ü",
    task_id="t-1",
)
REPLY = ReplyAddress(entity="billing-replies", session_id="s-1", correlation_id="m-1")
ERROR = ErrorInfo(code="max_turns", message="12 turns, „genug“", details={"max_turns": 12})
MINIMAL_ERROR = ErrorInfo(code="internal_error", message="it broke")
FULL_REQUEST = AdmittedRequest(
    **PLACE,
    agent_id="ceo",
    owner="key:laptop",
    door="delegation",
    message='Grüße und "Zahlen"\n',
    digest=DIGEST,
    admitted_at=AT,
    catalog_version=7,
    metadata=FREE,
    reply=REPLY,
    as_admin=True,
    traceparent=TRACE,
    replay_of=OTHER_RUN,
    parent=PARENT,
    refusal=ERROR,
)
OPTIONS = RunOptions(
    instructions="Kurz, bitte.",
    output_schema=FREE,
    max_output_tokens=100,
    history=(
        SaidBefore(role="user", content="Größe?", parts=PARTS),
        SaidBefore(role="assistant", content="M."),
    ),
)
MINIMAL_REQUEST = AdmittedRequest(
    run_id=RUN_ID,
    conversation_id=RUN_ID,
    agent_id="ceo",
    owner="key:laptop",
    door="http",
    message="Hi",
    digest=DIGEST,
    admitted_at=AT,
    catalog_version=1,
)
REQUEST_WITH_NOTIFY = replace(
    MINIMAL_REQUEST, notify=Notify(url="https://example.com/hook", events=("run.failed",))
)
REQUEST_WITH_PUSHES = replace(MINIMAL_REQUEST, notify=Notify(pushes=True))
PUSH_CONFIGS = {
    "full": PushConfig(
        run_id=RUN_ID,
        config_id="main",
        url="https://example.com/größe?k=1",
        created_at=AT,
        token="t-1",
        scheme="Bearer",
        credentials="secret",
    ),
    "minimal": PushConfig(
        run_id=RUN_ID, config_id="c-1", url="https://example.com/hook", created_at=AT
    ),
}
WATCHED_REQUEST = replace(MINIMAL_REQUEST, watched_until=LATER)
REQUEST_WITH_IMAGE = replace(
    MINIMAL_REQUEST,
    parts=(
        {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
        {
            "type": "resource",
            "resource": {"uri": "file:///a.md", "mimeType": "text/markdown", "text": "Grüße"},
        },
    ),
)
FULL_RUN = Run(
    **PLACE,
    agent_id="ceo",
    status=RunStatus.COMPLETED,
    created_at=AT,
    card_digest=DIGEST,
    output="Fertig ✓",
    output_parts=PARTS,
    usage=Usage(input_tokens=120, output_tokens=34),
    model="gpt-x",
    error=ERROR,
    metadata=FREE,
    started_at=AT + timedelta(seconds=1),
    ended_at=LATER,
    replay_of=OTHER_RUN,
)
MINIMAL_RUN = Run(
    run_id=RUN_ID,
    agent_id="ceo",
    conversation_id=RUN_ID,
    status=RunStatus.CANCELLED,
    created_at=AT,
    ended_at=LATER,
)
OUTCOME = ToolOutcome(outcome="ok", content="7 Einträge", parts=PARTS)
MINIMAL_OUTCOME = ToolOutcome(outcome="not_called", content="")
COMMANDS: dict[str, dict[str, Command]] = {
    "StartRun": {
        "full": StartRun(request=FULL_REQUEST, attempt=2),
        "minimal": StartRun(request=MINIMAL_REQUEST),
        "with_options": StartRun(request=replace(MINIMAL_REQUEST, options=OPTIONS)),
    },
    "CancelRun": {
        "full": CancelRun(request=FULL_REQUEST, reason="parent_ended", attempt=1),
        "minimal": CancelRun(request=MINIMAL_REQUEST),
    },
    "ContinueRun": {
        "full": ContinueRun(**PLACE, due=LATER, attempt=3),
        "minimal": ContinueRun(**PLACE),
    },
    "WatchRun": {
        "full": WatchRun(**PLACE, until=LATER, attempt=1),
        "minimal": WatchRun(**PLACE, until=LATER),
    },
    "RemoveDeltas": {
        "full": RemoveDeltas(**PLACE, attempt=1),
        "minimal": RemoveDeltas(**PLACE),
    },
    "RunEnded": {
        "full": RunEnded(
            run=FULL_RUN,
            owner="key:laptop",
            reply=REPLY,
            parent=PARENT,
            traceparent=TRACE,
            attempt=1,
        ),
        "minimal": RunEnded(run=MINIMAL_RUN, owner="key:laptop"),
    },
    "CallTool": {
        "full": CallTool(
            **CALL_OF,
            agent_id="ceo",
            server_id="github",
            tool="create_issue",
            arguments=FREE,
            deadline=LATER,
            server_digest=DIGEST,
            schema_digest=DIGEST[::-1],
            traceparent=TRACE,
            attempt=1,
        ),
        "minimal": CallTool(
            **CALL_OF,
            agent_id="ceo",
            server_id="github",
            tool="list",
            arguments={},
            deadline=LATER,
        ),
        "goes_on": CallTool(
            **CALL_OF,
            agent_id="ceo",
            server_id="github",
            tool="list",
            arguments={},
            deadline=LATER,
            round_number=2,
            resume=RESUME,
        ),
    },
    "CancelCall": {
        "full": CancelCall(
            **CALL_OF,
            server_id="github",
            tool="create_issue",
            round_number=2,
            attempt=1,
        ),
        "task": CancelCall(
            **CALL_OF,
            server_id="github",
            tool="create_issue",
            task_id="t-1",
            attempt=2,
        ),
        "minimal": CancelCall(
            **CALL_OF,
            server_id="github",
            tool="list",
        ),
    },
    "ToolResult": {
        "full": ToolResult(
            **CALL_OF,
            outcome="outcome_unknown",
            content="vielleicht",
            parts=PARTS,
            tokens=99,
            traceparent=TRACE,
            attempt=1,
        ),
        "minimal": ToolResult(
            **CALL_OF,
            outcome="ok",
            content="",
        ),
        "asks": ToolResult(
            **CALL_OF,
            outcome="error",
            content="fragt",
            round_number=1,
            pause=PAUSE,
        ),
    },
    "Approve": {
        "full": Approve(**CALL_OF, attempt=1),
        "minimal": Approve(**CALL_OF),
    },
    "RequestRun": {
        "full": RequestRun(
            parent=PARENT,
            owner="key:laptop",
            agent_id="cfo",
            message="Prüfe das.",
            as_admin=True,
            traceparent=TRACE,
            attempt=1,
        ),
        "minimal": RequestRun(
            parent=UNLIMITED_PARENT, owner="key:laptop", agent_id="cfo", message="Hi"
        ),
    },
    "CancelChild": {
        "full": CancelChild(
            **PLACE,
            owner="key:laptop",
            tool_call_id=CALL_ID,
            attempt=1,
        ),
        "minimal": CancelChild(**PLACE, owner="key:laptop", tool_call_id=CALL_ID),
    },
    "DeliverNotification": {
        "full": DeliverNotification(
            **PLACE,
            agent_id="ceo",
            event_id=f"{RUN_ID}:{CALL_ID}:approval",
            event_type="approval.requested",
            time=AT,
            notify=Notify(url="https://example.com/größe?k=1", events=("approval.requested",)),
            data=FREE,
            failures=3,
            since=LATER,
            traceparent=TRACE,
            attempt=1,
        ),
        "minimal": DeliverNotification(
            **PLACE,
            agent_id="ceo",
            event_id=f"{RUN_ID}:completed",
            event_type="run.completed",
            time=AT,
            notify=Notify(queue="billing-replies"),
        ),
        "push": DeliverNotification(
            **PLACE,
            agent_id="ceo",
            event_id=f"{RUN_ID}:completed",
            event_type="run.completed",
            time=AT,
            notify=Notify(url="https://example.com/hook"),
            push_id="main",
        ),
        "pushes": DeliverNotification(
            **PLACE,
            agent_id="ceo",
            event_id=f"{RUN_ID}:completed",
            event_type="run.completed",
            time=AT,
            notify=Notify(pushes=True),
        ),
    },
}
FULL_CALL = OpenCall(
    tool_call_id=CALL_ID,
    name="github__create_issue",
    written='{"title": "Größe"}',
    state="answered",
    server_id="github",
    tool="create_issue",
    arguments=FREE,
    asked_at=AT,
    expires_at=LATER,
    result=OUTCOME,
    server_digest=DIGEST,
    schema_digest=DIGEST,
)
PAUSED_CALL = replace(
    FULL_CALL,
    state="asked",
    round_number=2,
    pause=PAUSE,
    answers=RESUME.all_answers,
    answered=1,
)
MINIMAL_CALL = OpenCall(tool_call_id=CALL_ID, name="nothing", written="no JSON", state="called")
FULL_HEAD = Conversation(
    conversation_id="board",
    agent_id="ceo",
    owner="key:laptop",
    created_at=AT,
    next_sequence=4,
    active=ActiveRun(
        request=FULL_REQUEST,
        card_digest=DIGEST,
        run_timeout_seconds=1800.0,
        started_at=AT,
        clock_seconds=1.25,
        max_tokens=9000,
        turns=2,
        tool_calls=3,
        usage=Usage(input_tokens=10, output_tokens=20),
        child_tokens=5,
        model="gpt-x",
        calls=(FULL_CALL, MINIMAL_CALL),
        waiting_since=AT,
        approval_since=LATER,
        approval_seconds=0.5,
        wake_at=LATER,
        tools_since=AT,
    ),
    queued=(MINIMAL_REQUEST,),
    outbox=(
        to_realm(ContinueRun(**PLACE, due=LATER), scheduled_at=LATER),
        to_main(RunEnded(run=MINIMAL_RUN, owner="key:laptop")),
    ),
    retry_at=LATER,
    retry_since=AT,
    retries=2,
    write_id="w-1",
)
HEAD_AT_FIRST_TURN = Conversation(
    conversation_id="board",
    agent_id="ceo",
    owner="key:laptop",
    created_at=AT,
    active=ActiveRun(
        request=MINIMAL_REQUEST, card_digest=DIGEST, run_timeout_seconds=60, started_at=AT
    ),
)
PAUSED_HEAD = replace(
    HEAD_AT_FIRST_TURN,
    active=ActiveRun(
        request=MINIMAL_REQUEST,
        card_digest=DIGEST,
        run_timeout_seconds=60,
        started_at=AT,
        calls=(PAUSED_CALL,),
        approval_since=AT,
    ),
)
MINIMAL_HEAD = Conversation(
    conversation_id="board", agent_id="ceo", owner="key:laptop", created_at=AT
)
SAVED_EVENTS = EventRow(
    run_id=RUN_ID,
    events=(
        RunEvent(id="2", type="run.started", time=AT, data={"card_digest": DIGEST}),
        RunEvent(id="3", type="message.completed", time=LATER, turn=1, data={"sequence": 1}),
    ),
)
DELTA = EventRow(
    run_id=RUN_ID,
    events=(RunEvent(id="3.1.2", type="message.delta", time=AT, turn=2, data={"text": "Grö"}),),
)
FULL_MESSAGE = Message(
    sequence=3,
    role="assistant",
    content="Ich frage.",
    run_id=RUN_ID,
    created_at=AT,
    tool_calls=(MessageCall(tool_call_id=CALL_ID, name="github__list", arguments="{}"),),
    tool_call_id=CALL_ID,
    parts=PARTS,
)
MINIMAL_MESSAGE = Message(sequence=0, role="user", content="Hi", run_id=RUN_ID, created_at=AT)
