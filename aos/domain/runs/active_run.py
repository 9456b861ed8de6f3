"""Holds the state of a conversation's active run. Entry point: `ActiveRun`.

The state is the run's clocks, its counts, and the tool calls of its current turn. The rules that
change it are in `aos.domain.runs.advance` and `aos.domain.runs.tool_turns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from aos.domain.codec import KEPT, OMITTED
from aos.domain.runs.run import (
    AdmittedRequest,
    FinishReason,
    Run,
    RunStatus,
    Usage,
)
from aos.domain.runs.waiting import (
    MAX_CHILDREN,
    MAX_NAME,
    MAX_TOOLS,
    MAX_TURNS,
    Turn,
    TurnTool,
    Waiting,
    name_calls,
)
from aos.domain.tools.commands import name_delegated_run
from aos.domain.tools.questions import CallPause, GivenAnswer, ToolQuestion, make_question_id
from aos.domain.tools.tool import DELEGATE, MessageCall, ToolOutcome

WALL_LIMIT = timedelta(hours=48)
CallState: TypeAlias = Literal["to_ask", "asked", "called", "answered"]
"""`to_ask`: a person has to decide or to answer, and the call is in no list yet; `asked`: is in the
list of approvals or of questions; `called`: the command is in the outbox or was sent; `answered`:
the result came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A tool call of the current turn.

    `server_id` None: the call is `delegate`, or names a tool that does not exist. `written` is the
    model's text of the arguments. The digests are those of the tool that a person was asked about,
    None when nobody is asked. `called_at` is the time of the command, `milliseconds` what followed
    until the result. `round_number` counts how often the call went on after a `pause`, whose first
    `answered` questions have answers; `answers` are all of them. While it is paused, `result` is
    what it came to if it does not go on.
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
    called_at: datetime | None = field(default=None, metadata=OMITTED)
    milliseconds: int | None = field(default=None, metadata=OMITTED)
    round_number: int = field(default=0, metadata=OMITTED)
    pause: CallPause | None = field(default=None, metadata=OMITTED)
    answers: tuple[GivenAnswer, ...] = field(default=(), metadata=OMITTED)
    answered: int = field(default=0, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

    @property
    def is_undecided(self) -> bool:
        """True while a person has not decided, or has not answered the tool's question."""
        return self.state in ("to_ask", "asked")

    @property
    def delegates(self) -> bool:
        """Whether the call asks for a run of another agent."""
        return self.server_id is None and self.tool == DELEGATE

    @property
    def is_of_client(self) -> bool:
        """Whether the application that asked runs the tool, and its result is waited for."""
        return self.pause is not None and self.pause.kind == "client"

    @property
    def full_name(self) -> str:
        """The server's id and the tool's name; the model's name of a tool without a server."""
        return self.name if self.server_id is None else f"{self.server_id}/{self.tool}"

    @property
    def as_turn_tool(self) -> TurnTool:
        """The call as the run object shows it."""
        state = self.state if self.result is None else self.result.outcome
        return TurnTool(name=self.full_name[:MAX_NAME], state=state, milliseconds=self.milliseconds)

    @property
    def question(self) -> ToolQuestion | None:
        """The tool's question that waits for an answer."""
        if self.pause is None or not self.is_undecided:
            return None
        return self.pause.questions[self.answered]

    @property
    def question_id(self) -> str:
        """The id of the question that waits, or would be the next."""
        return make_question_id(self.tool_call_id, len(self.answers) + 1)

    @property
    def message_call(self) -> MessageCall:
        """The call as it stands in the assistant's message."""
        return MessageCall(tool_call_id=self.tool_call_id, name=self.name, arguments=self.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """The run that a conversation works on.

    `clock_seconds` is the time of its turns, and of waiting for tools up to `waiting_since`.
    `approval_seconds` is the time of waiting for people (their decisions and answers) up to
    `approval_since`. `turns` counts
    answers of the model, `tool_calls` the calls that were made. `wake_at` is the time of the
    scheduled ContinueRun. `tools_since` is set while servers have not listed their tools.
    `max_tokens` None means no limit; tokens of delegated runs (`child_tokens`) count against it.
    `retry` says what a run waits for while something is away. `turn_since` is the time from which
    the next turn is due. `turn_log` are the last turns, `child_run_ids` the last runs that it
    delegated, `last_event_id` the id of its last saved event.
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
    retry: Waiting | None = field(default=None, metadata=OMITTED)
    unavailable_servers: tuple[str, ...] = field(default=(), metadata=OMITTED)
    turn_since: datetime | None = field(default=None, metadata=OMITTED)
    turn_log: tuple[Turn, ...] = field(default=(), metadata=OMITTED)
    child_run_ids: tuple[str, ...] = field(default=(), metadata=OMITTED)
    children_usage: Usage | None = field(default=None, metadata=OMITTED)
    last_event_id: int = field(default=0, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

    @property
    def run(self) -> Run:
        """The run object of a run that has not ended."""
        return replace(
            Run.from_request(self.request),
            status=self._status,
            card_digest=self.card_digest,
            started_at=self.started_at,
            usage=self.usage,
            model=self.model,
            finish_reason=self.finish_reason,
            waiting=self._waiting,
            unavailable_servers=self.unavailable_servers,
            child_run_ids=self.child_run_ids,
            children_usage=self.children_usage,
            turns=self._turns,
        )

    @property
    def _status(self) -> RunStatus:
        waiting = [call for call in self.calls if call.is_undecided]
        if any(call.question is None for call in waiting):
            return RunStatus.WAITING_APPROVAL
        return RunStatus.WAITING_INPUT if waiting else RunStatus.IN_PROGRESS

    @property
    def _waiting(self) -> Waiting:
        """What the run waits for, as its state says."""
        if self.retry is not None:
            return self.retry
        undecided = [call for call in self.calls if call.is_undecided]
        to_decide = [call for call in undecided if call.question is None]
        if to_decide:
            return self._wait_for_people(to_decide)
        if undecided:
            return self._wait_for_answers(undecided)
        called = [call for call in self.calls if call.state == "called"]
        if called:
            return Waiting(
                kind="tools",
                since=min(call.called_at or self.started_at for call in called),
                until=self.clock_end,
                reason=f"no result yet of {name_calls([call.full_name for call in called])}",
                ends_with="the results; at the time of `until` the run times out",
                tool_call_ids=tuple(call.tool_call_id for call in called),
            )
        since = self.turn_since or self.started_at
        return Waiting(
            kind="model",
            since=since,
            until=since + timedelta(seconds=self.seconds_left),
            reason="the model is asked",
            ends_with="the model's answer; at the time of `until` the run times out",
        )

    def _wait_for_people(self, calls: list[OpenCall]) -> Waiting:
        expiries = [call.expires_at for call in calls if call.expires_at is not None]
        return Waiting(
            kind="approval",
            since=min(call.asked_at or self.started_at for call in calls),
            until=min(expiries, default=None),
            reason=f"a person has to decide about {name_calls([c.full_name for c in calls])}",
            ends_with=f"POST /api/runs/{self.request.run_id}/approvals/{calls[0].tool_call_id};"
            " at the time of `until` the call is denied",
            tool_call_ids=tuple(call.tool_call_id for call in calls),
        )

    def _wait_for_answers(self, calls: list[OpenCall]) -> Waiting:
        expiries = [call.expires_at for call in calls if call.expires_at is not None]
        of_client = all(call.is_of_client for call in calls)
        who = "the application that asked" if of_client else "a person"
        return Waiting(
            kind="input",
            since=min(call.asked_at or self.started_at for call in calls),
            until=min(expiries, default=None),
            reason=f"{who} has to answer {name_calls([c.full_name for c in calls])}",
            ends_with=f"POST /api/runs/{self.request.run_id}/questions/{calls[0].question_id};"
            " at the time of `until` the answer is cancel",
            tool_call_ids=tuple(call.tool_call_id for call in calls),
        )

    @property
    def _turns(self) -> tuple[Turn, ...]:
        """The turns, the last one with the calls that are open."""
        if not self.calls or not self.turn_log:
            return self.turn_log
        tools = tuple(call.as_turn_tool for call in self.calls[:MAX_TOOLS])
        return (*self.turn_log[:-1], replace(self.turn_log[-1], tools=tools))

    @property
    def tokens(self) -> int:
        """The tokens that count against `max_tokens`."""
        return self.usage.input_tokens + self.usage.output_tokens + self.child_tokens

    @property
    def tokens_left(self) -> int | None:
        """The tokens that a delegated run may use; None means no limit."""
        return None if self.max_tokens is None else max(0, self.max_tokens - self.tokens)

    @property
    def output_tokens_left(self) -> int | None:
        """The tokens that the next answer may have; None means no limit."""
        options = self.request.options
        wanted = None if options is None else options.max_output_tokens
        if wanted is not None:
            wanted = max(1, wanted - self.usage.output_tokens)
        return min((left for left in (self.tokens_left, wanted) if left is not None), default=None)

    @property
    def share_of_tokens(self) -> int | None:
        """The tokens that one of the delegated runs of this turn may use; None means no limit.

        Those that have not ended share what is left, so that they cannot spend it twice.
        """
        waits = sum(call.delegates and call.state != "answered" for call in self.calls)
        return None if self.tokens_left is None else self.tokens_left // max(1, waits)

    @property
    def seconds_left(self) -> float:
        """The rest of the run's clock, as last read."""
        return max(0.0, self.run_timeout_seconds - self.clock_seconds)

    def count_turn(self, *, usage: Usage, model: str, seconds: float, now: datetime) -> ActiveRun:
        """The run after one more answer of the model, which came now."""
        turn = Turn(
            turn=self.turns + 1,
            started_at=now - timedelta(milliseconds=int(seconds * 1000)),
            milliseconds=int(seconds * 1000),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )
        return replace(
            self,
            clock_seconds=self.clock_seconds + seconds,
            turns=self.turns + 1,
            usage=self.usage + usage,
            model=model,
            tools_since=None,
            retry=None,
            turn_log=(*self.turn_log, turn)[-MAX_TURNS:],
        )

    def close_turn(self, *, now: datetime) -> ActiveRun:
        """The run when all results of its turn are there: the next turn is due."""
        return replace(self, calls=(), turn_since=now, turn_log=self._turns)

    def count_child(self, *, tokens: int, usage: Usage | None) -> ActiveRun:
        """The run after the end of a run that it delegated. A call of a tool has no tokens."""
        total = self.children_usage
        if usage is not None:
            total = usage if total is None else total + usage
        return replace(self, child_tokens=self.child_tokens + tokens, children_usage=total)

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
        new = [call for call in calls if call.state == "called" and call.called_at is None]
        children = tuple(self._name_child(call) for call in new if call.delegates)
        calls = tuple(replace(c, called_at=now) if c in new else c for c in calls)
        return replace(
            self.read_clocks(now),
            calls=calls,
            child_run_ids=(*self.child_run_ids, *children)[-MAX_CHILDREN:],
            waiting_since=now if any(call.state == "called" for call in calls) else None,
            approval_since=now if any(call.is_undecided for call in calls) else None,
        )

    def _name_child(self, call: OpenCall) -> str:
        """The id of the run that the call delegates."""
        request = self.request
        return name_delegated_run(
            owner=request.owner, run_id=request.run_id, tool_call_id=call.tool_call_id
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
