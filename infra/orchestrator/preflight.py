"""Checks what a deployment needs before it starts. Entry point: `run_preflight`."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.orchestrator.audit_upload import get_storage_token
from infra.orchestrator.azure_cli import Answer
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.exit_codes import REFUSED, USAGE, Halt
from infra.orchestrator.parameters import ParameterValues, normalize_region, read_parameters
from infra.orchestrator.production_values import find_missing_values
from infra.orchestrator.retries import ask_with_retries
from infra.orchestrator.run_context import Request, RunContext, Target
from infra.orchestrator.sources import Commit, digest_sources, find_commit

_OWNER = "Owner"
_CONTRIBUTOR = "Contributor"
_ASSIGNING = ("User Access Administrator", "Role Based Access Control Administrator")
"""Each of these may assign roles."""
_REGION = re.compile(r"^\s*(\w+): \{ tier: (\d)", re.MULTILINE)


def run_preflight(context: RunContext, request: Request) -> Target:
    """Check files, tools, commit, parameters, login, region, resource group and rights.

    Raises Halt (USAGE) with advice. Until then nothing was changed in Azure.
    """
    _check_files(request)
    _check_tools(context)
    commit = _find_commit(context, request)
    given = _read_parameters(context, request)
    environment = _check_environment(request, given.values)
    context.journal.set(environment=environment, parameter_values=given.recorded)
    account = _read_account(context)
    if request.audit_upload:
        get_storage_token(context)
    _check_location(context, request, given.values)
    _ensure_group(context, request, environment)
    _check_rights(context, request, account)
    path = request.parameters
    if given.converted is not None:
        path = context.journal.write_file("parameters.json", given.converted)
    digest = digest_sources(request.template, path)
    context.journal.set(sources_digest=digest)
    return Target(
        deployment_name=_make_deployment_name(context, environment, commit),
        subscription_id=str(account["id"]),
        environment=environment,
        parameters=path,
        values=given.values,
        diagnostics=given.diagnostics,
        digest=digest,
    )


def _check_files(request: Request) -> None:
    for path, flag in ((request.template, "--template"), (request.parameters, "--parameters")):
        if not path.is_file():
            raise Halt(
                USAGE,
                f"{flag}: the file {path} does not exist",
                "give a path from the current folder",
            )


def _check_tools(context: RunContext) -> None:
    versions = ask_or_halt(context, "version", "-o", "json").parse_json()
    found = {"python": platform.python_version(), "azure-cli": versions.get("azure-cli", "?")}
    bicep = context.az.run("bicep", "version")
    if not bicep.succeeded:
        raise Halt(
            USAGE, f"the Bicep CLI is not installed: {bicep.err.strip()}", "az bicep install"
        )
    numbers = re.search(r"version (\S+)", bicep.out)
    found["bicep"] = numbers[1] if numbers else bicep.out.strip()
    found["git"] = shutil.which("git") or "missing (apt install git, or pass --git-sha)"
    context.journal.set(tools=found)
    context.console.write_items(f"{name}: {version}" for name, version in found.items())


def _find_commit(context: RunContext, request: Request) -> Commit:
    commit = find_commit(request.template.parent, request.git_sha)
    context.journal.set(git_sha=commit.sha, git={"head": commit.head, "dirty": commit.dirty})
    context.console.write_item(f"commit: {commit.sha}")
    if commit.dirty:
        context.console.warn("files differ from the commit; the audit record notes it")
    if commit.head and not commit.head.startswith(commit.sha.lower()):
        context.console.warn(f"--git-sha is not the commit that is checked out ({commit.head})")
    return commit


def _read_parameters(context: RunContext, request: Request) -> ParameterValues:
    given = read_parameters(context.az, request.parameters, request.template)
    if given.dropped:
        context.console.warn(
            f"no value, so the template's default is used: {', '.join(given.dropped)}"
        )
    return given


def _check_environment(request: Request, values: Mapping[str, Any]) -> str:
    environment = str(values.get("environment", ""))
    if not environment:
        raise Halt(
            USAGE,
            f"{request.parameters} does not set the parameter environment",
            "set it to dev, staging or prod",
        )
    if environment == "prod" and request.allow_warnings:
        raise Halt(
            USAGE, "--allow-warnings is not allowed for prod", "correct the warnings of lint"
        )
    needed = {"signInClientId": "AOS_B2C_CLIENT_ID", "signInIssuer": "AOS_B2C_ISSUER"}
    missing = [f"{name} ({variable})" for name, variable in needed.items() if not values.get(name)]
    if values.get("enableB2C") and missing:
        raise Halt(
            USAGE,
            f"enableB2C needs {' and '.join(missing)}",
            "set the environment variables that the parameter file reads, or enableB2C = false",
        )
    blanks = find_missing_values(values) if environment == "prod" else []
    if blanks:
        raise Halt(
            USAGE,
            "production needs these values:\n" + "\n".join(blanks),
            "set the environment variables, or write the values into the parameter file",
        )
    return environment


def ask_or_halt(context: RunContext, *command: str) -> Answer:
    """Run a command that must succeed. Raises Halt (USAGE, ENVIRONMENT)."""
    try:
        return ask_with_retries(context, lambda: context.az.run(*command))
    except Halt as halt:
        code = USAGE if halt.code == REFUSED else halt.code
        raise Halt(code, halt.reason, halt.advice) from halt


def _read_account(context: RunContext) -> dict[str, Any]:
    account: dict[str, Any] = ask_or_halt(context, "account", "show", "-o", "json").parse_json()
    who = account.get("user", {}).get("name")
    context.console.write_item(
        f"subscription: {account.get('name')} ({account.get('id')}) as {who}"
    )
    context.journal.set(
        who=who,
        subscription={
            "id": account["id"], "name": account.get("name"), "tenant": account.get("tenantId")
        },
    )  # fmt: skip
    return account


def _check_location(context: RunContext, request: Request, values: Mapping[str, Any]) -> None:
    wanted = normalize_region(request.location)
    if normalize_region(values.get("location", wanted)) != wanted:
        raise Halt(
            USAGE,
            f"--location is {request.location}, but {request.parameters.name} deploys to "
            f"{values['location']}",
            "use the same region in both",
        )
    listed = ask_or_halt(context, "account", "list-locations", "--query", "[].name", "-o", "json")
    if wanted not in listed.parse_json():
        raise Halt(
            USAGE, f"the subscription has no region {request.location}",
            "az account list-locations --output table",
        )  # fmt: skip
    tier = read_region_tiers(request.template).get(wanted)
    context.console.write_item(f"region: {wanted} (tier {tier or 2})")
    if tier is None:
        context.console.warn(
            "the region is not in REGIONAL_REQUIREMENTS.md, so optional parts are not deployed"
        )


def read_region_tiers(template: Path) -> dict[str, int]:
    """Read the regions of the template and their tiers."""
    table = template.parent / "modules" / "regions.bicep"
    text = table.read_text(encoding="utf-8") if table.is_file() else ""
    return {name: int(tier) for name, tier in _REGION.findall(text)}


def _ensure_group(context: RunContext, request: Request, environment: str) -> None:
    name = request.resource_group
    # `group show` fails both for a missing group and for missing rights; `group exists` does not.
    if ask_or_halt(context, "group", "exists", "--name", name).out.strip() == "true":
        return
    tags = (
        f"environment={environment}",
        "project=aos",
        f"owner={context.journal.record.get('who')}",
    )
    command = ("group", "create", "--name", name, "--location", request.location, "--tags", *tags)
    if not request.create_resource_group or request.dry_run:
        raise Halt(
            USAGE,
            f"the resource group {name} does not exist",
            f"az {' '.join(command)}   (or pass --create-resource-group, without --dry-run)",
        )
    ask_or_halt(context, *command, "-o", "json")
    context.console.write_item(f"resource group: {name} created")
    context.journal.set(created_resource_group=True)


def _check_rights(context: RunContext, request: Request, account: dict[str, Any]) -> None:
    """Raise Halt that names the missing roles. Only warn when the roles cannot be read."""
    if request.skip_rights:
        context.console.warn("your roles are not checked (--skip-rights)")
        return
    scope = f"/subscriptions/{account['id']}/resourceGroups/{request.resource_group}"
    who = str(account.get("user", {}).get("name", ""))
    answer = context.az.run(
        *("role", "assignment", "list", "--assignee", who, "--scope", scope),
        *("--include-inherited", "--include-groups", "-o", "json"),
    )
    if not answer.succeeded:
        context.console.warn(f"your roles could not be read: {classify_answer(answer).reason}")
        return
    roles = {str(it.get("roleDefinitionName")) for it in answer.parse_json()}
    missing = _find_missing_roles(roles)
    if missing:
        raise Halt(
            USAGE,
            f"{who} lacks {' and '.join(missing)} on {scope}",
            "have them assigned; if custom roles allow the same, pass --skip-rights",
        )
    context.console.write_item(f"rights: {', '.join(sorted(roles))}")


def _find_missing_roles(roles: set[str]) -> list[str]:
    if _OWNER in roles:
        return []
    missing = [] if _CONTRIBUTOR in roles else [_CONTRIBUTOR]
    return missing if roles & set(_ASSIGNING) else [*missing, _ASSIGNING[0]]


def _make_deployment_name(context: RunContext, environment: str, commit: Commit) -> str:
    moment = re.sub(r"[^0-9TZ]", "", context.clock.now()).lower()
    name = f"aos-{environment}-{moment}-{commit.sha[:7].lower()}"
    context.journal.set(deployment_name=name)
    return name
