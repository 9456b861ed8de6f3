"""Holds what was found out about an uploaded card. Entry point: `Assessment`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from aos.domain.cards.identity import CardKind

MAX_PROBLEMS = 20
"""What is reported about one card, at most."""
LONGEST_COMPARED = 128
"""In characters, of a word that a known one is looked for to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardProblem:
    """One thing wrong with a card: where, what, and what to write instead."""

    path: str
    message: str
    hint: str

    def to_dict(self) -> dict[str, str]:
        """The form of status files and of `invalid_card`'s details."""
        return {"path": self.path, "message": self.message, "hint": self.hint}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReference:
    """A card that another one names: a warning as long as it does not exist."""

    path: str
    kind: CardKind
    card_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What was found out about one uploaded card; without `errors` it may go live."""

    digest: str | None
    enabled: bool = True
    purpose: str = ""
    errors: tuple[CardProblem, ...] = ()
    warnings: tuple[CardProblem, ...] = ()
    references: tuple[CardReference, ...] = ()


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known word most like `word` (case, `_` and `-` aside), if one is like it at all."""
    plain = {_letters(k): k for k in sorted(known)}
    found = difflib.get_close_matches(_letters(word[:LONGEST_COMPARED]), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def _letters(word: str) -> str:
    return re.sub(r"[_\-\s]", "", word.casefold())
