"""What does an agent card say?

The values of `aos-config/agents/<agent_id>.json`, and how a card that has been checked becomes
one (`agent_card_from_dict`). Checking is `aos.domain.cards.check`'s, with pydantic; apps that only
read published cards do not need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from aos.domain.cards.assessment import CardReference
from aos.domain.cards.identity import CardKind, is_card_id
from aos.domain.cards.policy import LimitBounds

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
"""How each `agent_type` behaves: what its instructions hold beside the card's own."""

REFUSED_PARAMETERS = frozenset({"messages", "model", "tools", "tool_choice", "stream", "n"})
"""Request parameters that are AOS's own and that a card may not set."""

DEFAULT_WINDOW_MESSAGES = 40

_HOME = "home-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolGrant:
    """Tools of one MCP server that the agent may call; `tools` None means every one."""

    server_id: str
    tools: tuple[str, ...] | None = None
    approval: Approval = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """What one run, or one day, may spend; None means no limit of the card's own."""

    max_turns: int
    max_tool_calls: int
    run_timeout_seconds: int
    approval_timeout_seconds: int
    max_tokens_per_run: int | None = None
    max_tokens_per_day: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Wake the agent by the clock: five cron fields in an IANA time zone."""

    cron: str
    message: str
    conversation: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger:
    """Wake the agent by a CloudEvent of this type."""

    type: str
    conversation: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How much of a conversation the model sees, and how long it is kept (None: for ever)."""

    window_messages: int = DEFAULT_WINDOW_MESSAGES
    ttl_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCard:
    """An agent, described. `conversation` of a wake-up is an id or `new`."""

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
    parameters: Mapping[str, Any] = field(default_factory=dict)
    team: tuple[str, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    events: tuple[EventTrigger, ...] = ()
    memory: Memory = field(default_factory=Memory)
    on_busy: OnBusy = "enqueue"
    labels: Mapping[str, Any] = field(default_factory=dict)


def home_of(agent_id: str) -> str:
    """The conversation that the agent is woken in unless its card names another."""
    return f"{_HOME}{agent_id}"


def owner_of_home(conversation_id: str) -> str | None:
    """The owner that alone may begin this conversation; None: it is not an agent's home."""
    agent_id = conversation_id.removeprefix(_HOME)
    is_home = agent_id != conversation_id and is_card_id(agent_id)
    return f"agent:{agent_id}" if is_home else None


def agent_card_from_dict(raw: Mapping[str, Any], *, bounds: LimitBounds | None = None) -> AgentCard:
    """The card that this JSON object says; the object has been checked before.

    Fields of later versions are passed over, so that an older app can read a newer catalog.
    """
    agent_id = raw["agent_id"]
    wake = raw.get("wake", {})
    return AgentCard(
        agent_id=agent_id,
        purpose=raw["purpose"],
        limits=_limits(raw.get("limits", {}), bounds or LimitBounds()),
        agent_type=raw.get("agent_type", "PurposeDrivenAgent"),
        purpose_scope=raw.get("purpose_scope", ""),
        instructions=raw.get("instructions", ""),
        adapter_name=raw.get("adapter_name"),
        adapter_required=raw.get("adapter_required", False),
        mcp_tools=tuple(tool_grant(grant) for grant in raw.get("mcp_tools", ())),
        enabled=raw.get("enabled", True),
        model=raw.get("model"),
        parameters=dict(raw.get("parameters", {})),
        team=tuple(raw.get("team", ())),
        schedules=tuple(_schedule(s, agent_id) for s in wake.get("schedules", ())),
        events=tuple(_event(e, agent_id) for e in wake.get("events", ())),
        memory=_memory(raw.get("memory", {})),
        on_busy=raw.get("on_busy", "enqueue"),
        labels=dict(raw.get("labels", {})),
    )


def tool_grant(raw: str | Mapping[str, Any]) -> ToolGrant:
    """One entry of `mcp_tools`: `"github"`, `"github/create_issue"`, or an object."""
    if isinstance(raw, str):
        server_id, _, tool = raw.partition("/")
        return ToolGrant(server_id=server_id, tools=(tool,) if tool else None)
    tools = raw.get("tools")
    return ToolGrant(
        server_id=raw["server"],
        tools=None if tools is None else tuple(tools),
        approval=raw.get("approval", "never"),
    )


def references(raw: Mapping[str, Any]) -> tuple[CardReference, ...]:
    """The other cards that a checked agent card names."""
    servers = [
        CardReference(
            path=f"mcp_tools[{i}]", kind=CardKind.MCP_SERVER, card_id=tool_grant(grant).server_id
        )
        for i, grant in enumerate(raw.get("mcp_tools", ()))
    ]
    team = [
        CardReference(path=f"team[{i}]", kind=CardKind.AGENT, card_id=member)
        for i, member in enumerate(raw.get("team", ()))
    ]
    return (*servers, *team)


def system_prompt(card: AgentCard) -> str:
    """What the model is told before the conversation: purpose, scope, type, instructions."""
    parts = [f"You are the agent {card.agent_id!r}.", f"Your purpose: {card.purpose.strip()}"]
    if scope := card.purpose_scope.strip():
        parts.append(f"Your scope: {scope}")
    if behaviour := BEHAVIOURS[card.agent_type]:
        parts.append(behaviour)
    if instructions := card.instructions.strip():
        parts.append(instructions)
    return "\n\n".join(parts)


def _limits(raw: Mapping[str, Any], bounds: LimitBounds) -> AgentLimits:
    return AgentLimits(
        max_turns=raw.get("max_turns") or bounds.max_turns,
        max_tool_calls=raw.get("max_tool_calls") or bounds.max_tool_calls,
        run_timeout_seconds=raw.get("run_timeout_seconds") or bounds.run_timeout_seconds,
        approval_timeout_seconds=raw.get("approval_timeout_seconds")
        or bounds.approval_timeout_seconds,
        max_tokens_per_run=raw.get("max_tokens_per_run"),
        max_tokens_per_day=raw.get("max_tokens_per_day"),
    )


def _schedule(raw: Mapping[str, Any], agent_id: str) -> Schedule:
    return Schedule(
        cron=raw["cron"],
        message=raw["message"],
        conversation=raw.get("conversation") or home_of(agent_id),
        time_zone=raw.get("time_zone", "UTC"),
    )


def _event(raw: Mapping[str, Any], agent_id: str) -> EventTrigger:
    return EventTrigger(
        type=raw["type"],
        conversation=raw.get("conversation") or home_of(agent_id),
        message=raw.get("message", ""),
    )


def _memory(raw: Mapping[str, Any]) -> Memory:
    return Memory(
        window_messages=raw.get("window_messages", DEFAULT_WINDOW_MESSAGES),
        ttl_days=raw.get("ttl_days"),
    )
