"""Defines the values of an agent card and builds one from checked JSON. Entry points: `AgentCard`,
`agent_card_from_dict`.

The file is `aos-config/agents/<agent_id>.json`. `aos.domain.cards.check` checks it with pydantic;
apps that only read published cards do not load pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from aos.domain.cards.assessment import CardGrant, CardReference
from aos.domain.cards.identity import CardKind, is_card_id
from aos.domain.cards.policy import LimitBounds
from aos.domain.notify import Notify, notify_from_dict
from aos.domain.output_schema import describe_schema

AgentType: TypeAlias = Literal["PurposeDrivenAgent", "LeadershipAgent"]
AGENT_TYPES: tuple[str, ...] = get_args(AgentType)
Approval: TypeAlias = Literal["never", "always"]
OnBusy: TypeAlias = Literal["enqueue", "reject"]

BEHAVIOURS: Mapping[AgentType, str] = {
    "PurposeDrivenAgent": "",
    "LeadershipAgent": (
        "You lead, so you decide. When a decision is asked for: name the options, weigh each"
        " against your purpose, choose one, and say why and what would change your mind. Decide"
        " only what lies in your scope; for the rest, say who should. Where a fact is missing that"
        " the decision hangs on, ask for it instead of guessing."
    ),
}
"""The instructions that each `agent_type` adds to the card's own."""

REFUSED_PARAMETERS = frozenset({"messages", "model", "tools", "tool_choice", "stream", "n"})
"""Request parameters that AOS sets itself and that a card may not set."""

DEFAULT_WINDOW_MESSAGES = 40

NEW_CONVERSATION = "new"
"""As a trigger's `conversation`: each run begins a conversation of its own."""

