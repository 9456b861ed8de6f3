"""Checks that each app has the roles that it needs, and no others. Entry point: `check_roles`.

The roles are those of modules/roles/grants.bicep; a test compares the table with the templates. The
table has short words for resources, such as `data`. Their names come from the deployment's outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.orchestrator.azure_cli import Az
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.resource_checks import Check

_EVERY = frozenset(
    {
        ("Storage Blob Data Owner", "host"),
        ("Storage Queue Data Contributor", "host"),
        ("Storage Table Data Contributor", "host"),
        ("Monitoring Metrics Publisher", "insights"),
        ("Key Vault Secrets User", "vault"),
    }
)
_BLOB = "Storage Blob Data Contributor"
_TABLE = "Storage Table Data Contributor"
_TABLES = "Storage Table Data"
_OWNER = "Azure Service Bus Data Owner"
_SENDER = "Azure Service Bus Data Sender"
_RECEIVER = "Azure Service Bus Data Receiver"
EXPECTED: dict[str, frozenset[tuple[str, str]]] = {
    "main": _EVERY
    | {
        (_BLOB, "data"),
        ("Storage Queue Data Contributor", "data"),
        (_TABLE, "data"),
        (_OWNER, "aos-requests"),
        (_OWNER, "aos-main"),
        (_OWNER, "agent-events/wake"),
        (_SENDER, "aos-realm"),
        (_RECEIVER, "aos-realm"),
        (_SENDER, "aos-mcp"),
        (_RECEIVER, "aos-mcp"),
        (_RECEIVER, "system-events/mcp"),
        (_SENDER, "agent-events"),
        (_SENDER, "system-events"),
    },
    "realm": _EVERY
    | {
        (_BLOB, "data/aos-data"),
        (_BLOB, "data/aos-logs"),
        (_TABLE, "data/aosruns"),
        (_TABLE, "data/aosconversations"),
        (_TABLE, "data/aostoolcalls"),
        (_TABLE, "data/aosfailures"),
        ("Storage Table Data Reader", "data/aostools"),
        (_TABLE, "data/aosusage"),
        (_OWNER, "aos-realm"),
        (_SENDER, "aos-main"),
        (_SENDER, "aos-mcp"),
        (_SENDER, "agent-events"),
    },
    "mcp": _EVERY
    | {
        (_BLOB, "data/aos-data"),
        (_TABLE, "data/aostoolcalls"),
        (_TABLE, "data/aostools"),
        (_OWNER, "aos-mcp"),
        (_OWNER, "system-events/mcp"),
        (_SENDER, "aos-realm"),
    },
}
# Whether an app has these depends on the parameters: reply queues and the model account.
_OPTIONAL = frozenset({"Cognitive Services OpenAI User", "Cognitive Services User"})


def check_roles(az: Az, group: str, outputs: Mapping[str, Any]) -> list[Check]:
    """Compare the roles of every app with the table. Return one check for each app."""
    identities: Mapping[str, Any] = outputs.get("identityNames") or {}
    return [_check_app(az, group, app, str(name), outputs) for app, name in identities.items()]


def _check_app(az: Az, group: str, app: str, identity: str, outputs: Mapping[str, Any]) -> Check:
    shown = az.run("identity", "show", "--resource-group", group, "--name", identity, "-o", "json")
    if not shown.succeeded:
        return _report_unreadable(identity, classify_answer(shown).reason)
    principal = str(shown.parse_json()["principalId"])
    listed = az.run("role", "assignment", "list", "--assignee", principal, "--all", "-o", "json")
    if not listed.succeeded:
        return _report_unreadable(identity, classify_answer(listed).reason)
    words = _read_short_names(app, outputs)
    found = {
        (str(it["roleDefinitionName"]), _shorten_scope(str(it["scope"]), words))
        for it in listed.parse_json()
    }
    expected = _list_expected(app, outputs)
    missing = sorted(expected - found)
    surplus = sorted(it for it in found - expected if not _is_optional(app, *it))
    problems = [f"lacks {role} on {place}" for role, place in missing]
    problems += [f"also has {role} on {place}" for role, place in surplus]
    if problems:
        return Check(kind="roles of", name=identity, state="unhealthy", detail="; ".join(problems))
    detail = f"{len(found)} roles"
    return Check(kind="roles of", name=identity, state="healthy", detail=detail)


def _list_expected(app: str, outputs: Mapping[str, Any]) -> set[tuple[str, str]]:
    absent = set() if outputs.get("appInsightsName") else {"insights"}
    wanted = {it for it in EXPECTED.get(app, frozenset()) if it[1] not in absent}
    if not outputs.get("tableEndpoint"):
        return wanted
    # With Cosmos DB the storage account has no tables, and Cosmos DB has roles of its own.
    return {it for it in wanted if not (it[1].startswith("data") and it[0].startswith(_TABLES))}


def _is_optional(app: str, role: str, place: str) -> bool:
    return role in _OPTIONAL or (app == "main" and role == _SENDER and "/" not in place)


def _read_short_names(app: str, outputs: Mapping[str, Any]) -> dict[str, str]:
    """Map each resource name to its word in the table."""
    vault = "mcpKeyVaultName" if app == "mcp" else "keyVaultName"
    named = {
        (outputs.get("hostStorageNames") or {}).get(app): "host",
        outputs.get("storageAccountName"): "data",
        outputs.get(vault): "vault",
        outputs.get("appInsightsName"): "insights",
    }
    return {str(name): word for name, word in named.items() if name}


def _shorten_scope(scope: str, words: Mapping[str, str]) -> str:
    """Shorten a scope to the words of the table: data/aos-data, agent-events/wake, aos-main."""
    _, within, resource = scope.rpartition("/providers/")
    if not within:
        return scope
    parts = resource.split("/")
    names = parts[2::2]
    if parts[0] == "Microsoft.ServiceBus" and len(names) > 1:
        return "/".join(names[1:])
    rest = [name for name in names[1:] if name != "default"]
    return "/".join([words.get(names[0], names[0]), *rest])


def _report_unreadable(identity: str, reason: str) -> Check:
    return Check(kind="roles of", name=identity, state="unhealthy", detail=reason)
