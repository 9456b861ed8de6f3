"""Holds an MCP server card against what the operator allows: at upload, and again at each start.

MCP servers are code that runs as the mcp app, so the operator lists what may run. Pure rules; each
yields what is wrong and what to write instead. Entry points: `server_problems`, `command_problem`,
`env_problems`, `url_problem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.command_lines import begins_with, read_command
from aos.domain.cards.env_rules import is_env_name, refusal_of
from aos.domain.cards.hosts import is_listed_host, is_public_host
from aos.domain.cards.package_names import is_pinned
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import (
    REFERENCE_FORMS,
    is_secret_reference,
    parse_secret_reference,
)
from aos.domain.json_reader import join_path

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REFUSED_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


def server_problems(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """What the operator's rules have against a server card whose types are right."""
    return [
        *_transport_problems(raw, policy),
        *env_problems(raw.get("env", {}), policy),
        *_header_problems(raw.get("headers", {})),
        *(problem for problem, fatal in _references(raw, policy) if fatal),
    ]


def server_warnings(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """What the author should know, though the card goes live."""
    return [
        *_unpinned(raw, policy),
        *(problem for problem, fatal in _references(raw, policy) if not fatal),
    ]


def command_problem(command: str, args: Sequence[str], policy: CardPolicy) -> CardProblem | None:
    """Is this command line one that `AOS_MCP_ALLOWED` lists?"""
    words = [command, *args]
    listed = [prefix for prefix in policy.mcp_allowed if begins_with(prefix, words)]
    opened = policy.mcp_env_allowed
    readings = [read_command(words, prefix=p, opened=opened) for p in listed or (None,)]
    refusals = [reading.refusal for reading in readings if reading.refusal is not None]
    fatal = next((refusal for refusal in refusals if refusal.fatal), None)
    climbs = any(".." in word for word in words)
    if listed and len(refusals) < len(readings) and not climbs:
        return None
    if fatal is not None:
        message, hint = fatal.message, fatal.hint
    elif climbs:
        message, hint = "the command line holds '..'", "write the name without '..'"
    elif listed:
        message, hint = refusals[0].message, refusals[0].hint
    else:
        allowed = "; ".join(policy.mcp_allowed) or "nothing"
        message = f"{' '.join(words)!r} is not allowed here"
        hint = f"AOS_MCP_ALLOWED lists: {allowed}; the operator can add a prefix to it"
    return CardProblem(path="command", message=message, hint=hint)


def env_problems(names: Iterable[str], policy: CardPolicy) -> Iterator[CardProblem]:
    """Which variables a card may not set, and why."""
    for name in names:
        path = join_path("env", name)
        reason = refusal_of(name, opened=policy.mcp_env_allowed)
        if reason is not None:
            message = f"env may not set {name!r}"
            yield CardProblem(path=path, message=message, hint=f"remove it: {reason}")
        elif not is_env_name(name):
            hint = "use letters, digits and _, not beginning with a digit"
            yield CardProblem(path=path, message=f"{name!r} is no env name", hint=hint)


def url_problem(url: str, policy: CardPolicy) -> CardProblem | None:
    """Is this an address that an MCP server may be called at?"""
    message: str | None = None
    hint = "write https://<public host name>/…"
    if not url.isprintable() or " " in url:  # urlsplit reads past them, other readers do not
        return CardProblem(path="url", message=f"{url!r} holds white space", hint=hint)
    try:
        parts = urlsplit(url)
        listed = is_listed_host(parts, policy.listed_hosts)
    except ValueError as error:
        return CardProblem(path="url", message=f"{url!r} is no URL: {error}", hint=hint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{url!r} is no https URL"
    elif parts.username is not None or parts.password is not None:
        message, hint = "the URL holds a user name or password", "put secrets into headers"
    elif parts.fragment:
        message, hint = "the URL holds a fragment (#…)", "remove it"
    elif parts.scheme != "https" and not listed:
        message = f"{url!r} is not https"
    elif not listed and not is_public_host(parts.hostname):
        message = f"the host {parts.hostname!r} is loopback, link-local, private or no host name"
        hint = "name a public host, or ask the operator to list this one"
    return None if message is None else CardProblem(path="url", message=message, hint=hint)


def _transport_problems(raw: Mapping[str, Any], policy: CardPolicy) -> Iterator[CardProblem]:
    command, url = raw.get("command"), raw.get("url")
    if (command is None) == (url is None):
        both = "command and url exclude each other" if url else "command or url is missing"
        yield CardProblem(path="command", message=both, hint='write one: "command" or "url"')
        return
    strangers = ("args", "env") if url is not None else ("headers",)
    for name in strangers:
        if raw.get(name):
            owner = "command" if url is not None else "url"
            yield CardProblem(
                path=name,
                message=f"{name} has no meaning without {owner}",
                hint=f"remove {name}, or write {owner}",
            )
    if command is not None:
        problem = command_problem(command, raw.get("args", ()), policy)
    else:
        problem = url_problem(str(url), policy)
    if problem is not None:
        yield problem


def _unpinned(raw: Mapping[str, Any], policy: CardPolicy) -> Iterator[CardProblem]:
    """In production a package says which version it means."""
    if not policy.expects_versions or raw.get("command") is None:
        return
    words = [raw["command"], *raw.get("args", ())]
    for prefix in policy.mcp_allowed:
        if begins_with(prefix, words):
            reading = read_command(words, prefix=prefix, opened=policy.mcp_env_allowed)
            package, source = reading.package, reading.source
            if package is not None and source is not None and not is_pinned(package, source):
                hint = "write the version behind its name"
                if package in prefix.split():
                    hint = "ask the operator to write the version into AOS_MCP_ALLOWED"
                yield CardProblem(
                    path="args",
                    message=f"{package!r} is not pinned to a version",
                    hint=f"{hint}: a later release would run unseen",
                )
                return


def _header_problems(headers: Mapping[str, str]) -> Iterator[CardProblem]:
    for name, value in headers.items():
        path = join_path("headers", name)
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _REFUSED_HEADERS:
            hint = "write a header such as Authorization"
            message = f"{name!r} is no header that a card may set"
            yield CardProblem(path=path, message=message, hint=hint)
        elif re.search(r"[\r\n]", value):
            hint = "write it in one line"
            yield CardProblem(path=path, message="the value has a line break", hint=hint)


def _references(raw: Mapping[str, Any], policy: CardPolicy) -> Iterator[tuple[CardProblem, bool]]:
    """What is wrong with the Key Vault references, and whether that stops the card."""
    for field in ("env", "headers"):
        for name, value in raw.get(field, {}).items():
            if is_secret_reference(value):
                found = _reference_problem(raw["server_id"], name, value, policy)
                if found is not None:
                    message, hint, fatal = found
                    path = join_path(field, name)
                    yield CardProblem(path=path, message=message, hint=hint), fatal


def _reference_problem(
    server_id: str, name: str, value: str, policy: CardPolicy
) -> tuple[str, str, bool] | None:
    try:
        reference = parse_secret_reference(value, server_id=server_id, name=name)
    except ValueError as error:
        return str(error), f"write {REFERENCE_FORMS}", True
    if not reference.name.startswith("mcp-"):
        return (
            f"the secret {reference.name!r} is not one that MCP servers may read",
            f"name the secret mcp-{server_id}-…",
            True,
        )
    if not policy.key_vault_uri:
        return (
            f"AOS_KEY_VAULT_URI is not set, so the secret {reference.name!r} cannot be read",
            "the operator must set AOS_KEY_VAULT_URI to the vault of the MCP servers",
            False,
        )
    vault = urlsplit(policy.key_vault_uri).hostname
    if reference.vault_host not in (None, vault):
        return (
            f"the vault {reference.vault_host!r} is not the one of AOS_KEY_VAULT_URI",
            f"use {vault!r}",
            True,
        )
    return None
