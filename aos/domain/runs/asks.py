"""Makes what people are asked about the tool calls of a run. Entry points: `make_ask`, `list_asks`,
`find_ask`.

The run's state says that a call waits before the rows of the lists exist. Both are made of the same
state, so it makes no difference who writes the rows.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.questions import QuestionRequest
from aos.domain.tools.tool import ApprovalRequest

AskRequest: TypeAlias = ApprovalRequest | QuestionRequest
R = TypeVar("R", bound=AskRequest)


def list_asks(conversation: Conversation | None, run_id: str) -> list[AskRequest]:
    """What people are asked in the active run and have not answered, in the order of the calls."""
    active = None if conversation is None else conversation.active
    if active is None or active.request.run_id != run_id:
        return []
    waiting = [call for call in active.calls if call.is_undecided and call.asked_at is not None]
    return [make_ask(active, call) for call in waiting]


def find_ask(
    conversation: Conversation | None, run_id: str, ask_id: str, *, kind: type[R]
) -> R | None:
    """What a person is asked in the active run under this id; None if nothing like it waits."""
    for ask in list_asks(conversation, run_id):
        if isinstance(ask, kind) and ask.ask_id == ask_id:
            return ask
    return None


def make_ask(active: ActiveRun, call: OpenCall) -> AskRequest:
    """What a person is asked about a call: the tool's question, or else for a decision."""
    return _make_approval(active, call) if call.question is None else _make_question(active, call)


def _make_approval(active: ActiveRun, call: OpenCall) -> ApprovalRequest:
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


def _make_question(active: ActiveRun, call: OpenCall) -> QuestionRequest:
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
        tool=call.full_name,
        message=call.question.message,
        requested_schema=call.question.requested_schema,
        url=call.question.url,
        requested_at=call.asked_at,
        expires_at=call.expires_at,
    )
