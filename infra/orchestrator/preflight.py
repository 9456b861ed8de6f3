"""Is everything there that a deployment needs, before anything is asked of Azure?"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import parameters, rights, upload
from orchestrator.az import Answer
from orchestrator.blanks import blanks_in
from orchestrator.exits import REFUSED, USAGE, Halt
from orchestrator.kit import Kit
from orchestrator.request import Request, Target
from orchestrator.retry import insist
from orchestrator.sources import Commit, commit_of, digest_of

_REGION = re.compile(r"^\s*(\w+): \{ tier: (\d)", re.MULTILINE)


def preflight(kit: Kit, request: Request) -> Target:
    """Check files, tools, parameters, login, group, region and rights, in this order.

    Raises Halt (USAGE) with what to do; nothing has been changed by then.
    """
    _files(request)
    _tools(kit)
    commit = _commit(kit, request)
    given = _parameters(kit, request)
    environment = _environment(request, given.values)
    kit.journal.set(environment=environment, parameter_values=given.recorded)
    account = _account(kit)
    if request.audit_upload:
        upload.take_token(kit)
    _location(kit, request, given.values)
    _group(kit, request, environment)
    _rights(kit, request, account)
    path = request.parameters
    if given.converted is not None:
        path = kit.journal.keep("parameters.json", given.converted)
    digest = digest_of(request.template, path)
    kit.journal.set(sources_digest=digest)
    return Target(
        deployment_name=_name(kit, environment, commit),
        subscription_id=str(account["id"]),
        environment=environment,
        parameters=path,
        values=given.values,
        diagnostics=given.diagnostics,
        digest=digest,
    )


def _files(request: Request) -> None:
    for path, flag in ((request.template, "--template"), (request.parameters, "--parameters")):
        if not path.is_file():
            raise Halt(
                USAGE, f"{flag}: there is no file {path}", "paths are seen from the current folder"
            )


def _tools(kit: Kit) -> None:
    versions = asked(kit, "version", "-o", "json").value()
    found = {"python": platform.python_version(), "azure-cli": versions.get("azure-cli", "?")}
    bicep = kit.az.ask("bicep", "version")
    if not bicep.ok:
        raise Halt(USAGE, f"there is no Bicep CLI: {bicep.err.strip()}", "az bicep install")
    numbers = re.search(r"version (\S+)", bicep.out)
    found["bicep"] = numbers[1] if numbers else bicep.out.strip()
    found["git"] = shutil.which("git") or "missing (apt install git); --git-sha names the commit"
    kit.journal.set(tools=found)
    kit.voice.items(f"{name}: {version}" for name, version in found.items())


def _commit(kit: Kit, request: Request) -> Commit:
    commit = commit_of(request.template.parent, request.git_sha)
    kit.journal.set(git_sha=commit.sha, git={"head": commit.head, "dirty": commit.dirty})
    kit.voice.item(f"commit: {commit.sha}")
    if commit.dirty:
        kit.voice.warn("files here differ from the commit; the record says so")
    if commit.head and not commit.head.startswith(commit.sha.lower()):
        kit.voice.warn(f"--git-sha is not what is checked out ({commit.head})")
    return commit


def _parameters(kit: Kit, request: Request) -> parameters.Given:
    given = parameters.read(kit.az, request.parameters, request.template)
    if given.dropped:
        kit.voice.warn(
            f"without a value, so the template's default holds: {', '.join(given.dropped)}"
        )
    return given


def _environment(request: Request, values: Mapping[str, Any]) -> str:
    environment = str(values.get("environment", ""))
    if not environment:
        raise Halt(USAGE, f"{request.parameters} does not say which environment it is")
    if environment == "prod" and request.allow_warnings:
        raise Halt(USAGE, "--allow-warnings is refused for prod", "correct what lint warns of")
    needed = {"signInClientId": "AOS_B2C_CLIENT_ID", "signInIssuer": "AOS_B2C_ISSUER"}
    missing = [f"{name} ({variable})" for name, variable in needed.items() if not values.get(name)]
    if values.get("enableB2C") and missing:
        raise Halt(
            USAGE,
            f"enableB2C needs {' and '.join(missing)}",
            "set the environment variables that the parameter file reads, or enableB2C = false",
        )
    blanks = blanks_in(values) if environment == "prod" else []
    if blanks:
        raise Halt(
            USAGE,
            "production leaves open:\n" + "\n".join(blanks),
            "set the environment variables, or write the values into the parameter file",
        )
    return environment


def asked(kit: Kit, *command: str) -> Answer:
    """An answer that must be there before we start. Raises Halt (USAGE, ENVIRONMENT)."""
    try:
        return insist(kit, lambda: kit.az.ask(*command))
    except Halt as halt:
        code = USAGE if halt.code == REFUSED else halt.code
        raise Halt(code, halt.reason, halt.advice) from halt


def _account(kit: Kit) -> dict[str, Any]:
    account: dict[str, Any] = asked(kit, "account", "show", "-o", "json").value()
    who = account.get("user", {}).get("name")
    kit.voice.item(f"subscription: {account.get('name')} ({account.get('id')}) as {who}")
    kit.journal.set(
        who=who,
        subscription={
            "id": account["id"], "name": account.get("name"), "tenant": account.get("tenantId")
        },
    )  # fmt: skip
    return account


def _location(kit: Kit, request: Request, values: Mapping[str, Any]) -> None:
    wanted = plain(request.location)
    if plain(values.get("location", wanted)) != wanted:
        raise Halt(
            USAGE,
            f"--location is {request.location}, but {request.parameters.name} deploys to "
            f"{values['location']}",
            "make them equal",
        )
    listed = asked(kit, "account", "list-locations", "--query", "[].name", "-o", "json")
    if wanted not in listed.value():
        raise Halt(
            USAGE, f"there is no region {request.location} in this subscription",
            "az account list-locations --output table",
        )  # fmt: skip
    tier = tiers(request.template).get(wanted)
    kit.voice.item(f"region: {wanted} (tier {tier or 2})")
    if tier is None:
        kit.voice.warn(
            "REGIONAL_REQUIREMENTS.md does not name the region: optional parts are left out"
        )


def tiers(template: Path) -> dict[str, int]:
    """The regions that the template knows, and their tiers."""
    table = template.parent / "modules" / "regions.bicep"
    text = table.read_text(encoding="utf-8") if table.is_file() else ""
    return {name: int(tier) for name, tier in _REGION.findall(text)}


def plain(location: object) -> str:
    """A region's name as Azure writes it: eastus2 for East US 2."""
    return str(location).replace(" ", "").lower()


