"""Warns about other cards and tools that a card names and that do not serve. Entry points:
`warn_of_references`, `warn_of_tools`.

These warnings come and go without a new upload, when another card or the list of a server changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from aos.domain.cards.assessment import (
    MAX_PROBLEMS,
    CardGrant,
    CardProblem,
    CardReference,
    find_nearest,
)
from aos.domain.cards.identity import CardKind

CardUse: TypeAlias = Literal["missing", "disabled", "serving"]
MAX_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedServers:
    """The names of the tools that each MCP server has listed, and the most that a model takes.

    A server that has not listed its tools is not in `tools`. `offered` are those that models are
    offered.
    """

    tools: Mapping[str, frozenset[str]] = field(default_factory=dict)
    offered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    max_tools: int = 128


NOTHING_LISTED = ListedServers()


def warn_of_references(
    references: Iterable[CardReference], find_use: Callable[[CardKind, str], CardUse]
) -> Iterator[CardProblem]:
    """Warn about each card that is named and does not exist or is disabled."""
    for reference in references:
        use = find_use(reference.kind, reference.card_id)
        if use == "missing":
            yield _warn_missing_card(reference)
        elif use == "disabled":
            yield _warn_disabled_card(reference)


def warn_of_tools(
    grants: Iterable[CardGrant], servers: ListedServers, *, is_delegating: bool
) -> list[CardProblem]:
    """Warn about granted tools that their server does not list, and about too many tools."""
    grants = tuple(grants)
    unlisted = [problem for grant in grants for problem in _warn_unlisted(grant, servers)]
    offered = {
        (grant.server_id, tool)
        for grant in grants
        for tool in servers.offered.get(grant.server_id, frozenset())
        if grant.tools is None or tool in grant.tools
    }
    count = len(offered) + is_delegating
    if count > servers.max_tools:
        unlisted.insert(0, _warn_too_many(count, servers.max_tools))
    return unlisted[:MAX_PROBLEMS]


def _warn_unlisted(grant: CardGrant, servers: ListedServers) -> Iterator[CardProblem]:
    listed = servers.tools.get(grant.server_id)
    if listed is None:
        return
    for tool in grant.tools or ():
        if tool not in listed:
            near = find_nearest(tool, listed)
            other = f"write {near[:MAX_SHOWN]!r}" if near else "see GET /api/tools for its tools"
            yield CardProblem(
                path=grant.path,
                message=f"the MCP server {grant.server_id!r} lists no tool {tool[:MAX_SHOWN]!r}",
                hint=f"{other}, or remove the grant",
            )


def _warn_too_many(count: int, most: int) -> CardProblem:
    return CardProblem(
        path="mcp_tools",
        message=f"the card grants {count} tools, a model takes {most}: runs fail as too_many_tools",
        hint="name the tools that the agent needs (server/tool), or have the operator raise"
        " AOS_MODEL_MAX_TOOLS if the endpoint takes more",
    )


def _warn_missing_card(reference: CardReference) -> CardProblem:
    return CardProblem(
        path=reference.path,
        message=f"the {_name_kind(reference)} {reference.card_id!r} does not exist (yet)",
        hint=f"upload {reference.kind.blob_name(reference.card_id)}, or correct the name",
    )


def _warn_disabled_card(reference: CardReference) -> CardProblem:
    return CardProblem(
        path=reference.path,
        message=f"the {_name_kind(reference)} {reference.card_id!r} is disabled, so it is not used",
        hint=f"set enabled to true in {reference.kind.blob_name(reference.card_id)}, or remove it"
        " here",
    )


def _name_kind(reference: CardReference) -> str:
    return "MCP server" if reference.kind is CardKind.MCP_SERVER else "agent"
