"""Defines the values of an MCP server card and its Key Vault references. Entry points:
`McpServerCard`, `mcp_server_card_from_dict`.

The file is `aos-config/mcp-servers/<server_id>.json`. `aos.domain.cards.operator_rules` checks what
the operator allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

REFERENCE_FORMS = (
    "@Microsoft.KeyVault(SecretUri=https://<vault>/secrets/<name>), "
    "@Microsoft.KeyVault(VaultName=<vault>;SecretName=<name>) or @Microsoft.KeyVault(...)"
)
_REFERENCE = re.compile(r"@Microsoft\.KeyVault\((.*)\)", re.DOTALL)
_SECRET_PATH = re.compile(r"/secrets/([0-9A-Za-z-]+)(?:/([0-9A-Za-z]+))?/?")
_VAULT = re.compile(r"[0-9A-Za-z-]{3,24}")
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServerCard:
    """A provider of tools: a command to start, or the `url` of a running server.

    `repeatable`: the tools that may be called twice, or True for all. `tools`: the tools that may
    be used; None means all that the server lists. `expose`: outsiders may call the server at
    `/api/mcp/<server_id>`. Values of `env` and `headers` may be secrets or references to secrets.
    """

    server_id: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    tools: tuple[str, ...] | None = None
    repeatable: tuple[str, ...] | bool = False
    timeout_seconds: int | None = None
    idle_seconds: int | None = None
    max_concurrent_calls: int | None = None
    expose: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def uses_secrets(self) -> bool:
        """Whether the card refers to secrets, which may be rotated."""
        return any(map(is_secret_reference, (*self.env.values(), *self.headers.values())))

    def can_offer(self, tool: str) -> bool:
        """Whether the card allows this tool."""
        return self.tools is None or tool in self.tools

    def may_repeat(self, tool: str) -> bool:
        """Whether the card states that this tool can safely be called twice."""
        if isinstance(self.repeatable, bool):
            return self.repeatable
        return tool in self.repeatable


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """A secret in Key Vault. `vault_host=None` means the vault of `AOS_KEY_VAULT_URI`."""

    name: str
    vault_host: str | None = None
    version: str | None = None


def mcp_server_card_from_dict(raw: Mapping[str, Any]) -> McpServerCard:
    """Build the card from its JSON object, which must have been checked before."""
    tools, repeatable = raw.get("tools"), raw.get("repeatable", False)
    return McpServerCard(
        server_id=raw["server_id"],
        command=raw.get("command"),
        args=tuple(raw.get("args", ())),
        env=dict(raw.get("env", {})),
        url=raw.get("url"),
        headers=dict(raw.get("headers", {})),
        enabled=raw.get("enabled", True),
        tools=None if tools is None else tuple(tools),
        repeatable=tuple(repeatable) if isinstance(repeatable, list) else repeatable,
        timeout_seconds=raw.get("timeout_seconds"),
        idle_seconds=raw.get("idle_seconds"),
        max_concurrent_calls=raw.get("max_concurrent_calls"),
        expose=raw.get("expose", False),
        labels=dict(raw.get("labels", {})),
    )


def is_secret_reference(text: str) -> bool:
    """Whether this text is meant as a Key Vault reference, well formed or not."""
    return "@microsoft.keyvault(" in text.casefold()


def parse_secret_reference(text: str, *, server_id: str, name: str) -> SecretReference:
    """Parse the reference in the env variable or header `name` of a server.

    `@Microsoft.KeyVault(...)`, written with three dots, means the secret `mcp-<server_id>-<name>`.
    Raises ValueError with a text for the card's author if the form is unknown.
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise ValueError("the value holds other text beside the Key Vault reference")
    inside = match[1].strip()
    if inside == "...":
        secret = f"mcp-{server_id}-{name.lower()}".replace("_", "-")
        return SecretReference(name=secret)
    fields = dict(part.strip().partition("=")[::2] for part in inside.split(";") if part.strip())
    match sorted(fields):
        case ["SecretUri"]:
            return _from_uri(fields["SecretUri"])
        case ["SecretName", "VaultName"] | ["SecretName", "SecretVersion", "VaultName"]:
            return _from_names(fields)
        case _:
            raise ValueError("the Key Vault reference has an unknown form")


def _from_uri(uri: str) -> SecretReference:
    parts = urlsplit(uri)
    path = _SECRET_PATH.fullmatch(parts.path)
    if parts.scheme != "https" or not parts.hostname or path is None:
        raise ValueError(f"SecretUri {uri!r} is not https://<vault>/secrets/<name>")
    return SecretReference(name=path[1], vault_host=parts.hostname, version=path[2])


def _from_names(fields: Mapping[str, str]) -> SecretReference:
    vault, name = fields["VaultName"], fields["SecretName"]
    if not (_VAULT.fullmatch(vault) and _NAME.fullmatch(name)):
        raise ValueError("VaultName or SecretName is not a valid name in Key Vault")
    return SecretReference(
        name=name,
        vault_host=f"{vault.lower()}.vault.azure.net",
        version=fields.get("SecretVersion") or None,
    )
