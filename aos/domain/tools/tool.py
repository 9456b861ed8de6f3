"""What is a tool, what does a call of one come to, and who may let it happen?

Values that realm, mcp and main share: tools as an MCP server lists them, tool calls under ids of
ours, their outcomes, and the decisions of people. The names under which tools are offered to the
model, and what the model is shown of a result, are made here, once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from aos.domain.codec import encode
from aos.domain.json_writer import write_json

Outcome: TypeAlias = Literal["ok", "error", "outcome_unknown", "not_called", "denied"]
"""What became of a tool call. `outcome_unknown`: it was begun, and nobody can tell how it ended.
`not_called`: it was never begun. `denied`: a person, or the time-out, said no."""
ServerState: TypeAlias = Literal["starting", "ready", "failed", "stopped"]
Verdict: TypeAlias = Literal["approve", "deny"]

DELEGATE = "delegate"
"""The tool that a LeadershipAgent gets for its team."""
MAX_CALLS_A_TURN = 32
MAX_NAME = 64
MAX_SHOWN_BYTES = 64 * 1024
"""What the model is shown of one result, in UTF-8, the note of what was cut included."""
DISABLED = "disabled by its card"
"""The one error of a server that every caller may read as it is."""
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
    """A tool as its MCP server lists it; `annotations` are MCP's (`readOnlyHint` …)."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The SHA-256 of all that it says, in hex: it changes when the tool does."""
        text = write_json(encode(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTools:
    """An MCP server as last seen: its state, since when and by which instance, and its tools.

    `listed_at` is when it listed them, None while it has not; `card_digest` is the card that it was
    started from; `error` says what went wrong last. A server that
    was stopped because nobody used it keeps its tools and starts again with the next call; one that
    its card disables has none.
    """

    server_id: str
    state: ServerState
    error: str | None = None
    tools: tuple[ToolSchema, ...] = ()
    listed_at: datetime | None = None
    seen_at: datetime | None = None
    instance: str | None = None
    card_digest: str | None = None

    def error_for(self, *, is_admin: bool) -> str | None:
        """What went wrong, for a caller: what the server printed is for admins."""
        if self.error is None or is_admin or self.error == DISABLED:
            return self.error
        what = "failed" if self.state == "failed" else "ended"
        return f"the MCP server {what}; an admin can read why"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What a tool call came to: `content` is what the model is told, `parts` the MCP content
    blocks other than text."""

    outcome: Outcome
    content: str
    parts: tuple[dict[str, Any], ...] = ()

    @property
    def model_text(self) -> str:
        """The outcome as the model reads it."""
        return f"{_PREFIXES[self.outcome]}{self.content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool as the model is told of it; `parameters` is its JSON Schema, untouched."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCall:
    """A call as the model asks for it: a name that it was offered (or not), and arguments that
    may be no JSON at all."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCall:
    """A tool call in an assistant's message: under our id, as the model wrote it."""

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
    """A row of `aostoolcalls`: a call begun at `started_at`; until `until` nobody else begins it.

    `holder` is the id of the handling that began it, by which that knows its own row again.
    `etag` is None on a row not read from the store.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a tool call that needs a person's approval; it stands for ever.

    `decision_id` tells two decisions apart that say the same at the same moment.
    """

    decision: Verdict
    reason: str
    decided_by: str
    decided_at: datetime
    decision_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A tool call that waits for a decision; `tool` as `<server_id>/<tool>`.

    The decision holds for the tool as it is now: the server's card `server_digest` and the tool's
    own `schema_digest`. None where a version before this one asked.
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


def tool_call_id(run_id: str, *, turn: int, index: int) -> str:
    """Our id of a call: models repeat theirs. `turn` and `index` count from 0."""
    return f"call_{run_id.replace('-', '')[:8]}_{turn}_{index}"


def offered_name(server_id: str, tool: str, *, hashed: bool = False) -> str:
    """The name under which a tool is offered: `<server_id>__<tool>`, at most 64 characters.

    What is too long, holds characters that model endpoints refuse, or is `hashed` because two
    tools would share a name, is cut and ends with a hash of the whole.
    """
    whole = f"{server_id}__{tool}"
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", whole)
    if clean == whole and len(whole) <= MAX_NAME and not hashed:
        return whole
    digest = hashlib.sha256(f"{server_id}\n{tool}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{clean[: MAX_NAME - _HASH_DIGITS - 1]}_{digest}"


def shown(text: str, *, limit: int = MAX_SHOWN_BYTES) -> str:
    """The text as the model is shown it: at most `limit` bytes of UTF-8, with a note of the cut."""
    body = text.encode("utf-8", "replace")
    if len(body) <= limit:
        return text
    note = f"\n[cut: the whole result has {len(body):,} bytes]"
    kept = body[: limit - len(note.encode())].decode("utf-8", "ignore")
    return f"{kept}{note}"
