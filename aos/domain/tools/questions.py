"""Defines the questions of tools to people, and how a call goes on after them. Entry points:
`ToolQuestion`, `CallPause`, `CallResume`.

A call that asks, or that has become a task, has not ended: mcp tells realm of a `CallPause`. When
all its questions are answered, the next CallTool holds a `CallResume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.codec import OMITTED

AnswerAction: TypeAlias = Literal["accept", "decline", "cancel"]
"""What a person answers, in MCP's words. `cancel` is also the answer of the time-out."""
PauseKind: TypeAlias = Literal["retry", "replay", "task", "client"]
"""How a call goes on. `retry`: MCP's `input_required`, the call again with the answers and the
request state. `replay`: the server asked during the call and was told `cancel`, the call again
from its start. `task`: the task is told the answers, and asked for its result. `client`: the answer
is the result, because the application that asked runs the tool."""

MAX_QUESTIONS = 10
"""Questions that one call may ask; the SDKs of MCP give up after as many."""
MAX_MESSAGE_CHARACTERS = 8_000
MAX_URL_CHARACTERS = 2_000
MAX_STATE_BYTES = 128 * 1024
MAX_TASK_ID = 512
QUESTION_SECONDS = 86_400
"""How long a question waits for an answer."""
SHORTEST_POLL_SECONDS, USUAL_POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 5.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolQuestion:
    """What a tool asks a person: to fill in a form, or to visit `url`.

    `key` is the server's name of the question in its result, "" for one that it asked by a request.
    """

    key: str
    message: str
    requested_schema: Mapping[str, Any] | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """A question with its answer; `values` are those of the form."""

    question: ToolQuestion
    action: AnswerAction
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPause:
    """Why a call has not ended, and how it goes on.

    A `task` without questions is asked again after `poll_seconds`; mcp does not tell realm of it.
    """

    kind: PauseKind
    questions: tuple[ToolQuestion, ...] = ()
    request_state: str | None = None
    task_id: str | None = None
    poll_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResume:
    """How to go on with a call: the answers to its last questions, and those given `earlier`."""

    kind: PauseKind
    answers: tuple[GivenAnswer, ...] = ()
    earlier: tuple[GivenAnswer, ...] = ()
    request_state: str | None = None
    task_id: str | None = None

    @property
    def all_answers(self) -> tuple[GivenAnswer, ...]:
        """All answers that the call has got, in their order."""
        return (*self.earlier, *self.answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWait:
    """A task that a call has become, and when to ask for it next.

    `asked_by` is the broker's sequence number of the message whose handler wrote this. That
    message alone is followed by the next one: other copies of the command end.
    """

    task_id: str
    poll_at: datetime
    asked_by: int | None = field(default=None, metadata=OMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRequest:
    """A question of a tool that waits for a person's answer; `tool` is `<server_id>/<tool>`.

    Either `requested_schema` is set, the JSON Schema of the form, or `url`, an address that the
    person must visit.
    """

    run_id: str
    question_id: str
    tool_call_id: str
    agent_id: str
    conversation_id: str
    owner: str
    tool: str
    message: str
    requested_schema: Mapping[str, Any] | None = None
    url: str | None = None
    requested_at: datetime
    expires_at: datetime

    @property
    def ask_id(self) -> str:
        """Its id in the run."""
        return self.question_id


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswer:
    """The answer to a question. It never changes.

    `answer_id` distinguishes two equal answers of the same moment.
    """

    action: AnswerAction
    values: Mapping[str, Any] | None = None
    answered_by: str
    answered_at: datetime
    answer_id: str = field(default="", metadata=OMITTED)

    @property
    def said(self) -> str:
        """The answer, in one word."""
        return self.action

    @property
    def said_by(self) -> str:
        """Who answered."""
        return self.answered_by

    @property
    def said_id(self) -> str:
        """The id of the answer."""
        return self.answer_id


def make_question_id(tool_call_id: str, number: int) -> str:
    """The id of a call's question: the call's id, and from the second question on its number."""
    return tool_call_id if number == 1 else f"{tool_call_id}.{number}"
