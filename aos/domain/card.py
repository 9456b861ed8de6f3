"""What do agent cards and MCP server cards have in common?

Their two kinds, where they lie, what an id is, what is reported about them, and what the operator
allows them to say (`CardPolicy`). Values only; nothing here needs pydantic.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from aos.domain.json_writer import write_json

MAX_CARD_BYTES = 64 * 1024
MAX_PROBLEMS = 20
"""What is reported about one card, at most."""
ID_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
ID_RULE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"
LONGEST_COMPARED = 128
"""In characters, of a word that a known one is looked for to."""
MAX_NAME = 512
"""A blob whose name claims a longer id is no card: its status file could not be named."""

RULES_VERSION = 4
"""Raise it when a rule for cards changes: every card is then judged anew."""


class CardKind(StrEnum):
    """The two kinds of card; the value is their folder in `aos-config`."""

    AGENT = "agents"
    MCP_SERVER = "mcp-servers"

    @property
    def id_field(self) -> str:
        """The field that holds the id."""
        return "agent_id" if self is CardKind.AGENT else "server_id"

    def blob_name(self, card_id: str) -> str:
        """Where the card lies in `aos-config`."""
        return f"{self.value}/{card_id}.json"

    def card_id(self, blob_name: str) -> str | None:
        """The id that a blob's name claims, or None for what is no card of this kind."""
        prefix = f"{self.value}/"
        if not (blob_name.startswith(prefix) and blob_name.endswith(".json")):
            return None
        card_id = blob_name[len(prefix) : -len(".json")]
        return card_id if len(card_id) <= MAX_NAME else None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitBounds:
    """The most that a card's `limits` may ask for; also what a card that is silent gets."""

    max_turns: int = 64
    max_tool_calls: int = 128
    run_timeout_seconds: int = 30 * 60
    approval_timeout_seconds: int = 24 * 3600

    def by_name(self) -> dict[str, int]:
        """The bound of each field of `limits` that has one of the operator's."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPolicy:
    """What the operator allows cards to say (from settings).

    `allowed_models` None: any name. `mcp_allowed`: the prefixes of `AOS_MCP_ALLOWED`.
    `mcp_env_allowed`: variables that a server's `env` may set though they are in a refused family.
    `expects_versions`: a server's package that is not pinned to a version gets a warning.
    `listed_hosts`: `host` or `host:port` that a server's `url` may name though it is private or
    speaks http. `key_vault_uri`: the vault that references resolve in.
    """

    allowed_models: frozenset[str] | None = None
    bounds: LimitBounds = field(default_factory=LimitBounds)
    mcp_allowed: tuple[str, ...] = ("npx -y @modelcontextprotocol/",)
    mcp_env_allowed: frozenset[str] = frozenset()
    expects_versions: bool = False
    listed_hosts: frozenset[str] = frozenset()
    key_vault_uri: str | None = None

    def fingerprint(self) -> str:
        """A digest of the policy and of the rules: a card judged under another is judged anew."""
        plain = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self).items()}
        text = write_json([RULES_VERSION, plain], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_card_id(text: str) -> bool:
    """Is this a valid agent or server id?"""
    return re.fullmatch(ID_PATTERN, text) is not None


def digest_of(body: bytes) -> str:
    """The digest of a card: SHA-256 of its bytes as uploaded, in hex."""
    return hashlib.sha256(body).hexdigest()


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known word most like `word` (case, `_` and `-` aside), if one is like it at all."""
    plain = {_letters(k): k for k in sorted(known)}
    found = difflib.get_close_matches(_letters(word[:LONGEST_COMPARED]), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def _letters(word: str) -> str:
    return re.sub(r"[_\-\s]", "", word.casefold())
