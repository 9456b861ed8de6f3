"""Defines the fields of both kinds of card as pydantic models. Entry points: `get_card_model`,
`build_card_schema`.

The models validate raw JSON and give the JSON Schemas of `/api/schemas/`. `agent_card` and
`server_card` build the values. Import this module only where cards are checked, because pydantic
loads slowly.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from aos.domain.cards.agent_card import (
    DEFAULT_WINDOW_MESSAGES,
    REFUSED_PARAMETERS,
    AgentType,
    Approval,
    OnBusy,
)
from aos.domain.cards.cron import find_cron_problem
from aos.domain.cards.identity import ID_PATTERN, CardKind
from aos.domain.cards.policy import LimitBounds
from aos.domain.conversation_ids import CONVERSATION_PATTERN
from aos.domain.notify import MAX_URL, NotifyEvent
from aos.domain.output_schema import find_schema_fault

_TOOL_PATTERN = r"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,126}[^\x00-\x20\x7f])?"
"""Any name that a server gives: up to 128 characters, in any script, with blanks inside."""
_BOUNDS = LimitBounds()


def _reject_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return text


def _check_cron(text: str) -> str:
    if problem := find_cron_problem(text):
        raise PydanticCustomError("cron", "{problem}", {"problem": problem})
    return text


def _check_time_zone(name: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        context = {"name": repr(name)}
        raise PydanticCustomError("time_zone", "{name} is not a time zone", context) from error
    return name


def _check_parameters(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if name in REFUSED_PARAMETERS:
            context = {"name": name, "refused": ", ".join(sorted(REFUSED_PARAMETERS))}
            raise PydanticCustomError("refused_parameter", "{name!r} is set by AOS itself", context)
    return given


def _check_output_schema(given: dict[str, Any]) -> dict[str, Any]:
    fault = find_schema_fault(given)
    if fault is not None:
        raise PydanticCustomError("output_schema", "{fault}", {"fault": fault})
    return given


def _check_repeatable(given: Any) -> Any:
    names = given if isinstance(given, list) else []
    if isinstance(given, bool | list) and all(isinstance(name, str) and name for name in names):
        return given
    raise PydanticCustomError("repeatable", "neither true, false nor a list of tools")


def _expand_grant(raw: Any) -> Any:
    """Expand `"github"` and `"github/create_issue"` to the equivalent object."""
    if not isinstance(raw, str):
        return raw
    server, slash, tool = raw.partition("/")
    return {"server": server, "tools": [tool]} if slash else {"server": server}


Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
NOT_BLANK = Field(json_schema_extra={"pattern": r"\S"})
Text = Annotated[str, AfterValidator(_reject_blank), NOT_BLANK]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(_reject_blank), NOT_BLANK
]
ToolName = Annotated[str, StringConstraints(pattern=f"^{_TOOL_PATTERN}$")]
Conversation = Annotated[str, StringConstraints(pattern=CONVERSATION_PATTERN)]
Labels = Annotated[dict[str, Any], Field(description="Free, for your own use.")]


def _require_text(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"type": "string"}}}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ToolGrantModel(_Strict):
    """Tools of one MCP server."""

    server: Id
    tools: Annotated[list[ToolName], Field(min_length=1, max_length=256)] | None = None
    approval: Approval = "never"


OutputSchema = Annotated[
    dict[str, Any],
    AfterValidator(_check_output_schema),
    WithJsonSchema(
        {"type": "object", "properties": {"type": {"const": "object"}}, "required": ["type"]}
    ),
]
Repeatable = Annotated[
    Any,
    AfterValidator(_check_repeatable),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}
    ),
]

ToolGrant = Annotated[
    ToolGrantModel,
    BeforeValidator(_expand_grant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{ID_PATTERN}(/{_TOOL_PATTERN})?$"},
                {
                    "type": "object",
                    "properties": {
                        "server": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
                        "tools": {
                            "type": "array",
                            "items": {"type": "string", "pattern": f"^{_TOOL_PATTERN}$"},
                            "minItems": 1,
                            "maxItems": 256,
                        },
                        "approval": {"enum": ["never", "always"], "default": "never"},
                    },
                    "required": ["server"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class LimitsModel(_Strict):
    """The most that runs of this agent may spend; the operator's bounds stand above it."""

    max_turns: int = Field(default=_BOUNDS.max_turns, ge=1)
    max_tool_calls: int = Field(default=_BOUNDS.max_tool_calls, ge=1)
    max_tokens_per_run: int | None = Field(default=None, ge=1, le=10**12)
    max_tokens_per_day: int | None = Field(default=None, ge=1, le=10**12)
    run_timeout_seconds: int = Field(default=_BOUNDS.run_timeout_seconds, ge=1)
    approval_timeout_seconds: int = Field(default=_BOUNDS.approval_timeout_seconds, ge=1)


