"""Holds what the operator allows cards to say. Entry point: `CardPolicy`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field

from aos.domain.json_writer import write_json

RULES_VERSION = 4
"""Raise it when a rule for cards changes: every card is then judged anew."""


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
