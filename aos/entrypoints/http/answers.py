"""Defines the answers that are not values of the domain. Entry points: `ConversationAnswer`,
`ServerAnswer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from aos.domain.codec import OMITTED
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.endpoint_rules import FittedTool
from aos.domain.tools.questions import AnswerAction, QuestionRequest
from aos.domain.tools.tool import ServerState, ServerTools, ToolSchema

NOT_OF_A_MESSAGE = ("sequence", "fields")
"""The fields of the domain's values that answers leave out."""
NOT_OF_AN_APPROVAL = ("owner",)
NOT_OF_A_DECISION = ("decision_id",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationAnswer:
    """A conversation."""

    conversation_id: str
    agent_id: str
    owner: str
    created_at: datetime
    messages: int
    active_run_id: str | None
    queued_run_ids: tuple[str, ...]
    retry_at: datetime | None

    @classmethod
    def of(cls, head: Conversation) -> ConversationAnswer:
        """Build the answer from a conversation's head."""
        return cls(
            conversation_id=head.conversation_id,
            agent_id=head.agent_id,
            owner=head.owner,
            created_at=head.created_at,
            messages=head.next_sequence,
            active_run_id=None if head.active is None else head.active.request.run_id,
            queued_run_ids=tuple(request.run_id for request in head.queued),
            retry_at=head.retry_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """A tool."""

    name: str
    description: str
    inputSchema: Mapping[str, Any]
    annotations: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=(), metadata=OMITTED)
    left_out: str | None = field(default=None, metadata=OMITTED)

    @classmethod
    def of(cls, tool: ToolSchema) -> ToolAnswer:
        """A tool under MCP's names, with what models are told differently of it."""
        fitted = tool.offered or FittedTool()
        return cls(
            notes=fitted.notes,
            left_out=fitted.left_out,
            name=tool.name,
            description=tool.description,
            inputSchema=tool.input_schema,
            annotations=tool.annotations,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """An MCP server as last seen."""

    server_id: str
    state: ServerState
    error: str | None
    tools: tuple[ToolAnswer, ...]
    listed_at: datetime | None

    @classmethod
    def of(cls, row: ServerTools, *, is_admin: bool) -> ServerAnswer:
        """Build the answer from a server's row, with what the caller may read."""
        return cls(
            server_id=row.server_id,
            state=row.state,
            error=row.error_for(is_admin=is_admin),
            tools=tuple(ToolAnswer.of(tool) for tool in row.tools),
            listed_at=row.listed_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionItem:
    """A tool's question that waits for a person's answer."""

    run_id: str
    question_id: str
    tool_call_id: str
    agent_id: str
    conversation_id: str
    tool: str
    mode: Annotated[Literal["form", "url"], ("description", "fill in a form, or visit a URL")]
    message: str
    requested_schema: Mapping[str, Any] | None = field(default=None, metadata=OMITTED)
    url: str | None = field(default=None, metadata=OMITTED)
    requested_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, question: QuestionRequest) -> QuestionItem:
        """A question as those see it who may answer."""
        return cls(
            run_id=question.run_id,
            question_id=question.question_id,
            tool_call_id=question.tool_call_id,
            agent_id=question.agent_id,
            conversation_id=question.conversation_id,
            tool=question.tool,
            mode="form" if question.url is None else "url",
            message=question.message,
            requested_schema=question.requested_schema,
            url=question.url,
            requested_at=question.requested_at,
            expires_at=question.expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerAnswer:
    """An answer to a tool's question, without the form's content."""

    run_id: str
    question_id: str
    action: AnswerAction
    answered_by: str
    answered_at: datetime
