"""Makes the offer of tools for a turn and plans the calls that the model asks for. Entry points:
`make_offer`, `plan_calls`.

The rules are pure. An offer comes from the agent's card and the tools that its MCP servers listed.
A call of another tool, or with unusable arguments, gets an error as its result and is not made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aos.domain.cards.agent_card import AgentCard, Approval, ToolGrant
from aos.domain.json_reader import is_within_depth
from aos.domain.json_writer import known_json, write_json
from aos.domain.runs.active_run import OpenCall
from aos.domain.runs.run_options import ClientTool
from aos.domain.tools.client_tools import ask_client, fit_client_tools
from aos.domain.tools.property_names import restore_names
from aos.domain.tools.tool import (
    DELEGATE,
    MAX_CALLS_A_TURN,
    AskedCall,
    OfferedTool,
    ServerTools,
    ToolOutcome,
    ToolSchema,
    make_tool_call_id,
    make_tool_name,
)

MAX_DEPTH = 5
"""Levels of delegation: a run at this depth may not delegate."""
MAX_ASKED = 64
"""Calls of one turn that get an answer; a turn's messages are saved in one transaction."""
MAX_ARGUMENT_BYTES = 64 * 1024
MAX_TEAM_CHARACTERS = 800
"""Characters of the team's purposes in the description of `delegate`, all together."""
_DELEGATE_TEXT = (
    "Hand a task to an agent of your team and get its answer. It knows nothing of this"
    " conversation: write all that it needs."
)
MAX_SHOWN_NAME = 80
"""Characters that are kept of the name of a tool that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The tool behind an offered name; `server_id` None: the tool `delegate`, or with `of_client`
    one of the application that asks.

    The digests are those of the tool that a person is asked about, None when nobody is asked.
    `renamed` has the server's name of each property that is offered under another.
    """

    server_id: str | None
    tool: str
    approval: Approval = "never"
    server_digest: str | None = None
    schema_digest: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    of_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools of one turn. `unavailable` has a sentence for each server that failed, without the
    reason, which is for admins."""

    tools: tuple[OfferedTool, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    team: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()


NOTHING = Offer()


def make_offer(
    card: AgentCard,
    servers: Mapping[str, ServerTools],
    *,
    depth: int = 0,
    purposes: Mapping[str, str] | None = None,
) -> Offer:
    """The listed tools that the card grants, and `delegate` when the agent has a team.

    `purposes` are those of the team, by agent.
    """
    tools: list[OfferedTool] = []
    targets: dict[str, Target] = {}
    for grant, schema in _list_granted(card.mcp_tools, servers):
        name = make_tool_name(grant.server_id, schema.name)
        known = targets.get(name)
        if known is not None and (known.server_id, known.tool) != (grant.server_id, schema.name):
            name = make_tool_name(grant.server_id, schema.name, hashed=True)
        if name not in targets:
            tools.append(_describe_for_model(name, schema))
        approval = (
            grant.approval if known is None else _choose_stricter(known.approval, grant.approval)
        )
        targets[name] = _make_target(servers[grant.server_id], schema, approval)
    if can_delegate(card) and depth < MAX_DEPTH:
        tools.append(_make_delegate_tool(card.team, purposes or {}))
        targets[DELEGATE] = Target(server_id=None, tool=DELEGATE)
    return Offer(
        tools=tuple(tools),
        targets=targets,
        team=card.team if can_delegate(card) else (),
        unavailable=tuple(
            server_id for server_id, seen in sorted(servers.items()) if seen.state == "failed"
        ),
    )


def add_client_tools(offer: Offer, tools: Iterable[ClientTool]) -> Offer:
    """The offer with the tools of the application; where both have a name, the card's counts."""
    added = fit_client_tools(tool for tool in tools if tool.name not in offer.targets)
    fitted = {name: tool for name, tool in added.items() if tool.left_out is None}
    if not fitted:
        return offer
    offered = [
        OfferedTool(name=name, description=tool.description, parameters=tool.parameters)
        for name, tool in fitted.items()
    ]
    targets = {
        name: Target(server_id=None, tool="", renamed=tool.renamed, of_client=True)
        for name, tool in fitted.items()
    }
    return replace(offer, tools=(*offer.tools, *offered), targets={**offer.targets, **targets})


def can_delegate(card: AgentCard) -> bool:
    """True when the agent has a team that it may delegate to."""
    return card.agent_type == "LeadershipAgent" and bool(card.team)


def plan_calls(
    calls: Sequence[AskedCall], offer: Offer, *, run_id: str, turn: int
) -> tuple[OpenCall, ...]:
    """The calls of one answer with our ids: to make, to approve, or answered with an error."""
    return tuple(
        _plan_call(
            call, offer, index=index, call_id=make_tool_call_id(run_id, turn=turn, index=index)
        )
        for index, call in enumerate(calls[:MAX_ASKED])
    )


