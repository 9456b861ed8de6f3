"""Which tools is an agent offered, and what becomes of the calls that it asks for?

Pure rules. An offer is made from the agent's card and from what its MCP servers listed; a call
that names something else, or says nothing that can be called, gets an error as its result and is
not made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aos.domain.cards.agent_card import AgentCard, Approval, ToolGrant
from aos.domain.json_reader import is_within_depth
from aos.domain.json_writer import known_json
from aos.domain.runs.active_run import OpenCall
from aos.domain.tools.tool import (
    DELEGATE,
    MAX_CALLS_A_TURN,
    AskedCall,
    OfferedTool,
    ServerTools,
    ToolOutcome,
    ToolSchema,
    offered_name,
    tool_call_id,
)

MAX_DEPTH = 5
"""Of delegation: a run at this depth delegates no further."""
MAX_ASKED = 64
"""Calls of one turn that are answered at all; a turn's messages are saved together."""
MAX_OFFERED = 1024
MAX_ARGUMENT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an offered name stands for; `server_id` None: the tool `delegate`. The digests say
    which tool a person is asked about, None where nobody is asked."""

    server_id: str | None
    tool: str
    approval: Approval = "never"
    server_digest: str | None = None
    schema_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools of one turn. `unavailable` names each server whose tools are not
    there; why is for admins."""

    tools: tuple[OfferedTool, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    team: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()


NOTHING = Offer()


def make_offer(card: AgentCard, servers: Mapping[str, ServerTools], *, depth: int = 0) -> Offer:
    """What the card grants of what the servers listed, and `delegate` for a leader's team."""
    tools: list[OfferedTool] = []
    targets: dict[str, Target] = {}
    for grant, schema in _granted(card.mcp_tools, servers):
        name = offered_name(grant.server_id, schema.name)
        known = targets.get(name)
        if known is not None and (known.server_id, known.tool) != (grant.server_id, schema.name):
            name = offered_name(grant.server_id, schema.name, hashed=True)
        if name not in targets and len(tools) < MAX_OFFERED:
            tools.append(
                OfferedTool(
                    name=name, description=schema.description, parameters=schema.input_schema
                )
            )
        approval = grant.approval if known is None else _stricter(known.approval, grant.approval)
        targets[name] = _target(servers[grant.server_id], schema, approval)
    if leads(card) and depth < MAX_DEPTH:
        tools.append(_delegate(card.team))
        targets[DELEGATE] = Target(server_id=None, tool=DELEGATE)
    return Offer(
        tools=tuple(tools),
        targets=targets,
        team=card.team if leads(card) else (),
        unavailable=tuple(
            f"The tools of MCP server {server_id!r} are not available now."
            for server_id, seen in sorted(servers.items())
            if seen.state == "failed"
        ),
    )


def leads(card: AgentCard) -> bool:
    """Has the agent a team that it may delegate to?"""
    return card.agent_type == "LeadershipAgent" and bool(card.team)


def plan_calls(
    calls: Sequence[AskedCall], offer: Offer, *, run_id: str, turn: int
) -> tuple[OpenCall, ...]:
    """The calls of one answer under our ids: to be made, to be decided, or answered already."""
    return tuple(
        _planned(call, offer, index=index, call_id=tool_call_id(run_id, turn=turn, index=index))
        for index, call in enumerate(calls[:MAX_ASKED])
    )


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that the model wrote (nothing at all is an empty one), or None.

    None too where it holds what JSON does not know (`NaN`, `1e999`, half a surrogate pair), or is
    nested deeper than any text that AOS reads.
    """
    if not text.strip():
        return {}
    if not is_within_depth(text):
        return None
    try:
        value = json.loads(text)
        known = known_json(value) == value
    except (ValueError, RecursionError):
        return None
    return value if known and isinstance(value, dict) else None


def _planned(call: AskedCall, offer: Offer, *, index: int, call_id: str) -> OpenCall:
    written = call.arguments
    if len(written.encode("utf-8", "replace")) > MAX_ARGUMENT_BYTES:
        written = ""
    target = offer.targets.get(call.name)
    arguments = json_object(call.arguments)
    problem = _problem(call, target, arguments, offer, index=index)
    if problem is not None or target is None or arguments is None:
        return OpenCall(
            tool_call_id=call_id,
            name=call.name,
            written=written,
            state="answered",
            result=ToolOutcome(outcome="error", content=problem or ""),
        )
    return OpenCall(
        tool_call_id=call_id,
        name=call.name,
        written=written,
        state="to_ask" if target.approval == "always" else "called",
        server_id=target.server_id,
        tool=target.tool,
        arguments=arguments,
        server_digest=target.server_digest,
        schema_digest=target.schema_digest,
    )


def _problem(
    call: AskedCall,
    target: Target | None,
    arguments: dict[str, Any] | None,
    offer: Offer,
    *,
    index: int,
) -> str | None:
    """Why the call is not made, in words for the model; None when it is."""
    if index >= MAX_CALLS_A_TURN:
        return f"not made: a turn has at most {MAX_CALLS_A_TURN} tool calls; ask again in the next"
    if target is None and call.name == DELEGATE and offer.team:
        return f"tree_limit: agents delegate at most {MAX_DEPTH} levels deep; answer yourself"
    if target is None:
        return f"there is no tool {call.name[:80]!r}; call only the tools that you were offered"
    size = len(call.arguments.encode("utf-8", "replace"))
    if size > MAX_ARGUMENT_BYTES:
        return f"the arguments have {size:,} bytes, the limit is {MAX_ARGUMENT_BYTES:,}"
    if arguments is None:
        return "the arguments are no JSON object; write one that fits the tool's schema, such as {}"
    return _delegation_problem(arguments, offer) if target.server_id is None else None


def _delegation_problem(arguments: Mapping[str, Any], offer: Offer) -> str | None:
    agent_id, message = arguments.get("agent_id"), arguments.get("message")
    if agent_id not in offer.team:
        return f"agent_id is {agent_id!r}; write one of your team: {', '.join(offer.team)}"
    if not isinstance(message, str) or not message.strip():
        return "message is missing; write what the agent is asked to do"
    return None


def _granted(
    grants: Iterable[ToolGrant], servers: Mapping[str, ServerTools]
) -> Iterable[tuple[ToolGrant, ToolSchema]]:
    """Each grant with each tool that it lets the agent call."""
    for grant in grants:
        seen = servers.get(grant.server_id)
        if seen is None or seen.state == "failed":
            continue
        for schema in seen.tools:
            if grant.tools is None or schema.name in grant.tools:
                yield grant, schema


def _target(seen: ServerTools, schema: ToolSchema, approval: Approval) -> Target:
    asks = approval == "always"
    return Target(
        server_id=seen.server_id,
        tool=schema.name,
        approval=approval,
        server_digest=seen.card_digest if asks else None,
        schema_digest=schema.digest if asks else None,
    )


def _stricter(one: Approval, other: Approval) -> Approval:
    return "always" if "always" in (one, other) else "never"


def _delegate(team: tuple[str, ...]) -> OfferedTool:
    return OfferedTool(
        name=DELEGATE,
        description=(
            "Hand a task to an agent of your team and get its answer. It knows nothing of this"
            " conversation: write all that it needs."
        ),
        parameters={
            "type": "object",
            "properties": {
                "agent_id": {"type": "string", "enum": list(team)},
                "message": {"type": "string", "description": "the task"},
            },
            "required": ["agent_id", "message"],
        },
    )
