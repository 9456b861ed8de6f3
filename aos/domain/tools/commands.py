"""Defines the commands about tool calls, approvals and delegated runs. Entry points: `CallTool`,
`ToolResult`, `RequestRun`.

The fields of a class are the fields of its JSON object, in their order. `aos.domain.command_fields`
adds those that all commands have; `aos.domain.envelope` reads and addresses commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aos.domain.codec import OMITTED
from aos.domain.command_fields import CommandFields
from aos.domain.runs.run import ParentRun, Usage, run_id_for
from aos.domain.tools.questions import CallPause, CallResume
from aos.domain.tools.tool import Outcome, ToolOutcome, make_round_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTool(CommandFields):
    """Realm to mcp: call this tool, unless its row has a result or `deadline` has passed.

    The digests are those of the tool that a person approved: a changed tool is not called.
    `round_number` counts how often the call went on after a pause, `resume` says how it goes on.
    """

    type: Literal["CallTool"] = "CallTool"
    run_id: str
    conversation_id: str
    tool_call_id: str
    agent_id: str
    server_id: str
    tool: str
    arguments: Mapping[str, Any]
    deadline: datetime
    server_digest: str | None = None
    schema_digest: str | None = None
    traceparent: str | None = None
    attempt: int = 0
    round_number: int = field(default=0, metadata=OMITTED)
    resume: CallResume | None = field(default=None, metadata=OMITTED)

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:{self.row_id}:call"

    @property
    def row_id(self) -> str:
        """The id of the row that records this round of the call."""
        return make_round_id(self.tool_call_id, self.round_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult(CommandFields):
    """Mcp to realm, or main to realm for a delegated run: the outcome of a tool call.

    `tokens` is what a delegated run and those that it delegated used; it counts against the
    parent's limit. `usage` says the same in full. With a `pause` the call has not ended.
    """

    type: Literal["ToolResult"] = "ToolResult"
    run_id: str
    conversation_id: str
    tool_call_id: str
    outcome: Outcome
    content: str
    parts: tuple[dict[str, Any], ...] = ()
    tokens: int = 0
    traceparent: str | None = None
    attempt: int = 0
    usage: Usage | None = field(default=None, metadata=OMITTED)
    round_number: int = field(default=0, metadata=OMITTED)
    pause: CallPause | None = field(default=None, metadata=OMITTED)

    def __post_init__(self) -> None:
        if self.tokens < 0:  # would give budget back
            raise ValueError("tokens is negative")

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:{make_round_id(self.tool_call_id, self.round_number)}:result"

    @property
    def result(self) -> ToolOutcome:
        """The outcome as the state holds it."""
        return ToolOutcome(
            outcome=self.outcome, content=self.content, parts=self.parts, pause=self.pause
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(CommandFields):
    """Main to realm: a decision about this call is stored, or an answer to its question. Realm
    reads the row."""

    type: Literal["Approve"] = "Approve"
    run_id: str
    conversation_id: str
    tool_call_id: str
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:{self.tool_call_id}:approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRun(CommandFields):
    """Realm to main: admit a delegated run. Its end becomes the result of the parent's call."""

    type: Literal["RequestRun"] = "RequestRun"
    parent: ParentRun
    owner: str
    agent_id: str
    message: str
    as_admin: bool = False
    traceparent: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.parent.run_id}:{self.parent.tool_call_id}:delegate"

    @property
    def run_id(self) -> str:
        """The delegated run's id."""
        parent = self.parent
        return name_delegated_run(
            owner=self.owner, run_id=parent.run_id, tool_call_id=parent.tool_call_id
        )

    @property
    def conversation_id(self) -> str:
        """The delegated run's conversation: one of its own."""
        return self.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCall(CommandFields):
    """Realm to mcp: the run has ended, so cancel the task of this call, or do not make it.

    mcp sends it to itself, with `task_id` and how often it has tried, to cancel a task whose
    server was away.
    """

    type: Literal["CancelCall"] = "CancelCall"
    run_id: str
    conversation_id: str
    tool_call_id: str
    server_id: str
    tool: str
    round_number: int = field(default=0, metadata=OMITTED)
    task_id: str | None = field(default=None, metadata=OMITTED)
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:{self.row_id}:cancel-call"

    @property
    def row_id(self) -> str:
        """The id of the row that records the last round of the call."""
        return make_round_id(self.tool_call_id, self.round_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelChild(CommandFields):
    """Realm to main: the parent has ended, so cancel the run that it delegated with this call."""

    type: Literal["CancelChild"] = "CancelChild"
    run_id: str
    conversation_id: str
    owner: str
    tool_call_id: str
    child_run_id: str = field(init=False)
    """The delegated run's id."""
    attempt: int = 0

    def __post_init__(self) -> None:
        child_run_id = name_delegated_run(
            owner=self.owner, run_id=self.run_id, tool_call_id=self.tool_call_id
        )
        object.__setattr__(self, "child_run_id", child_run_id)

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has; it contains the parent's run id."""
        return f"{self.run_id}:{self.tool_call_id}:cancel-child"


def name_delegated_run(*, owner: str, run_id: str, tool_call_id: str) -> str:
    """The id of the run that this call of the run `run_id` delegates."""
    return run_id_for(scope=delegation_scope(owner), key=f"{run_id}:{tool_call_id}")


def delegation_scope(owner: str) -> str:
    """The idempotency scope of the door `delegation`."""
    return f"delegation:{owner}"


def delegation_key(parent: ParentRun) -> str:
    """The idempotency key of a delegated run."""
    return f"{parent.run_id}:{parent.tool_call_id}"
