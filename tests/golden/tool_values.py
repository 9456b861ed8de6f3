"""Holds values of tools as the apps keep them: a call's row, approvals, a server's tools."""

from __future__ import annotations

from aos.domain.tools.tool import ApprovalRequest, ServerTools, ToolCallRow, ToolSchema
from tests.golden.values import AT, CALL_ID, DIGEST, FREE, LATER, RUN_ID

CALL = ToolCallRow(
    run_id=RUN_ID,
    tool_call_id=CALL_ID,
    conversation_id="board",
    server_id="github",
    tool="create_issue",
    started_at=AT,
    until=LATER,
)
SCHEMA = ToolSchema(
    name="create_issue",
    description="Legt an.",
    input_schema=FREE,
    annotations={"readOnlyHint": True},
)
FULL_SERVER = ServerTools(
    server_id="github",
    state="ready",
    error="printed: x",
    tools=(SCHEMA, ToolSchema(name="list")),
    listed_at=AT,
    seen_at=LATER,
    instance="i-1",
    card_digest=DIGEST,
)
APPROVALS = {
    "full": ApprovalRequest(
        run_id=RUN_ID,
        tool_call_id=CALL_ID,
        agent_id="ceo",
        conversation_id="board",
        owner="key:laptop",
        tool="github/create_issue",
        arguments=FREE,
        requested_at=AT,
        expires_at=LATER,
        server_digest=DIGEST,
        schema_digest=DIGEST,
    ),
    "minimal": ApprovalRequest(
        run_id=RUN_ID,
        tool_call_id=CALL_ID,
        agent_id="ceo",
        conversation_id="board",
        owner="key:laptop",
        tool="github/list",
        arguments={},
        requested_at=AT,
        expires_at=LATER,
    ),
}
