"""Holds the state of a conversation's active run. Entry point: `ActiveRun`.

The state is the run's clocks, its counts, and the tool calls of its current turn. The rules that
change it are in `aos.domain.runs.advance` and `aos.domain.runs.tool_turns`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from aos.domain.codec import OMITTED
from aos.domain.runs.run import AdmittedRequest, FinishReason, Run, RunStatus, Usage
from aos.domain.tools.tool import MessageCall, ToolOutcome
from aos.errors import ErrorInfo

WALL_LIMIT = timedelta(hours=48)
CallState: TypeAlias = Literal["to_ask", "asked", "called", "answered"]
"""`to_ask`: needs a decision and is not in the list of approvals yet; `asked`: is in that list;
`called`: the command is in the outbox or was sent; `answered`: the result came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A tool call of the current turn.

    `server_id` None: the call is `delegate`, or names a tool that does not exist. `written` is the
    model's text of the arguments. The digests are those of the tool that a person was asked about,
    None when nobody is asked.
    """

    tool_call_id: str
    name: str
    written: str
    state: CallState
    server_id: str | None = None
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    asked_at: datetime | None = None
    expires_at: datetime | None = None
    result: ToolOutcome | None = None
    server_digest: str | None = None
    schema_digest: str | None = None

    @property
    def is_undecided(self) -> bool:
        """True while a person has not decided."""
        return self.state in ("to_ask", "asked")

    @property
    def message_call(self) -> MessageCall:
        """The call as it stands in the assistant's message."""
        return MessageCall(tool_call_id=self.tool_call_id, name=self.name, arguments=self.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """The run that a conversation works on.

    `clock_seconds` is the time of its turns, and of waiting for tools up to `waiting_since`.
    `approval_seconds` is the time of waiting for people up to `approval_since`. `turns` counts
    answers of the model, `tool_calls` the calls that were made. `wake_at` is the time of the
    scheduled ContinueRun. `tools_since` is set while servers have not listed their tools.
    `max_tokens` None means no limit; tokens of delegated runs (`child_tokens`) count against it.
    """

    request: AdmittedRequest
    card_digest: str
    run_timeout_seconds: float
    started_at: datetime
    clock_seconds: float = 0.0
    max_tokens: int | None = None
    turns: int = 0
    tool_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    child_tokens: int = 0
    model: str | None = None
    calls: tuple[OpenCall, ...] = ()
    waiting_since: datetime | None = None
    approval_since: datetime | None = None
    approval_seconds: float = 0.0
    wake_at: datetime | None = None
    tools_since: datetime | None = None
    finish_reason: FinishReason | None = field(default=None, metadata=OMITTED)
    waiting_for: ErrorInfo | None = field(default=None, metadata=OMITTED)
    unavailable_servers: tuple[str, ...] = field(default=(), metadata=OMITTED)

    @property
    def run(self) -> Run:
        """The run object of a run that has not ended."""
        waits = any(call.is_undecided for call in self.calls)
        return replace(
            Run.from_request(self.request),
            status=RunStatus.WAITING_APPROVAL if waits else RunStatus.IN_PROGRESS,
            card_digest=self.card_digest,
            started_at=self.started_at,
            usage=self.usage,
            model=self.model,
            finish_reason=self.finish_reason,
            waiting_for=self.waiting_for,
            unavailable_servers=self.unavailable_servers,
        )

    @property
    def tokens(self) -> int:
        """The tokens that count against `max_tokens`."""
        return self.usage.input_tokens + self.usage.output_tokens + self.child_tokens

    @property
    def tokens_left(self) -> int | None:
        """The tokens that a delegated run may use; None means no limit."""
        return None if self.max_tokens is None else max(0, self.max_tokens - self.tokens)

    @property
    def seconds_left(self) -> float:
        """The rest of the run's clock, as last read."""
        return max(0.0, self.run_timeout_seconds - self.clock_seconds)

    def count_turn(self, *, usage: Usage, model: str, seconds: float) -> ActiveRun:
        """The run after one more answer of the model."""
        return replace(
            self,
            clock_seconds=self.clock_seconds + seconds,
            turns=self.turns + 1,
            usage=self.usage + usage,
            model=model,
            tools_since=None,
            waiting_for=None,
        )

    def count_spent(self, *, usage: Usage, seconds: float) -> ActiveRun:
        """The run after answers of the model that it could not use."""
        return replace(self, clock_seconds=self.clock_seconds + seconds, usage=self.usage + usage)

    def read_clocks(self, now: datetime) -> ActiveRun:
        """The run with both clocks read at `now`; they continue from there."""
        return replace(
            self,
            clock_seconds=self.clock_seconds + _since(self.waiting_since, now),
            waiting_since=None if self.waiting_since is None else now,
            approval_seconds=self.approval_seconds + _since(self.approval_since, now),
            approval_since=None if self.approval_since is None else now,
        )

    def with_calls(self, calls: tuple[OpenCall, ...], *, now: datetime) -> ActiveRun:
        """Return the run with these calls. Its clocks are read, and then set for the new wait."""
        return replace(
            self.read_clocks(now),
            calls=calls,
            waiting_since=now if any(call.state == "called" for call in calls) else None,
            approval_since=now if any(call.is_undecided for call in calls) else None,
        )

    @property
    def clock_end(self) -> datetime | None:
        """When the clock is spent if no result comes; None while the clock is stopped."""
        if self.waiting_since is None:
            return None
        return self.waiting_since + timedelta(seconds=self.seconds_left)

    @property
    def wall_end(self) -> datetime | None:
        """When the wall time without approvals is spent; None while a person has to decide."""
        if self.approval_since is not None:
            return None
        return self.started_at + WALL_LIMIT + timedelta(seconds=self.approval_seconds)


def _since(moment: datetime | None, now: datetime) -> float:
    """Seconds since `moment`, never negative: the clocks of machines differ."""
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