def _group(kit: Kit, request: Request, environment: str) -> None:
    name = request.resource_group
    # `group exists` tells what is missing from what may not be seen, which `group show` does not.
    if asked(kit, "group", "exists", "--name", name).out.strip() == "true":
        return
    tags = (f"environment={environment}", "project=aos", f"owner={kit.journal.record.get('who')}")
    command = ("group", "create", "--name", name, "--location", request.location, "--tags", *tags)
    if not request.create_resource_group or request.dry_run:
        raise Halt(
            USAGE,
            f"there is no resource group {name}",
            f"az {' '.join(command)}   (or pass --create-resource-group, without --dry-run)",
        )
    asked(kit, *command, "-o", "json")
    kit.voice.item(f"resource group: {name} created")
    kit.journal.set(created_resource_group=True)


def _rights(kit: Kit, request: Request, account: dict[str, Any]) -> None:
    if request.skip_rights:
        kit.voice.warn("rights are not checked (--skip-rights)")
        return
    group = request.resource_group
    rights.check(kit, account, f"/subscriptions/{account['id']}/resourceGroups/{group}")


def _name(kit: Kit, environment: str, commit: Commit) -> str:
    moment = re.sub(r"[^0-9TZ]", "", kit.clock.now()).lower()
    name = f"aos-{environment}-{moment}-{commit.sha[:7].lower()}"
    kit.journal.set(deployment_name=name)
    return name
