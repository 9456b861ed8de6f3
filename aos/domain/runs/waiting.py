"""Says what a run waits for and what its turns took. Entry points: `Waiting`, `Turn`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from aos.domain.codec import OMITTED
from aos.errors import ErrorInfo

WaitKind: TypeAlias = Literal["queue", "model", "tools", "approval", "input", "retry"]
"""What a run waits for: its turn in the conversation, the model's answer, results of tools, a
person's decision or answer, or the next try of something that is away."""
START_LIMIT = timedelta(hours=24)
"""How long a run may wait before it starts."""
MAX_TURNS = 32
"""Turns of a run that are shown: the last ones."""
MAX_TOOLS = 8
"""Tool calls of a turn that are shown: the first ones."""
MAX_CHILDREN = 256
"""Delegated runs of a run that are shown: the last ones."""
MAX_NAMES = 5
MAX_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why a run is not done.

    `until` is when AOS goes on by itself. `ends_with` says what ends the wait. `error` is what an
    operator has to mend. `tool_call_ids` are the calls that wait.
    """

    kind: WaitKind
    since: datetime
    until: datetime | None = None
    reason: str
    ends_with: str
    error: ErrorInfo | None = field(default=None, metadata=OMITTED)
    tool_call_ids: tuple[str, ...] = field(default=(), metadata=OMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTool:
    """A tool call of a turn; `milliseconds` from the command to the result.

    `state` is the outcome, before that the state of the call.
    """

    name: str
    state: str
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer of the model, with the tools that it asked for; `turn` counts from 1."""

    turn: int
    started_at: Annotated[datetime, ("description", "when the model was asked")]
    milliseconds: Annotated[int, ("description", "what the model's answer took")]
    input_tokens: int
    output_tokens: int
    tools: tuple[TurnTool, ...] = ()


def wait_in_queue(*, since: datetime, conversation_id: str) -> Waiting:
    """The wait of a run that has not started."""
    return Waiting(
        kind="queue",
        since=since,
        until=since + START_LIMIT,
        reason="the run has not started: realm has not taken it, or another run goes before it",
        ends_with="the end of the runs before it; GET /api/conversations/"
        f"{conversation_id} shows them",
    )


def name_calls(names: list[str]) -> str:
    """The names for a sentence, not too many of them."""
    shown = ", ".join(name[:MAX_NAME] for name in names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"
