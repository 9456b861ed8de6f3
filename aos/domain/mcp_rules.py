"""May this MCP server be started, or called?

MCP servers are code that runs as the mcp app, so the operator lists what may run. Pure rules; each
yields what is wrong and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aos.domain.card import CardPolicy, CardProblem
from aos.domain.hosts import is_listed_host, is_public_host
from aos.domain.json_text import join_path
from aos.domain.mcp_server import REFERENCE_FORMS, is_secret_reference, parse_secret_reference

SHELLS = frozenset(
    {"ash", "bash", "busybox", "cmd", "csh", "dash", "doas", "env", "fish", "ksh", "nohup"}
    | {"powershell", "pwsh", "sh", "sudo", "tcsh", "xargs", "zsh"}
)
_CODE_OPTIONS = re.compile(r"-[ce]|--(?:call|eval|exec|print)(?:=.*)?", re.DOTALL)
_LEADING_CODE_OPTIONS = re.compile(r"-[A-Za-z]*[cep].*", re.DOTALL)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFUSED_ENV = re.compile(r"(?:LD_|DYLD_).*|PYTHONPATH|NODE_OPTIONS|PATH", re.IGNORECASE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REFUSED_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})


def server_problems(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """What the operator's rules have against a server card whose types are right."""
    return [
        *_transport_problems(raw, policy),
        *_env_problems(raw.get("env", {})),
        *_header_problems(raw.get("headers", {})),
        *(problem for problem, fatal in _references(raw, policy) if fatal),
    ]


def server_warnings(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    """What the author should know, though the card goes live."""
    return [problem for problem, fatal in _references(raw, policy) if not fatal]


def command_problem(command: str, args: Sequence[str], policy: CardPolicy) -> CardProblem | None:
    """Is this command line one that `AOS_MCP_ALLOWED` lists?"""
    line = " ".join([command, *args])
    program = re.split(r"[/\\]", command)[-1].lower().removesuffix(".exe")
    if program in SHELLS:
        message, hint = f"the command {command!r} is a shell", "name the server's own program"
    elif (option := _code_option(args)) is not None:
        message, hint = f"the option {option!r} runs code", "start a published server by its name"
    elif ".." in line:
        message, hint = "the command line holds '..'", "write the name without '..'"
    elif not any(_begins_with(prefix, [command, *args]) for prefix in policy.mcp_allowed):
        allowed = "; ".join(policy.mcp_allowed) or "nothing"
        message = f"{line!r} is not allowed here"
        hint = f"AOS_MCP_ALLOWED lists: {allowed}; the operator can add a prefix to it"
    else:
        return None
    return CardProblem(path="command", message=message, hint=hint)


def url_problem(url: str, policy: CardPolicy) -> CardProblem | None:
    """Is this an address that an MCP server may be called at?"""
    message: str | None = None
    hint = "write https://<public host name>/…"
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


def _code_option(args: Sequence[str]) -> str | None:
    """The first argument that hands over code to run; before the program also `-yc` and such."""
    leading = True
    for arg in args:
        leading = leading and arg.startswith("-")
        if _CODE_OPTIONS.fullmatch(arg):
            return arg
        if leading and not arg.startswith("--") and _LEADING_CODE_OPTIONS.fullmatch(arg):
            return arg
    return None


def _begins_with(prefix: str, words: Sequence[str]) -> bool:
    """A prefix ends at a word's end, unless its last character is `/`."""
    wanted = prefix.split()
    if not wanted or len(words) < len(wanted):
        return False
    last = words[len(wanted) - 1]
    if list(words[: len(wanted) - 1]) != wanted[:-1]:
        return False
    if not wanted[-1].endswith("/"):
        return last == wanted[-1]
    return last.startswith(wanted[-1]) and last != wanted[-1] and not re.search(r"\s", last)


def _env_problems(env: Mapping[str, str]) -> Iterator[CardProblem]:
    for name in env:
        path = join_path("env", name)
        if _REFUSED_ENV.fullmatch(name):
            hint = "remove it: it would change what code the server runs"
            yield CardProblem(path=path, message=f"env may not set {name!r}", hint=hint)
        elif not _ENV_NAME.fullmatch(name):
            hint = "use letters, digits and _, not beginning with a digit"
            yield CardProblem(path=path, message=f"{name!r} is no env name", hint=hint)


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
