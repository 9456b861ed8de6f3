"""Checks an MCP server card against the operator's rules, at upload and at each start. Entry
points: `find_server_problems`, `find_command_problem`, `find_env_problems`.

MCP servers are code that runs as the mcp app, so the operator lists what may run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.command_lines import is_prefix_of, read_command
from aos.domain.cards.env_rules import explain_refusal, is_env_name
from aos.domain.cards.hosts import find_url_problem
from aos.domain.cards.package_names import is_pinned
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import (
    REFERENCE_FORMS,
    is_secret_reference,
    parse_secret_reference,
)
from aos.domain.json_reader import join_path

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACEHOLDER = re.compile(
    r"\$\{\s*(?:(?:env|input|secret|secrets|user_config)[:.])?([A-Za-z_][\w.-]{0,63})"
)
_WHOLE_PLACEHOLDER = re.compile(
    r"\$[A-Z][A-Z0-9_]{0,63}|<[A-Za-z][\w .-]{0,63}>|\{\{[^{}]{1,64}\}\}"
)
_REFUSED_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


def find_server_problems(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """List the errors of a server card whose types are valid."""
    return [
        *_find_transport_problems(raw, policy),
        *find_env_problems(raw.get("env", {}), policy),
        *_find_header_problems(raw.get("headers", {})),
        *(problem for problem, fatal in _check_references(raw, policy) if fatal),
    ]


def find_server_warnings(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """List warnings for the author; they do not keep the card from going live."""
    return [
        *_warn_unpinned(raw, policy),
        *_warn_placeholders(raw),
        *(problem for problem, fatal in _check_references(raw, policy) if not fatal),
    ]


def find_command_problem(
    command: str, args: Sequence[str], policy: CardPolicy
) -> CardProblem | None:
    """Return a problem unless `AOS_MCP_ALLOWED` lists this command line."""
    words = [command, *args]
    listed = [prefix for prefix in policy.mcp_allowed if is_prefix_of(prefix, words)]
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
        message, hint = "the command line contains '..'", "write the name without '..'"
    elif listed:
        message, hint = refusals[0].message, refusals[0].hint
    else:
        allowed = "; ".join(policy.mcp_allowed) or "nothing"
        message = f"{' '.join(words)!r} is not allowed here"
        hint = f"AOS_MCP_ALLOWED lists: {allowed}; the operator can add a prefix to it"
    return CardProblem(path="command", message=message, hint=hint)


def find_env_problems(names: Iterable[str], policy: CardPolicy) -> Iterator[CardProblem]:
    """Report the variables that a card may not set, and why."""
    for name in names:
        path = join_path("env", name)
        reason = explain_refusal(name, opened=policy.mcp_env_allowed)
        if reason is not None:
            message = f"env may not set {name!r}"
            yield CardProblem(path=path, message=message, hint=f"remove it: {reason}")
        elif not is_env_name(name):
            hint = "use letters, digits and _, not beginning with a digit"
            yield CardProblem(
                path=path, message=f"{name!r} is not a valid variable name", hint=hint
            )


def _find_transport_problems(raw: Mapping[str, Any], policy: CardPolicy) -> Iterator[CardProblem]:
    command, url = raw.get("command"), raw.get("url")
    if (command is None) == (url is None):
        both = "the card has both command and url" if url else "command or url is missing"
        yield CardProblem(path="command", message=both, hint='write either "command" or "url"')
        return
    strangers = ("args", "env") if url is not None else ("headers",)
    for name in strangers:
        if raw.get(name):
            owner = "command" if url is not None else "url"
            yield CardProblem(
                path=name,
                message=f"{name} has no effect without {owner}",
                hint=f"remove {name}, or write {owner}",
            )
    if command is not None:
        problem = find_command_problem(command, raw.get("args", ()), policy)
    else:
        problem = find_url_problem(str(url), policy.listed_hosts)
    if problem is not None:
        yield problem


def _warn_unpinned(raw: Mapping[str, Any], policy: CardPolicy) -> Iterator[CardProblem]:
    """In production, warn about a package without a version."""
    if not policy.expects_versions or raw.get("command") is None:
        return
    words = [raw["command"], *raw.get("args", ())]
    for prefix in policy.mcp_allowed:
        if is_prefix_of(prefix, words):
            reading = read_command(words, prefix=prefix, opened=policy.mcp_env_allowed)
            package, source = reading.package, reading.source
            if package is not None and source is not None and not is_pinned(package, source):
                hint = "write the version after its name"
                if package in prefix.split():
                    hint = "ask the operator to write the version into AOS_MCP_ALLOWED"
                yield CardProblem(
                    path="args",
                    message=f"{package!r} is not pinned to a version",
                    hint=f"{hint}; otherwise a later release would run without a review",
                )
                return


def _warn_placeholders(raw: Mapping[str, Any]) -> Iterator[CardProblem]:
    """Warn about `${NAME}`, `$NAME` or `<name>` of a published mcp.json.

    The server would get it as it is written.
    """
    named = [
        (join_path(field, name), value)
        for field in ("env", "headers")
        for name, value in raw.get(field, {}).items()
    ]
    listed = [(f"args[{place}]", value) for place, value in enumerate(raw.get("args", ()))]
    for path, value in (*named, *listed, ("url", raw.get("url") or "")):
        found = _PLACEHOLDER.search(value) or _WHOLE_PLACEHOLDER.fullmatch(value.strip())
        if found is None:
            continue
        shown = f"${{{found[1]}}}" if found.re is _PLACEHOLDER else found[0]
        hint = "write the value itself"
        if path.startswith(("env", "headers")):
            hint += (
                '; for a secret write "@Microsoft.KeyVault(...)" as the whole value, and put the'
                " secret into the vault, or into .aos/secrets.json on a laptop"
            )
        elif raw.get("command") is not None:
            hint += "; a secret belongs into env"
        message = f"AOS does not replace {shown}: the server gets it as it is written"
        yield CardProblem(path=path, message=message, hint=hint)


def _find_header_problems(headers: Mapping[str, str]) -> Iterator[CardProblem]:
    for name, value in headers.items():
        path = join_path("headers", name)
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _REFUSED_HEADERS:
            hint = "write another header, such as Authorization"
            message = f"a card may not set the header {name!r}"
            yield CardProblem(path=path, message=message, hint=hint)
        elif re.search(r"[\r\n]", value):
            hint = "write the value in one line"
            yield CardProblem(path=path, message="the value has a line break", hint=hint)


def _check_references(
    raw: Mapping[str, Any], policy: CardPolicy
) -> Iterator[tuple[CardProblem, bool]]:
    """Report wrong Key Vault references, and whether the card is rejected for each."""
    for field in ("env", "headers"):
        for name, value in raw.get(field, {}).items():
            if is_secret_reference(value):
                found = _find_reference_problem(raw["server_id"], name, value, policy)
                if found is not None:
                    message, hint, fatal = found
                    path = join_path(field, name)
                    yield CardProblem(path=path, message=message, hint=hint), fatal


def _find_reference_problem(
    server_id: str, name: str, value: str, policy: CardPolicy
) -> tuple[str, str, bool] | None:
    try:
        reference = parse_secret_reference(value, server_id=server_id, name=name)
    except ValueError as error:
        return str(error), f"write {REFERENCE_FORMS}", True
    if not reference.name.startswith("mcp-"):
        return (
            f"the secret {reference.name!r} may not be read by MCP servers",
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
