"""Warns about fields of a valid card that have no effect, because another field makes them useless.
Entry point: `find_effect_warnings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.identity import CardKind

TEAM = "team"


def find_effect_warnings(raw: Mapping[str, Any], kind: CardKind) -> list[CardProblem]:
    """List a warning for each field of a checked card that has no effect."""
    match kind:
        case CardKind.AGENT:
            return list(_warn_useless_in_agent(raw))
        case CardKind.MCP_SERVER:
            return list(_warn_useless_in_server(raw))


def _warn_useless_in_agent(raw: Mapping[str, Any]) -> Iterator[CardProblem]:
    if raw.get("team") and raw.get("agent_type") != "LeadershipAgent":
        yield CardProblem(
            path=TEAM,
            message="team has no effect: only a LeadershipAgent delegates to its team",
            hint='write "agent_type": "LeadershipAgent", or remove team',
        )
    if raw.get("adapter_required") and raw.get("adapter_name") is None:
        yield CardProblem(
            path="adapter_required",
            message="adapter_required has no effect: the card names no adapter",
            hint="add adapter_name, or remove adapter_required",
        )
    yield from _warn_repeated_events(raw.get("wake", {}).get("events", ()))


def _warn_repeated_events(events: Sequence[Mapping[str, Any]]) -> Iterator[CardProblem]:
    """An event wakes an agent once: the first entry of its type counts."""
    first: dict[str, int] = {}
    for number, event in enumerate(events):
        earlier = first.setdefault(event["type"], number)
        if earlier != number:
            path = f"wake.events[{number}]"
            yield CardProblem(
                path=path,
                message=f"{path} has no effect: wake.events[{earlier}] has the same type",
                hint="remove one of them, or join their messages",
            )


def _warn_useless_in_server(raw: Mapping[str, Any]) -> Iterator[CardProblem]:
    tools, repeatable = raw.get("tools"), raw.get("repeatable")
    if tools is None or not isinstance(repeatable, list):
        return
    for position, tool in enumerate(repeatable):
        if tool not in tools:
            yield CardProblem(
                path=f"repeatable[{position}]",
                message=f"{tool!r} in repeatable has no effect: tools does not list it",
                hint=f"add {tool!r} to tools, or remove it from repeatable",
            )
