"""Defines tools, tool calls, their outcomes and approvals. Entry points: `ToolSchema`,
`ToolOutcome`, `Decision`.

Realm, mcp and main share these values. This module also makes the names under which tools are
offered to the model, and cuts results to the size that the model reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from aos.domain.codec import KEPT, OMITTED, encode
from aos.domain.json_writer import write_json
from aos.domain.tools.endpoint_rules import FittedTool
from aos.domain.tools.questions import CallPause, TaskWait

Outcome: TypeAlias = Literal["ok", "error", "outcome_unknown", "not_called", "denied"]
"""What a tool call came to. `outcome_unknown`: the call began, and how it ended is not known.
`not_called`: the call did not begin. `denied`: a person or the time-out denied it."""
ServerState: TypeAlias = Literal["starting", "ready", "failed", "stopped"]
Verdict: TypeAlias = Literal["approve", "deny"]

DELEGATE = "delegate"
"""The tool with which a LeadershipAgent asks its team."""
MAX_CALLS_A_TURN = 32
MAX_NAME = 64
UNNAMED = "unnamed"
"""How a call without a name is shown to a model."""
MAX_SHOWN_BYTES = 64 * 1024
"""Bytes of UTF-8 that the model reads of one result, with the note about the cut."""
DISABLED = "disabled by its card"
"""The only server error that every caller may read unchanged."""
_HASH_DIGITS = 8
_PREFIXES: Mapping[Outcome, str] = {
    "ok": "",
    "error": "error: ",
    "outcome_unknown": "outcome unknown: ",
    "not_called": "not called: ",
    "denied": "denied: ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSchema:
    """A tool as its MCP server lists it; `annotations` are MCP's (`readOnlyHint` …).

    `offered` is set if models get another description or schema than the server's.
    """

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    offered: FittedTool | None = field(default=None, metadata=OMITTED)

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of what the server lists; it changes when the tool changes."""
        told = encode(self, without=("offered",))
        text = write_json(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTools:
    """The row of an MCP server: its state, and the tools that it listed.

    `listed_at` is when it listed them, None before the first time. `card_digest` is the card that
    it was started from. `error` is the last error. A server that was stopped because it was idle
    keeps its tools and starts with the next call; a disabled server has no tools. `offer_rules`
    names the rules that made the `offered` of the tools.
    """

    server_id: str
    state: ServerState
    error: str | None = None
    tools: tuple[ToolSchema, ...] = ()
    listed_at: datetime | None = None
    seen_at: datetime | None = None
    instance: str | None = None
    card_digest: str | None = None
    offer_rules: str = field(default="", metadata=OMITTED)

    @property
    def has_list(self) -> bool:
        """Whether `tools` is what the server lists, also if it is idle or has just failed."""
        if self.listed_at is None or self.error == DISABLED:
            return False
        return bool(self.tools) or self.state in ("ready", "stopped")

    def list_offered(self) -> list[ToolSchema]:
        """The tools that models are offered."""
        return [t for t in self.tools if t.offered is None or t.offered.left_out is None]

    def error_for(self, *, is_admin: bool) -> str | None:
        """The error for a caller; only admins see the server's output."""
        if self.error is None or is_admin or self.error == DISABLED:
            return self.error
        what = "failed" if self.state == "failed" else "ended"
        return f"the MCP server {what}; an admin can read why"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """The outcome of a tool call. `content` is the text for the model, `parts` the MCP content
    blocks other than text.

    With a `pause` the call has not ended; the rest says what it came to if it does not go on.
    """

    outcome: Outcome
    content: str
    parts: tuple[dict[str, Any], ...] = ()
    pause: CallPause | None = field(default=None, metadata=OMITTED)

    @property
    def model_text(self) -> str:
        """The outcome as the model reads it."""
        return f"{_PREFIXES[self.outcome]}{self.content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool as the model is offered it; `parameters` is the server's JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCall:
    """A call as the model wrote it: the name may be unknown, the arguments may not be JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCall:
    """A tool call in an assistant's message: our id, and the model's name and arguments."""

    tool_call_id: str
    name: str
    arguments: Annotated[str, ("description", "as the model wrote them")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFields:
    """What a model endpoint sent beside an answer's text and calls (reasoning, signatures).

    Opaque: it is kept with the message and shown to the endpoint of this key alone, which may
    demand it back. `calls` has the fields of each tool call, by place.
    """

    endpoint: str
    message: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallRow:
    """A row of `aostoolcalls`: a call begun at `started_at` and held until `until`.

    `holder` is the id of the handler that began it, so that the handler recognizes its own row.
    `task` is set while the call goes on as a task. `etag` is None on a row that was not read from
    the store.
    """

    run_id: str
    tool_call_id: str
    conversation_id: str
    server_id: str
    tool: str
    started_at: datetime
    until: datetime
    holder: str = ""
    result: ToolOutcome | None = None
    etag: str | None = None
    task: TaskWait | None = field(default=None, metadata=OMITTED)
    unknown: Mapping[str, Any] = field(default_factory=dict, metadata=KEPT)

    def scrub(self) -> ToolCallRow:
        """This row as a deletion leaves it: without the row, a repeated command would make the
        call again. The id of a task that asks remains until the call is cancelled."""
        if self.result is None:
            return self
        pause = self.result.pause
        if pause is not None:
            pause = CallPause(kind=pause.kind, task_id=pause.task_id)
        rest = ToolOutcome(outcome=self.result.outcome, content="", pause=pause)
        return replace(self, result=rest, unknown={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision about a tool call that needs approval. It never changes.

    `decision_id` distinguishes two equal decisions of the same moment.
    """

    decision: Verdict
    reason: str
    decided_by: str
    decided_at: datetime
    decision_id: str = ""

    @property
    def said(self) -> str:
        """The decision, in one word."""
        return self.decision

    @property
    def said_by(self) -> str:
        """Who decided."""
        return self.decided_by

    @property
    def said_id(self) -> str:
        """The id of the decision."""
        return self.decision_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A tool call that waits for a decision; `tool` is `<server_id>/<tool>`.

    The decision is about this version of the tool: the card `server_digest` and the tool's own
    `schema_digest`. The digests are None in rows that older versions wrote.
    """

    run_id: str
    tool_call_id: str
    agent_id: str
    conversation_id: str
    owner: str
    tool: str
    arguments: Mapping[str, Any]
    requested_at: datetime
    expires_at: datetime
    server_digest: str | None = None
    schema_digest: str | None = None

    @property
    def ask_id(self) -> str:
        """Its id in the run."""
        return self.tool_call_id


def make_tool_call_id(run_id: str, *, turn: int, index: int) -> str:
    """Our id of a call, because models repeat theirs. `turn` and `index` count from 0."""
    return f"call_{run_id.replace('-', '')[:8]}_{turn}_{index}"


def make_round_id(tool_call_id: str, round_number: int) -> str:
    """The id of a call's row: the call's id, and the round's number once it went on."""
    return tool_call_id if not round_number else f"{tool_call_id}.{round_number}"


def make_tool_name(server_id: str, tool: str, *, hashed: bool = False) -> str:
    """The name under which a tool is offered: `<server_id>__<tool>`, at most 64 characters.

    A name that is too long or has characters that model endpoints refuse is cut and ends with a
    hash. `hashed` asks for that form, because another tool has the same name.
    """
    whole = f"{server_id}__{tool}"
    clean = _replace_characters(whole)
    if clean == whole and len(whole) <= MAX_NAME and not hashed:
        return whole
    digest = hashlib.sha256(f"{server_id}\n{tool}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{clean[: MAX_NAME - _HASH_DIGITS - 1]}_{digest}"


def clean_call_name(name: str) -> str:
    """The name of a call that a model made up, in the form that endpoints accept in a history."""
    return _replace_characters(name)[:MAX_NAME] or UNNAMED


def _replace_characters(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def cut_for_model(text: str, *, limit: int = MAX_SHOWN_BYTES) -> str:
    """The text cut to `limit` bytes of UTF-8, with a note when it was cut."""
    body = text.encode("utf-8", "replace")
    if len(body) <= limit:
        return text
    note = f"\n[cut: the whole result has {len(body):,} bytes]"
    kept = body[: limit - len(note.encode())].decode("utf-8", "ignore")
    return f"{kept}{note}"
