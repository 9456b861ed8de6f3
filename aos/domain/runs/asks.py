"""Makes what people are asked about the tool calls of a run. Entry points: `make_approval`,
`make_question`, `find_approval`, `find_question`, `list_asks`.

The run's state says that a call waits before the rows of the lists exist. Both are made of the same
state, so it makes no difference who writes the rows.
"""

from __future__ import annotations

from typing import TypeAlias

from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.questions import QuestionRequest
from aos.domain.tools.tool import ApprovalRequest

AskRequest: TypeAlias = ApprovalRequest | QuestionRequest


def list_asks(conversation: Conversation | None, run_id: str) -> list[AskRequest]:
    """What people are asked in the active run and have not answered, in the order of the calls."""
    active = None if conversation is None else conversation.active
    if active is None or active.request.run_id != run_id:
        return []
    waiting = [call for call in active.calls if call.is_undecided and call.asked_at is not None]
    return [
        make_approval(active, call) if call.question is None else make_question(active, call)
        for call in waiting
    ]


def make_approval(active: ActiveRun, call: OpenCall) -> ApprovalRequest:
    """The request for a person's decision about a call."""
    assert call.asked_at is not None
    assert call.expires_at is not None
    request = active.request
    return ApprovalRequest(
        run_id=request.run_id,
        tool_call_id=call.tool_call_id,
        agent_id=request.agent_id,
        conversation_id=request.conversation_id,
        owner=request.owner,
        tool=f"{call.server_id}/{call.tool}",
        arguments=call.arguments,
        requested_at=call.asked_at,
        expires_at=call.expires_at,
        server_digest=call.server_digest,
        schema_digest=call.schema_digest,
    )


def make_question(active: ActiveRun, call: OpenCall) -> QuestionRequest:
    """The request for a person's answer to the question of a call."""
    assert call.question is not None
    assert call.asked_at is not None
    assert call.expires_at is not None
    request = active.request
    return QuestionRequest(
        run_id=request.run_id,
        question_id=call.question_id,
        tool_call_id=call.tool_call_id,
        agent_id=request.agent_id,
        conversation_id=request.conversation_id,
        owner=request.owner,
        tool=f"{call.server_id}/{call.tool}",
        message=call.question.message,
        requested_schema=call.question.requested_schema,
        url=call.question.url,
        requested_at=call.asked_at,
        expires_at=call.expires_at,
    )


def find_approval(
    conversation: Conversation | None, run_id: str, tool_call_id: str
) -> ApprovalRequest | None:
    """What a person is asked about a call of the active run; None if it waits for no decision."""
    active = None if conversation is None else conversation.active
    if active is None or active.request.run_id != run_id:
        return None
    for call in active.calls:
        if call.tool_call_id == tool_call_id and call.is_undecided and call.question is None:
            return make_approval(active, call)
    return None


def find_question(
    conversation: Conversation | None, run_id: str, question_id: str
) -> QuestionRequest | None:
    """What a tool asks a person in the active run; None if no such question waits."""
    active = None if conversation is None else conversation.active
    if active is None or active.request.run_id != run_id:
        return None
    for call in active.calls:
        if call.question is not None and call.question_id == question_id:
            return make_question(active, call)
    return None