def read_json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that the model wrote, an empty one for an empty text or `null`; else None.

    An object that was written as JSON twice is read too.

    None also for values that JSON does not have (`NaN`, `1e999`, half a surrogate pair), and for a
    text that is nested too deeply.
    """
    if not text.strip():
        return {}
    if not is_within_depth(text):
        return None
    try:
        value = json.loads(text)
        if isinstance(value, str) and is_within_depth(value):
            value = json.loads(value) if value.strip() else {}
        known = known_json(value) == value
    except (ValueError, RecursionError):
        return None
    if value is None:
        return {}
    return value if known and isinstance(value, dict) else None


def _plan_call(call: AskedCall, offer: Offer, index: int, call_id: str) -> OpenCall:
    written = call.arguments
    if len(written.encode("utf-8", "replace")) > MAX_ARGUMENT_BYTES:
        written = ""
    target = offer.targets.get(call.name)
    name = call.name[:MAX_SHOWN_NAME]
    arguments = read_json_object(call.arguments)
    problem = _find_problem(call, target, arguments, offer, index=index)
    if problem is not None or target is None or arguments is None:
        return OpenCall(
            tool_call_id=call_id,
            name=name,
            written=written,
            state="answered",
            result=ToolOutcome(outcome="error", content=problem or ""),
        )
    if target.of_client:
        return _plan_client_call(name, written, arguments, target, call_id=call_id)
    return OpenCall(
        tool_call_id=call_id,
        name=name,
        written=written,
        state="to_ask" if target.approval == "always" else "called",
        server_id=target.server_id,
        tool=target.tool,
        arguments=restore_names(arguments, target.renamed) if target.renamed else arguments,
        server_digest=target.server_digest,
        schema_digest=target.schema_digest,
    )


def _plan_client_call(
    name: str, written: str, arguments: dict[str, Any], target: Target, *, call_id: str
) -> OpenCall:
    """The call of a tool of the application, which reads the arguments in the message."""
    if target.renamed:
        arguments = restore_names(arguments, target.renamed)
        written = write_json(arguments, ensure_ascii=False)
    return OpenCall(
        tool_call_id=call_id,
        name=name,
        written=written,
        state="to_ask",
        arguments=arguments,
        pause=ask_client(name, written),
    )


def _find_problem(
    call: AskedCall,
    target: Target | None,
    arguments: dict[str, Any] | None,
    offer: Offer,
    *,
    index: int,
) -> str | None:
    """Why the call is not made, as a text for the model; None when it is made."""
    if index >= MAX_CALLS_A_TURN:
        return f"not made: a turn has at most {MAX_CALLS_A_TURN} tool calls; ask again in the next"
    if target is None and call.name == DELEGATE and offer.team:
        return f"tree_limit: agents delegate at most {MAX_DEPTH} levels deep; answer yourself"
    if target is None:
        name = call.name[:MAX_SHOWN_NAME]
        return f"there is no tool {name!r}; call only the tools that you were offered"
    size = len(call.arguments.encode("utf-8", "replace"))
    if size > MAX_ARGUMENT_BYTES:
        return f"the arguments have {size:,} bytes, the limit is {MAX_ARGUMENT_BYTES:,}"
    if arguments is None:
        return "the arguments are not a JSON object; write one for the tool's schema, such as {}"
    delegates = target.server_id is None and not target.of_client
    return _find_delegation_problem(arguments, offer) if delegates else None


def _find_delegation_problem(arguments: Mapping[str, Any], offer: Offer) -> str | None:
    agent_id, message = arguments.get("agent_id"), arguments.get("message")
    if agent_id not in offer.team:
        return f"agent_id is {agent_id!r}; write one of your team: {', '.join(offer.team)}"
    if not isinstance(message, str) or not message.strip():
        return "message is missing; write what the agent is asked to do"
    return None


def _list_granted(
    grants: Iterable[ToolGrant], servers: Mapping[str, ServerTools]
) -> Iterable[tuple[ToolGrant, ToolSchema]]:
    """Each grant with each listed tool that it allows."""
    for grant in grants:
        seen = servers.get(grant.server_id)
        if seen is None or seen.state == "failed":
            continue
        for schema in seen.list_offered():
            if grant.tools is None or schema.name in grant.tools:
                yield grant, schema


def _describe_for_model(name: str, schema: ToolSchema) -> OfferedTool:
    """The tool as models are told of it."""
    fitted = schema.offered
    return OfferedTool(
        name=name,
        description=schema.description if fitted is None else fitted.description,
        parameters=schema.input_schema if fitted is None else fitted.parameters,
    )


def _make_target(seen: ServerTools, schema: ToolSchema, approval: Approval) -> Target:
    asks = approval == "always"
    return Target(
        server_id=seen.server_id,
        tool=schema.name,
        approval=approval,
        server_digest=seen.card_digest if asks else None,
        schema_digest=schema.digest if asks else None,
        renamed={} if schema.offered is None else schema.offered.renamed,
    )


def _choose_stricter(one: Approval, other: Approval) -> Approval:
    return "always" if "always" in (one, other) else "never"


def _make_delegate_tool(team: tuple[str, ...], purposes: Mapping[str, str]) -> OfferedTool:
    return OfferedTool(
        name=DELEGATE,
        description=f"{_DELEGATE_TEXT}{_describe_team(team, purposes)}",
        parameters={
            "type": "object",
            "properties": {
                "agent_id": {"type": "string", "enum": list(team)},
                "message": {"type": "string", "description": "the task"},
            },
            "required": ["agent_id", "message"],
        },
    )


def _describe_team(team: tuple[str, ...], purposes: Mapping[str, str]) -> str:
    """What each agent is for, cut so that all together stay within the bound."""
    known = [agent_id for agent_id in team if agent_id in purposes]
    if not known:
        return ""
    most = MAX_TEAM_CHARACTERS // len(known)
    lines = [_cut(f"- {it}: {' '.join(purposes[it].split())}", most) for it in known]
    return "\nYour team:\n" + "\n".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) < most else f"{text[: max(0, most - 2)]}…"