class ScheduleModel(_Strict):
    """Wake the agent by the clock."""

    cron: Annotated[str, AfterValidator(_check_cron)]
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] = "UTC"
    message: Text
    conversation: Conversation | None = None


class EventModel(_Strict):
    """Wake the agent by a CloudEvent."""

    type: Name
    message: str = ""
    conversation: Conversation | None = None


class WakeModel(_Strict):
    """What wakes the agent without being asked."""

    schedules: Annotated[list[ScheduleModel], Field(max_length=100)] = []
    events: Annotated[list[EventModel], Field(max_length=100)] = []


class MemoryModel(_Strict):
    """How much of a conversation the model sees, and how long it is kept."""

    window_messages: int = Field(default=DEFAULT_WINDOW_MESSAGES, ge=1, le=10_000)
    ttl_days: int | None = Field(default=None, ge=1, le=36_500)


class NotifyModel(_Strict):
    """Who is told of the events of the agent's runs: a URL, or a queue of the operator's list."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [_require_text("url"), _require_text("queue")]}
    )

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)] | None = None
    queue: Annotated[str, StringConstraints(min_length=1, max_length=260)] | None = None
    events: Annotated[list[NotifyEvent], Field(min_length=1, max_length=16)] | None = None


class AgentCardModel(_Strict):
    """An agent: put this file at agents/<agent_id>.json of the container aos-config."""

    model_config = ConfigDict(title="Agent card")

    schema_: str | None = Field(default=None, alias="$schema")
    agent_id: Id
    agent_type: AgentType = "PurposeDrivenAgent"
    purpose: Text
    purpose_scope: str = ""
    instructions: str = ""
    adapter_name: Name | None = None
    adapter_required: bool = False
    mcp_tools: Annotated[list[ToolGrant], Field(max_length=256)] = []
    enabled: bool = True
    model: Name | Annotated[list[Name], Field(min_length=1, max_length=8)] | None = None
    output_schema: OutputSchema | None = None
    parameters: Annotated[dict[str, Any], AfterValidator(_check_parameters)] = {}
    limits: LimitsModel = LimitsModel()
    team: Annotated[list[Id], Field(max_length=256)] = []
    wake: WakeModel = WakeModel()
    memory: MemoryModel = MemoryModel()
    notify: NotifyModel | None = None
    on_busy: OnBusy = "enqueue"
    labels: Labels = {}


class McpServerCardModel(_Strict):
    """An MCP server: put this file at mcp-servers/<server_id>.json of the container aos-config."""

    model_config = ConfigDict(
        title="MCP server card",
        json_schema_extra={"oneOf": [_require_text("command"), _require_text("url")]},
    )

    schema_: str | None = Field(default=None, alias="$schema")
    server_id: Id
    command: Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=1024)] | None = None
    args: Annotated[list[str], Field(max_length=256)] = []
    env: Annotated[dict[str, str], Field(max_length=256)] = {}
    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    headers: Annotated[dict[str, str], Field(max_length=64)] = {}
    enabled: bool = True
    tools: Annotated[list[ToolName], Field(max_length=1024)] | None = None
    repeatable: Repeatable = False
    timeout_seconds: int | None = Field(default=None, ge=1, le=240)
    idle_seconds: int | None = Field(default=None, ge=1, le=86_400)
    max_concurrent_calls: int | None = Field(default=None, ge=1, le=64)
    expose: bool = False
    labels: Labels = {}


def _list_fields(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


KNOWN_FIELDS: dict[CardKind, dict[tuple[str, ...], tuple[str, ...]]] = {
    CardKind.AGENT: {
        (): _list_fields(AgentCardModel),
        ("limits",): _list_fields(LimitsModel),
        ("mcp_tools",): _list_fields(ToolGrantModel),
        ("memory",): _list_fields(MemoryModel),
        ("notify",): _list_fields(NotifyModel),
        ("wake",): _list_fields(WakeModel),
        ("wake", "schedules"): _list_fields(ScheduleModel),
        ("wake", "events"): _list_fields(EventModel),
    },
    CardKind.MCP_SERVER: {(): _list_fields(McpServerCardModel)},
}
"""The fields of each object in a card, by the object's path without list positions."""

SchemaName = Literal["agent", "mcp-server"]
_MODELS: dict[SchemaName, type[_Strict]] = {
    "agent": AgentCardModel,
    "mcp-server": McpServerCardModel,
}


def get_card_model(kind: CardKind) -> type[BaseModel]:
    """Return the pydantic model of a kind of card."""
    return AgentCardModel if kind is CardKind.AGENT else McpServerCardModel


def build_card_schema(name: SchemaName) -> dict[str, Any]:
    """Build the JSON Schema of `/api/schemas/<name>.json`. Raises KeyError for another name."""
    schema = _MODELS[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