_HOME = "home-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGrant:
    """Tools of one MCP server that the agent may call. `tools=None` means all of its tools."""

    server_id: str
    tools: tuple[str, ...] | None = None
    approval: Approval = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """The limits of one run and of one day. None means that the card sets no limit."""

    max_turns: int
    max_tool_calls: int
    run_timeout_seconds: int
    approval_timeout_seconds: int
    max_tokens_per_run: int | None = None
    max_tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Wakes the agent by the clock: five cron fields in an IANA time zone."""

    cron: str
    message: str
    conversation: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Wakes the agent when a CloudEvent of this type arrives."""

    type: str
    conversation: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How many messages the model sees and how many days a conversation is kept (None: for
    ever)."""

    window_messages: int = DEFAULT_WINDOW_MESSAGES
    ttl_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCard:
    """The description of one agent.

    `fallback_models` are asked in their order while `model` is away. `output_schema` is the JSON
    Schema that the output must fit. `notify` is the receiver of the events of its runs.
    """

    agent_id: str
    purpose: str
    limits: AgentLimits
    agent_type: AgentType = "PurposeDrivenAgent"
    purpose_scope: str = ""
    instructions: str = ""
    adapter_name: str | None = None
    adapter_required: bool = False
    mcp_tools: tuple[ToolGrant, ...] = ()
    enabled: bool = True
    model: str | None = None
    fallback_models: tuple[str, ...] = ()
    output_schema: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    team: tuple[str, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    events: tuple[EventTrigger, ...] = ()
    memory: Memory = field(default_factory=Memory)
    notify: Notify | None = None
    on_busy: OnBusy = "enqueue"
    labels: Mapping[str, Any] = field(default_factory=dict)


def name_own_owner(agent_id: str) -> str:
    """Return the owner of the runs that a schedule or an event woke the agent for."""
    return f"agent:{agent_id}"


def name_home(agent_id: str) -> str:
    """Return the id of the conversation that wakes the agent unless its card names another."""
    return f"{_HOME}{agent_id}"


def find_home_owner(conversation_id: str) -> str | None:
    """Return the only owner that may begin this conversation, or None if it is not an agent's
    home."""
    agent_id = conversation_id.removeprefix(_HOME)
    is_home = agent_id != conversation_id and is_card_id(agent_id)
    return name_own_owner(agent_id) if is_home else None


def agent_card_from_dict(raw: Mapping[str, Any], *, bounds: LimitBounds | None = None) -> AgentCard:
    """Build the card from its JSON object, which must have been checked before.

    Unknown fields are ignored, so that an older app can read a newer catalog.
    """
    agent_id = raw["agent_id"]
    wake = raw.get("wake", {})
    models = list_models(raw)
    return AgentCard(
        agent_id=agent_id,
        purpose=raw["purpose"],
        limits=_build_limits(raw.get("limits", {}), bounds or LimitBounds()),
        agent_type=raw.get("agent_type", "PurposeDrivenAgent"),
        purpose_scope=raw.get("purpose_scope", ""),
        instructions=raw.get("instructions", ""),
        adapter_name=raw.get("adapter_name"),
        adapter_required=raw.get("adapter_required", False),
        mcp_tools=tuple(parse_tool_grant(grant) for grant in raw.get("mcp_tools", ())),
        enabled=raw.get("enabled", True),
        model=models[0] if models else None,
        fallback_models=models[1:],
        output_schema=raw.get("output_schema"),
        parameters=dict(raw.get("parameters", {})),
        team=tuple(raw.get("team", ())),
        schedules=tuple(_build_schedule(s, agent_id) for s in wake.get("schedules", ())),
        events=tuple(_build_event(e, agent_id) for e in wake.get("events", ())),
        memory=_build_memory(raw.get("memory", {})),
        notify=notify_from_dict(raw.get("notify")),
        on_busy=raw.get("on_busy", "enqueue"),
        labels=dict(raw.get("labels", {})),
    )


def list_models(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """List the models that a checked agent card names, the first one first."""
    model = raw.get("model")
    if model is None:
        return ()
    return (model,) if isinstance(model, str) else tuple(model)


def parse_tool_grant(raw: str | Mapping[str, Any]) -> ToolGrant:
    """Parse one entry of `mcp_tools`: `"github"`, `"github/create_issue"`, or an object."""
    if isinstance(raw, str):
        server_id, _, tool = raw.partition("/")
        return ToolGrant(server_id=server_id, tools=(tool,) if tool else None)
    tools = raw.get("tools")
    return ToolGrant(
        server_id=raw["server"],
        tools=None if tools is None else tuple(tools),
        approval=raw.get("approval", "never"),
    )


def list_grants(raw: Mapping[str, Any]) -> tuple[CardGrant, ...]:
    """List what a checked agent card grants."""
    grants = [parse_tool_grant(grant) for grant in raw.get("mcp_tools", ())]
    return tuple(
        CardGrant(path=f"mcp_tools[{i}]", server_id=grant.server_id, tools=grant.tools)
        for i, grant in enumerate(grants)
    )


def list_event_types(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """List the types of events that wake the agent of a checked card, each once."""
    return tuple(dict.fromkeys(event["type"] for event in raw.get("wake", {}).get("events", ())))


def list_references(raw: Mapping[str, Any]) -> tuple[CardReference, ...]:
    """List the other cards that a checked agent card names."""
    servers = [
        CardReference(
            path=f"mcp_tools[{i}]",
            kind=CardKind.MCP_SERVER,
            card_id=parse_tool_grant(grant).server_id,
        )
        for i, grant in enumerate(raw.get("mcp_tools", ()))
    ]
    team = [
        CardReference(path=f"team[{i}]", kind=CardKind.AGENT, card_id=member)
        for i, member in enumerate(raw.get("team", ()))
    ]
    return (*servers, *team)


def build_system_prompt(card: AgentCard) -> str:
    """Build the system message: id, purpose, scope, agent type and instructions."""
    parts = [f"You are the agent {card.agent_id!r}.", f"Your purpose: {card.purpose.strip()}"]
    if scope := card.purpose_scope.strip():
        parts.append(f"Your scope: {scope}")
    if behaviour := BEHAVIOURS[card.agent_type]:
        parts.append(behaviour)
    if instructions := card.instructions.strip():
        parts.append(instructions)
    if card.output_schema is not None:
        parts.append(describe_schema(card.output_schema))
    return "\n\n".join(parts)


def _build_limits(raw: Mapping[str, Any], bounds: LimitBounds) -> AgentLimits:
    return AgentLimits(
        max_turns=raw.get("max_turns") or bounds.max_turns,
        max_tool_calls=raw.get("max_tool_calls") or bounds.max_tool_calls,
        run_timeout_seconds=raw.get("run_timeout_seconds") or bounds.run_timeout_seconds,
        approval_timeout_seconds=raw.get("approval_timeout_seconds")
        or bounds.approval_timeout_seconds,
        max_tokens_per_run=raw.get("max_tokens_per_run"),
        max_tokens_per_day=raw.get("max_tokens_per_day"),
    )


def _build_schedule(raw: Mapping[str, Any], agent_id: str) -> Schedule:
    return Schedule(
        cron=raw["cron"],
        message=raw["message"],
        conversation=raw.get("conversation") or name_home(agent_id),
        time_zone=raw.get("time_zone", "UTC"),
    )


def _build_event(raw: Mapping[str, Any], agent_id: str) -> EventTrigger:
    return EventTrigger(
        type=raw["type"],
        conversation=raw.get("conversation") or name_home(agent_id),
        message=raw.get("message", ""),
    )


def _build_memory(raw: Mapping[str, Any]) -> Memory:
    return Memory(
        window_messages=raw.get("window_messages", DEFAULT_WINDOW_MESSAGES),
        ttl_days=raw.get("ttl_days"),
    )
