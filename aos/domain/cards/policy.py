"""Defines what the operator allows cards to contain. Entry point: `CardPolicy`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field

from aos.domain.json_writer import write_json

DEFAULT_MCP_ALLOWED = "npx -y @modelcontextprotocol/"
DEFAULT_REPLY_TO = "businessinfinity-responses"
RULES_VERSION = 8
"""Raise it when a rule for cards changes; all cards are then assessed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitBounds:
    """The largest values that a card's `limits` may set; also the defaults of a card that sets
    none."""

    max_turns: int = 64
    max_tool_calls: int = 128
    run_timeout_seconds: int = 30 * 60
    approval_timeout_seconds: int = 24 * 3600

    def by_name(self) -> dict[str, int]:
        """Return the limits by the name of their field."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPolicy:
    """What the operator's settings allow cards to contain.

    `allowed_models`: None allows any name. `mcp_allowed`: the prefixes of `AOS_MCP_ALLOWED`.
    `mcp_env_allowed`: variables that a server's `env` may set although they are in a refused
    family. `expects_versions`: a server's package without an exact version gets a warning.
    `listed_hosts`: `host` or `host:port` that a server's `url` may name although it is private or
    uses http. `key_vault_uri`: the vault of secret references.
    `max_tools`: the most tools that a model endpoint takes. `reply_queues`: the queues and topics
    that `notify` may name. `webhook_hosts`: `host` or `host:port` that its URL may name although it
    is private or uses http. `signs_webhooks`: AOS has a secret to sign webhooks with.
    """

    allowed_models: frozenset[str] | None = None
    bounds: LimitBounds = field(default_factory=LimitBounds)
    mcp_allowed: tuple[str, ...] = (DEFAULT_MCP_ALLOWED,)
    mcp_env_allowed: frozenset[str] = frozenset()
    expects_versions: bool = False
    listed_hosts: frozenset[str] = frozenset()
    key_vault_uri: str | None = None
    max_tools: int = 128
    reply_queues: tuple[str, ...] = (DEFAULT_REPLY_TO,)
    webhook_hosts: frozenset[str] = frozenset()
    signs_webhooks: bool = False

    def fingerprint(self) -> str:
        """Return a digest of the policy and the rules. A card assessed under another is assessed
        again."""
        plain = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(self).items()}
        del plain["max_tools"]  # it is compared with what servers list, at each publication
        text = write_json([RULES_VERSION, plain], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
