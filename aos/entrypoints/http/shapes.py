"""Which shapes do answers and replies have?

JSON Schemas of what AOS says; what it is told is described by the pydantic models of
`aos.entrypoints.requests` and by the schemas of cards. Tests hold real answers against these.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from aos.domain.runs.run import RunStatus
from aos.errors import CODES

Schema: TypeAlias = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
ANY_OBJECT: Schema = {"type": "object"}
DIGEST_OR_NULL: Schema = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
SHAPES = "#/components/schemas/"


def _object(description: str, /, **properties: Schema) -> Schema:
    """An object that has all of these fields, and may have more."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }


def _with(shape: Schema, **more: Schema) -> Schema:
    """The object, which may also have these fields."""
    return {**shape, "properties": {**shape["properties"], **more}}


def _or_null(name: str) -> Schema:
    return {"anyOf": [{"$ref": f"{SHAPES}{name}"}, {"type": "null"}]}


def _page(item: Schema) -> Schema:
    return _object(
        "One page of a list",
        items={"type": "array", "items": item},
        next={
            "type": ["string", "null"],
            "description": "path and query of the next page; null on the last",
        },
    )


ERROR_INFO = _object(
    "What went wrong; type says who must act",
    code={"enum": sorted(CODES)},
    message=TEXT,
    type={"enum": ["caller", "operator", "retry", "model"]},
    retryable={"type": "boolean"},
    details=ANY_OBJECT,
)
_RUN_FIELDS: dict[str, Schema] = {
    "run_id": TEXT,
    "agent_id": TEXT,
    "card_digest": DIGEST_OR_NULL,
    "conversation_id": TEXT,
    "status": {"enum": [status.value for status in RunStatus]},
    "output": {"type": "string", "description": '"" when there is none'},
    "output_parts": {"type": ["array", "null"], "items": ANY_OBJECT},
    "usage": {"$ref": f"{SHAPES}Usage"},
    "model": TEXT_OR_NULL,
    "error": _or_null("ErrorInfo"),
    "metadata": ANY_OBJECT,
    "created_at": TIME,
    "started_at": TIME_OR_NULL,
    "ended_at": TIME_OR_NULL,
    "replay_of": TEXT_OR_NULL,
}
_REPLY_TYPES = ("completed", "failed", "cancelled", "timed_out", "refused")
_NULLABLE: Schema = {
    "agent_id": TEXT_OR_NULL,
    "conversation_id": TEXT_OR_NULL,
    "status": {"enum": [*_RUN_FIELDS["status"]["enum"], "refused"]},
    "output": TEXT_OR_NULL,
    "usage": _or_null("Usage"),
    "metadata": {"type": ["object", "null"]},
    "created_at": TIME_OR_NULL,
}
_STATUS_FIELDS: dict[str, Schema] = {
    "state": {"enum": ["active", "rejected", "disabled", "removed", None]},
    "digest": DIGEST_OR_NULL,
    "source_etag": TEXT_OR_NULL,
    "errors": {"type": "array", "items": {"$ref": f"{SHAPES}CardProblem"}},
    "warnings": {"type": "array", "items": {"$ref": f"{SHAPES}CardProblem"}},
}

ANSWERS: dict[str, Schema] = {
    "Object": ANY_OBJECT,
    "ErrorInfo": ERROR_INFO,
    "Error": _object("An error", error={"$ref": f"{SHAPES}ErrorInfo"}),
    "Usage": _object(
        "Tokens of the run's model calls",
        input_tokens=COUNT,
        output_tokens=COUNT,
        total_tokens=COUNT,
    ),
    "Run": _object("A run, the same in answers, replies and events", **_RUN_FIELDS),
    "Reply": _object(
        "A run's reply on the bus, or a refusal",
        version={"const": 1},
        type={"enum": [f"run.{name}" for name in _REPLY_TYPES]},
        **{**_RUN_FIELDS, **_NULLABLE},
    ),
    "RunPage": _page({"$ref": f"{SHAPES}Run"}),
    "Conversation": _object(
        "A conversation",
        conversation_id=TEXT,
        agent_id=TEXT,
        owner=TEXT,
        created_at=TIME,
        messages=COUNT,
        active_run_id=TEXT_OR_NULL,
        queued_run_ids={"type": "array", "items": TEXT},
        retry_at=TIME_OR_NULL,
    ),
    "ConversationPage": _page({"$ref": f"{SHAPES}Conversation"}),
    "Message": _with(
        _object(
            "A message of a conversation",
            role={"enum": ["user", "assistant", "tool"]},
            content=TEXT,
            run_id=TEXT,
            created_at=TIME,
        ),
        tool_calls={
            "type": "array",
            "items": _object(
                "A tool call that an assistant's message asks for",
                tool_call_id=TEXT,
                name=TEXT,
                arguments={"type": "string", "description": "as the model wrote them"},
            ),
        },
        tool_call_id={"type": "string", "description": "the call that a tool's message answers"},
        parts={"type": "array", "items": ANY_OBJECT, "description": "what was no text, as MCP's"},
    ),
    "MessagePage": _page({"$ref": f"{SHAPES}Message"}),
    "ToolPage": _page(
        _object(
            "An MCP server as last seen",
            server_id=TEXT,
            state={"enum": ["starting", "ready", "failed", "stopped"]},
            error=TEXT_OR_NULL,
            tools={
                "type": "array",
                "items": _object("A tool", name=TEXT, description=TEXT, inputSchema=ANY_OBJECT),
            },
        )
    ),
    "Approval": _object(
        "A tool call that waits for a decision",
        run_id=TEXT,
        tool_call_id=TEXT,
        agent_id=TEXT,
        conversation_id=TEXT,
        tool=TEXT,
        arguments=ANY_OBJECT,
        requested_at=TIME,
        expires_at=TIME,
        server_digest=TEXT_OR_NULL,
        schema_digest=TEXT_OR_NULL,
    ),
    "ApprovalPage": _page({"$ref": f"{SHAPES}Approval"}),
    "Decision": _object(
        "What was decided about a tool call",
        run_id=TEXT,
        tool_call_id=TEXT,
        decision={"enum": ["approve", "deny"]},
        reason=TEXT,
        decided_by=TEXT,
        decided_at=TIME,
    ),
    "CardProblem": _object(
        "What is wrong, where, what to write", path=TEXT, message=TEXT, hint=TEXT
    ),
    "CardStatus": _object("What became of an upload", **_STATUS_FIELDS),
    "CardPage": _page({"$ref": f"{SHAPES}CardStatus"}),
    "CardView": _object(
        "A card as uploaded, its status, and what serves instead of it",
        **_STATUS_FIELDS,
        card={"type": ["object", "null"]},
        serving={"type": ["object", "null"]},
    ),
    "VersionPage": _page(
        _object(
            "A card that served",
            digest=DIGEST_OR_NULL,
            catalog_version=COUNT,
            activated_at=TIME,
        )
    ),
    "Health": _object(
        "Whether what the app depends on answers",
        status={"enum": ["healthy", "unhealthy"]},
        timestamp=TIME,
    ),
    "Status": {
        **_object("Version and environment", version=TEXT, environment=TEXT),
        "properties": {
            "version": TEXT,
            "environment": TEXT,
            "catalog_version": {**COUNT_OR_NULL, "description": "for admins, as last seen"},
            "agents": {
                "type": ["object", "null"],
                "additionalProperties": COUNT,
                "description": "for admins, as last seen: agents by state",
            },
        },
    },
}
"""By the names that the route table uses."""
