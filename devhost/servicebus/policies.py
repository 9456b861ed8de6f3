"""Reads shared access policies and checks keys and tokens against them. Entry points:
`parse_policies`, `Policies`.

`Policies.check_token` checks a token that `$cbs` received, `Policies.check_key` a key of SASL
PLAIN. As in Azure, a policy belongs to the namespace or to one queue or topic.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from devhost.servicebus.address import covers, parse_address
from devhost.servicebus.errors import ConfigError, TokenError

MAX_POLICIES = 12
"""Azure's limit, for the namespace and for each entity."""
SIGNATURE_PREFIX = "SharedAccessSignature "
"""How the text of a shared access signature begins."""
_EPOCH_SECONDS = re.compile(r"[0-9]{1,11}")
_BELOW_AN_ENTITY = ("/subscriptions/", "/$")


class Right(StrEnum):
    """What a policy allows; Manage includes the others."""

    LISTEN = "Listen"
    SEND = "Send"
    MANAGE = "Manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A name with keys; `path` is the queue or topic in lower case, "" for the namespace."""

    name: str
    keys: tuple[str, ...] = field(repr=False)
    rights: frozenset[Right]
    path: str = ""

    def is_for(self, path: str) -> bool:
        """Whether a path belongs to the policy's entity or namespace."""
        rest = path.removeprefix(self.path)
        own = rest == "" or rest.startswith(_BELOW_AN_ENTITY)
        return not self.path or (path.startswith(self.path) and own)


WELL_KNOWN = Policy(
    name="RootManageSharedAccessKey", keys=("SAS_KEY_VALUE",), rights=frozenset(Right)
)
"""The policy of Microsoft's emulator, for a configuration that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A policy's rights below `path`, until a time; None: until the connection ends."""

    policy: Policy
    path: str
    until_ms: int | None = None

    def allows(self, path: str, rights: Iterable[Right]) -> bool:
        """Whether the grant has one of the rights on the path; its time is not checked."""
        given = any(right in self.policy.rights for right in rights)
        return given and covers(self.path, path) and self.policy.is_for(path)


class Policies:
    """All policies of a configuration."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies = tuple(policies)

    def check_token(self, token: str, *, audience: str, now_ms: int) -> Grant:
        """Check a shared access signature for the audience's path. Raises TokenError."""
        fields = _read_token_fields(token)
        seconds = int(fields["se"])
        scope, path = parse_address(unquote(fields["sr"])).path, parse_address(audience).path
        policy = self._find_signer(fields, scope)
        if seconds * 1_000 <= now_ms:
            raise TokenError(f"ExpiredToken: The token of policy {policy.name!r} is expired.")
        if not (covers(scope, path) and policy.is_for(path)):
            raise TokenError(
                f"InvalidAudience: The token is for {unquote(fields['sr'])!r}, not for "
                f"{audience!r}: sign a token for this address or for the namespace."
            )
        return Grant(policy=policy, path=path, until_ms=seconds * 1_000)

    def check_key(self, name: str, key: str) -> Grant:
        """Check a policy's name and key. Raises TokenError."""
        named = [policy for policy in self._policies if policy.name == name]
        for policy in named:
            if any(_is_same(key, each) for each in policy.keys):
                return Grant(policy=policy, path=policy.path)
        raise _no_signer(name, named)

    def _find_signer(self, fields: Mapping[str, str], scope: str) -> Policy:
        signed = f"{fields['sr']}\n{fields['se']}".encode()
        name, given = unquote(fields["skn"]), unquote(fields["sig"])
        named = [each for each in self._policies if each.name == name and each.is_for(scope)]
        for policy in named:
            if any(_is_same(given, _sign(signed, key)) for key in policy.keys):
                return policy
        raise _no_signer(name, named)


def _no_signer(name: str, named: Sequence[Policy]) -> TokenError:
    reason = f"policy {name!r} has another key" if named else f"there is no policy {name!r} here"
    return TokenError(
        f"InvalidSignature: The token has an invalid signature: {reason}. Correct the connection "
        "string, or add the policy to AuthorizationRules in Config.json."
    )


def parse_policies(entries: Iterable[Mapping[str, Any]], path: str) -> tuple[Policy, ...]:
    """Read the policies of an entity's `AuthorizationRules`. Raises ConfigError."""
    policies = tuple(_parse_policy(entry, path) for entry in entries)
    names = [policy.name for policy in policies]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two AuthorizationRules have the name {twice!r}")
    if len(policies) > MAX_POLICIES:
        raise ConfigError(
            f"AuthorizationRules has {len(policies)} entries, the limit is {MAX_POLICIES}"
        )
    return policies


def _parse_policy(entry: Mapping[str, Any], path: str) -> Policy:
    name, properties = entry.get("Name"), entry.get("Properties")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"AuthorizationRules: the name {name!r} must be a text that is not empty")
    if not isinstance(properties, dict):
        raise ConfigError(f"AuthorizationRules {name!r} has no Properties with Rights and a key")
    unknown = properties.keys() - {"Rights", "PrimaryKey", "SecondaryKey"}
    if unknown:
        raise ConfigError(
            f"AuthorizationRules {name!r} does not know {min(unknown)!r}; "
            "it knows Rights, PrimaryKey, SecondaryKey"
        )
    keys = [properties.get("PrimaryKey")]
    keys += [properties["SecondaryKey"]] if "SecondaryKey" in properties else []
    if not all(isinstance(key, str) and key for key in keys):
        raise ConfigError(f"AuthorizationRules {name!r}: a key must be a text that is not empty")
    rights = _parse_rights(name, properties.get("Rights"))
    return Policy(name=name, keys=tuple(map(str, keys)), rights=rights, path=path)


def _parse_rights(name: str, given: Any) -> frozenset[Right]:
    try:
        rights = frozenset(Right(each) for each in given)
    except (TypeError, ValueError):
        rights = frozenset()
    if not rights:
        raise ConfigError(
            f"AuthorizationRules {name!r}: Rights {given!r} is not a list of " + ", ".join(Right)
        )
    if Right.MANAGE in rights and len(rights) < len(Right):
        raise ConfigError(f"AuthorizationRules {name!r}: Manage needs Listen and Send too")
    return rights


def _read_token_fields(token: str) -> dict[str, str]:
    """Read a token's fields undecoded: the encoded address is signed. Raises TokenError."""
    pairs = [part.partition("=") for part in token.removeprefix(SIGNATURE_PREFIX).split("&")]
    fields = {name: value for name, _, value in pairs}
    complete = all(fields.get(name) for name in ("sr", "sig", "se", "skn"))
    if not token.startswith(SIGNATURE_PREFIX) or not complete or len(fields) < len(pairs):
        raise TokenError(
            f"MalformedToken: The token is not '{SIGNATURE_PREFIX}sr=…&sig=…&se=…&skn=…', "
            "each field once."
        )
    if not _EPOCH_SECONDS.fullmatch(fields["se"]):
        raise TokenError(f"MalformedToken: The expiry {fields['se']!r} is not epoch seconds.")
    return fields


def _sign(signed: bytes, key: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), signed, hashlib.sha256)).decode()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
