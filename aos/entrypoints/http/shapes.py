"""Makes the JSON Schemas of answers and replies from their dataclasses. Entry point: `ANSWERS`.

The pydantic models of `aos.entrypoints.requests` and the schemas of cards describe requests. Tests
check real answers against these schemas.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Set
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.catalog import CardStatus, CardVersion
from aos.domain.codec import KEPT, OMITTED
from aos.domain.command_fields import VERSION
from aos.domain.dead_letters import DeadLetter
from aos.domain.runs.conversation import Message
from aos.domain.runs.run import Run, Usage
from aos.domain.runs.run_events import RunEvent
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.entrypoints.http.answers import (
    NOT_OF_A_DECISION,
    NOT_OF_A_MESSAGE,
    NOT_OF_AN_APPROVAL,
    AnswerAnswer,
    ConversationAnswer,
    QuestionItem,
    ServerAnswer,
)
from aos.entrypoints.http.operations import PauseAnswer
from aos.entrypoints.http.usage import UsageAnswer
from aos.errors import CODES, ErrorInfo
from aos.ports.depths import EntityDepth
from aos.services.admission import Replayed
from aos.services.dead_letters import Replay
from aos.services.health import HealthReport

Schema: TypeAlias = dict[str, Any]
SHAPES = "#/components/schemas/"
TEXT: Schema = {"type": "string"}
ANY_OBJECT: Schema = {"type": "object"}
_REPLY_TYPES = ("completed", "failed", "cancelled", "timed_out", "refused")
_NAMED: dict[Any, str] = {ErrorInfo: "ErrorInfo", Usage: "Usage", CardProblem: "CardProblem"}
"""The dataclasses that other shapes refer to by name."""
_JSON: dict[Any, Schema] = {
    str: TEXT,
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    datetime: {"type": "string", "format": "date-time"},
    dict: ANY_OBJECT,
    Mapping: ANY_OBJECT,
}
"""The JSON types of simple Python types. All numbers in answers are counts."""


def shape_of(kind: Any, /, *, without: tuple[str, ...] = (), **changed: Schema) -> Schema:
    """Build the schema of the object that the codec makes of a dataclass, with fields changed,
    added or left out."""
    hints = typing.get_type_hints(kind, include_extras=True)
    left_out = {f.name for f in dataclasses.fields(kind) if f.metadata == KEPT} | {*without}
    fields = [field for field in dataclasses.fields(kind) if field.name not in left_out]
    described = {f.name: changed.get(f.name) or _make_schema(hints[f.name]) for f in fields}
    omitted = {field.name for field in fields if field.metadata == OMITTED}
    for name in omitted:
        described[name] = _drop_null(described[name])
    summary = " ".join(kind.__doc__.partition("\n\n")[0].split())
    return _make_object(summary.rstrip("."), {**described, **changed}, omitted)


def _make_object(
    summary: str, properties: Mapping[str, Schema], omitted: Set[str] = frozenset()
) -> Schema:
    """Build an object that has all of these fields except `omitted`, and may have more."""
    return {
        "type": "object",
        "description": summary,
        "properties": dict(properties),
        "required": [name for name in properties if name not in omitted],
    }


def _make_schema(kind: Any) -> Schema:
    """Build the schema of a field's type."""
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _make_schema(arms[0]) | dict(arms[1:])
    if origin in (types.UnionType, typing.Union):
        return _allow_null(_make_schema(arms[0]))
    if origin is tuple:
        return {"type": "array", "items": _make_schema(arms[0])}
    if origin is typing.Literal:
        return {"enum": list(arms)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind in _NAMED:
        return _make_ref(_NAMED[kind])
    return shape_of(kind) if dataclasses.is_dataclass(kind) else _JSON[origin or kind]


def _allow_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _drop_null(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return {**schema["anyOf"][0], **{n: v for n, v in schema.items() if n != "anyOf"}}
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    kind = schema["type"]
    return {**schema, "type": kind[0]} if isinstance(kind, list) else schema


def _make_ref(name: str) -> Schema:
    return {"$ref": f"{SHAPES}{name}"}


def _make_page(item: Schema) -> Schema:
    following = {
        **_allow_null(TEXT),
        "description": "path and query of the next page; null on the last page",
    }
    return _make_object(
        "One page of a list", {"items": {"type": "array", "items": item}, "next": following}
    )


_RUN = shape_of(Run)
_MAY_LACK = ("agent_id", "conversation_id", "output", "usage", "metadata", "created_at")
"""The fields that the refusal of a request may lack."""
_CARD_STATUS = shape_of(CardStatus)
_OBJECT_OR_NULL = _allow_null(ANY_OBJECT)

ANSWERS: dict[str, Schema] = {
    "Object": ANY_OBJECT,
    "ErrorInfo": shape_of(ErrorInfo, code={"enum": sorted(CODES)}),
    "Error": _make_object("An error", {"error": _make_ref("ErrorInfo")}),
    "Usage": shape_of(Usage),
    "Run": _RUN,
    "Reply": _make_object(
        "A run's reply on the bus, or a refusal",
        {
            "version": {"const": VERSION},
            "type": {"enum": [f"run.{name}" for name in _REPLY_TYPES]},
            **_RUN["properties"],
            **{name: _allow_null(_RUN["properties"][name]) for name in _MAY_LACK},
            "status": {"enum": [*_RUN["properties"]["status"]["enum"], "refused"]},
        },
        omitted=_RUN["properties"].keys() - set(_RUN["required"]),
    ),
    "DeadLetterPage": _make_page(shape_of(DeadLetter)),
    "DeadLetterReplay": shape_of(Replay),
    "RunPage": _make_page(_make_ref("Run")),
    "RunEventPage": _make_page(
        shape_of(RunEvent, run_id=TEXT, conversation_id=TEXT, agent_id=TEXT)
    ),
    "ReplayPage": _make_page(shape_of(Replayed)),
    "Conversation": shape_of(ConversationAnswer),
    "ConversationPage": _make_page(_make_ref("Conversation")),
    "Message": shape_of(Message, without=NOT_OF_A_MESSAGE),
    "MessagePage": _make_page(_make_ref("Message")),
    "ToolPage": _make_page(shape_of(ServerAnswer)),
    "Approval": shape_of(ApprovalRequest, without=NOT_OF_AN_APPROVAL),
    "ApprovalPage": _make_page(_make_ref("Approval")),
    "Decision": shape_of(Decision, without=NOT_OF_A_DECISION, run_id=TEXT, tool_call_id=TEXT),
    "Question": shape_of(QuestionItem),
    "QuestionPage": _make_page(_make_ref("Question")),
    "Answer": shape_of(AnswerAnswer),
    "CardProblem": shape_of(CardProblem),
    "CardStatus": _CARD_STATUS,
    "CardPage": _make_page(_make_ref("CardStatus")),
    "CardView": {
        **_make_object(
            "The uploaded card, its status, and the version that serves if it is another",
            {
                **_CARD_STATUS["properties"],
                "state": _allow_null(_CARD_STATUS["properties"]["state"]),
                "card": _OBJECT_OR_NULL,
                "serving": _OBJECT_OR_NULL,
            },
            omitted={"catalog_version", "activated_at", "serving_digest"},
        ),
    },
    "VersionPage": _make_page(
        _make_object(
            "A version that serves or has served",
            {**shape_of(CardVersion)["properties"], "card": {"type": "object"}},
            omitted={"card"},
        )
    ),
    "PauseState": shape_of(PauseAnswer),
    "UsageReport": shape_of(UsageAnswer),
    "Health": shape_of(HealthReport, without=("checks", "facts")),
    "Status": _make_object(
        "Version and environment",
        {
            "version": TEXT,
            "environment": TEXT,
            "catalog_version": {
                **_allow_null(_JSON[int]),
                "description": "for admins, as last seen",
            },
            "agents": {
                **_OBJECT_OR_NULL,
                "additionalProperties": _JSON[int],
                "description": "for admins, as last seen: agents by state",
            },
            "queues": {
                "type": ["array", "null"],
                "items": shape_of(EntityDepth),
                "description": "for admins, at most 10 s old: the messages that wait",
            },
        },
        omitted={"catalog_version", "agents", "queues"},
    ),
}
"""The shapes by the names that the route table uses."""
