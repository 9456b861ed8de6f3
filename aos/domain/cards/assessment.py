"""Defines the result of checking an uploaded card. Entry point: `Assessment`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aos.domain.cards.identity import CardKind

MAX_PROBLEMS = 20
"""The most problems that are reported for one card."""
LONGEST_COMPARED = 128
"""Longer words are cut to this many characters before they are compared with known words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProblem:
    """One problem of a card: its path, what is wrong, and what to write instead."""

    path: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReference:
    """A card that another card names. It is reported as a warning while it does not exist."""

    path: str
    kind: CardKind
    card_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardGrant:
    """What an agent card grants of one MCP server; `tools` None means all of its tools."""

    path: str
    server_id: str
    tools: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The result of checking one uploaded card. A card without `errors` may go live.

    `has_schedules` and `event_types` say what wakes the agent.
    """

    digest: str | None
    enabled: bool = True
    ttl_days: int | None = None
    purpose: str = ""
    errors: tuple[CardProblem, ...] = ()
    warnings: tuple[CardProblem, ...] = ()
    references: tuple[CardReference, ...] = ()
    grants: tuple[CardGrant, ...] = ()
    has_schedules: bool = False
    event_types: tuple[str, ...] = ()


def find_nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Find the known word that is most similar, or None if no word is similar enough.

    Case, `_` and `-` are ignored.
    """
    plain = {_strip_separators(k): k for k in sorted(known)}
    found = difflib.get_close_matches(
        _strip_separators(word[:LONGEST_COMPARED]), plain, n=1, cutoff=cutoff
    )
    return plain[found[0]] if found else None


def _strip_separators(word: str) -> str:
    return re.sub(r"[_\-\s]", "", word.casefold())
