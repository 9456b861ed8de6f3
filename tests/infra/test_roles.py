"""Each app has the roles that it needs, and no others."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from aos.bootstrap.azure_world import HEALTH_TABLE, SENDS_TO
from aos.domain.envelope import REALM_QUEUE
from tests.infra.bicep_cli import ENVIRONMENTS, INFRA
from tests.infra.inventory import APPS, Inventory
from tests.infra.variants import AUTHORS, GROUP

BLOB = "Storage Blob Data Contributor"
TABLE = "Storage Table Data Contributor"
OWNER = "Azure Service Bus Data Owner"
SENDER = "Azure Service Bus Data Sender"
RECEIVER = "Azure Service Bus Data Receiver"
SENT_TO = {
    entity["Name"]
    for namespace in json.loads((INFRA / "servicebus.json").read_text())["UserConfig"]["Namespaces"]
    for entity in (*namespace["Queues"], *namespace["Topics"])
}
APP_FOLDERS = {"main": "", "mcp": "mcp_app", "realm": "realm_app"}


def _expected(app: str, label: str) -> set[tuple[str, str]]:
    """An app's roles in an environment; names without their unique ends."""
    tight = label.replace("-", "")
    host, data = f"staos{app}{tight}", f"staosdata{tight}"
    every_app = {
        ("Storage Blob Data Owner", host),
        ("Storage Queue Data Contributor", host),
        (TABLE, host),
        ("Monitoring Metrics Publisher", f"appi-aos-{label}"),
    }
    own: dict[str, set[tuple[str, str]]] = {
        "main": {
            ("Key Vault Secrets User", f"kv-aos-{label}"),
            (BLOB, data),
            ("Storage Queue Data Contributor", data),
            (TABLE, data),
            (OWNER, "aos-requests"),
            (OWNER, "aos-main"),
            (OWNER, "agent-events/wake"),
            (SENDER, "aos-realm"),
            (RECEIVER, "aos-realm"),
            (SENDER, "aos-mcp"),
            (RECEIVER, "aos-mcp"),
            (RECEIVER, "system-events/mcp"),
            (SENDER, "businessinfinity-responses"),
            (RECEIVER, "businessinfinity-responses"),
            (SENDER, "agent-events"),
            (SENDER, "system-events"),
        },
        "realm": {
            ("Key Vault Secrets User", f"kv-aos-{label}"),
            ("Cognitive Services OpenAI User", "oai-contoso"),
            (BLOB, f"{data}/aos-data"),
            (BLOB, f"{data}/aos-logs"),
            (TABLE, f"{data}/aosruns"),
            (TABLE, f"{data}/aosconversations"),
            (TABLE, f"{data}/aostoolcalls"),
            (TABLE, f"{data}/aosfailures"),
            ("Storage Table Data Reader", f"{data}/aostools"),
            (TABLE, f"{data}/aosusage"),
            (OWNER, "aos-realm"),
            (SENDER, "aos-main"),
            (SENDER, "aos-mcp"),
            (SENDER, "agent-events"),
        },
        "mcp": {
            ("Key Vault Secrets User", f"kv-aosmcp-{label}"),
            (BLOB, f"{data}/aos-data"),
            (TABLE, f"{data}/aostoolcalls"),
            (TABLE, f"{data}/aostools"),
            (OWNER, "aos-mcp"),
            (OWNER, "system-events/mcp"),
            (SENDER, "aos-realm"),
        },
    }
    return every_app | own[app]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_an_app_has_its_roles_and_no_others(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    assert environments[environment].roles_of(app) == _expected(app, environment)


@pytest.mark.parametrize("app", APPS)
def test_an_app_may_do_what_its_code_does_from_its_start_on(
    environments: dict[str, Inventory], app: str
) -> None:
    """Wake by its triggers, open its senders, and look at what its health looks at."""
    roles = environments["prod"].roles_of(app)
    woken_by = _woken_by(INFRA.parent / APP_FOLDERS[app] / "function_app.py")
    assert {entity for entity in woken_by if (OWNER, entity) not in roles} == set()
    assert len(woken_by) == {"main": 3, "mcp": 2, "realm": 1}[app]
    sends_to = {*SENDS_TO[app], REALM_QUEUE}  # health opens a sender to realm's queue
    assert {it for it in sends_to if not {(SENDER, it), (OWNER, it)} & roles} == set()
    places = {"staosdataprod", f"staosdataprod/{HEALTH_TABLE[app]}"}
    assert {(TABLE, place) for place in places} & roles
    assert {(BLOB, "staosdataprod"), (BLOB, "staosdataprod/aos-data")} & roles


def test_main_may_serve_and_fill_the_queue_of_jobs_and_write_transcripts(
    environments: dict[str, Inventory],
) -> None:
    """The host also makes the queue of poison messages, so the right is on the account."""
    roles = environments["prod"].roles_of("main")
    assert ("Storage Queue Data Contributor", "staosdataprod") in roles
    assert (BLOB, "staosdataprod") in roles
    for app in ("realm", "mcp"):
        assert ("Storage Queue Data Contributor", "staosdataprod") not in (
            environments["prod"].roles_of(app)
        )


def _woken_by(path: Path) -> set[str]:
    """The entities whose messages wake the functions of an app."""
    triggers = [
        {
            str(given.arg): str(given.value.value)
            for given in node.keywords
            if isinstance(given.value, ast.Constant)
        }
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("service_bus_")
    ]
    return {
        it.get("queue_name") or f"{it['topic_name']}/{it['subscription_name']}" for it in triggers
    }


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_nobody_has_a_role_on_the_namespace_or_the_group(
    environments: dict[str, Inventory], environment: str
) -> None:
    here = environments[environment]
    for item in here.resources:
        if item["type"] == "Microsoft.Authorization/roleAssignments":
            scope = re.match(r"\[extensionResourceId\('([^']*)'", item["id"])
            target = scope[1] if scope else item["id"].partition("/providers/Microsoft.Auth")[0]
            assert "/providers/" in target, item["id"]
            assert not target.endswith(f"/namespaces/{here.outputs['serviceBusName']}")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_assignment_says_what_it_is_given_to(
    environments: dict[str, Inventory], environment: str
) -> None:
    """Without the type a new identity that is not known everywhere yet is refused."""
    ids = dict(
        re.findall(r"'([^']+)': '([0-9a-f-]{36})'", (INFRA / "modules/roles/ids.bicep").read_text())
    )
    for item in environments[environment].resources:
        if item["type"] == "Microsoft.Authorization/roleAssignments":
            properties = item["properties"]
            assert properties["principalType"] == "ServicePrincipal"
            role = properties["description"].partition(" on ")[0]
            assert properties["roleDefinitionId"].endswith(f"/{ids[role]}")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_host_has_a_storage_account_of_its_own(
    environments: dict[str, Inventory], environment: str
) -> None:
    """The owner of a host's account can read its keys: mcp must not read those of main."""
    owners = [
        (role.who, role.on)
        for role in environments[environment].roles()
        if role.role == "Storage Blob Data Owner"
    ]
    names = environments[environment].outputs["hostStorageNames"]
    assert sorted(owners) == sorted(names.items())


def test_mcp_lists_and_deletes_no_blobs_and_writes_payloads_only(
    environments: dict[str, Inventory],
) -> None:
    (condition,) = {
        item["properties"]["condition"]
        for item in environments["prod"].resources
        if item["type"] == "Microsoft.Authorization/roleAssignments"
        and "condition" in item["properties"]
    }
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    parts = condition.split(" AND (")
    assert f"(!(ActionMatches{{'{blobs}/read'}} AND SubOperationMatches{{'Blob.List'}}))" in parts
    assert "StringLike 'catalog/*'" in condition
    (writing,) = [part for part in parts if "/write'" in part]
    assert "payloads/*" in condition[condition.index(writing) :]
    assert "catalog" not in condition[condition.index(writing) :]
    assert f"(!(ActionMatches{{'{blobs}/delete'}})" in condition
    assert condition.count("(") == condition.count(")")


def test_operators_and_authors_get_what_uploading_needs(variants: dict[str, Inventory]) -> None:
    everything = variants["everything"]
    account = everything.outputs["storageAccountName"]
    given = {(role.who, role.role, role.on) for role in everything.roles()}
    assert {item[1:] for item in given if item[0] == GROUP} == {
        (BLOB, f"{account}/aos-config"),
        ("Key Vault Secrets Officer", everything.outputs["keyVaultName"]),
        ("Key Vault Secrets Officer", everything.outputs["mcpKeyVaultName"]),
    }
    assert {item[1:] for item in given if item[0] == AUTHORS} == {(BLOB, f"{account}/aos-config")}
    (condition,) = [
        item["properties"]["condition"]
        for item in everything.resources
        if item["type"] == "Microsoft.Authorization/roleAssignments"
        and item["properties"]["principalId"] == AUTHORS
    ]
    assert "StringLike 'agents/*'" in condition
    assert "mcp-servers" not in condition


def test_the_roles_name_entities_that_exist(environments: dict[str, Inventory]) -> None:
    listed = json.loads((INFRA / "servicebus.json").read_text())["UserConfig"]["Namespaces"][0]
    entities = {queue["Name"] for queue in listed["Queues"]}
    for topic in listed["Topics"]:
        entities.add(topic["Name"])
        entities |= {f"{topic['Name']}/{item['Name']}" for item in topic["Subscriptions"]}
    used = {
        role.on for role in environments["prod"].roles() if role.role.startswith("Azure Service")
    }
    assert {name.removesuffix(", for Event Grid") for name in used} == entities


def test_the_security_page_says_who_may_send_to_each_entity(
    environments: dict[str, Inventory],
) -> None:
    page = (INFRA.parent / "docs/SECURITY.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|[^|]*\|$", page, re.MULTILINE)
    told = {entity: {app for app in APPS if re.search(rf"\b{app}\b", who)} for entity, who in rows}
    may: dict[str, set[str]] = {entity: set() for entity in told}
    for app in APPS:
        for role, entity in environments["prod"].roles_of(app):
            if role in (SENDER, OWNER) and "/" not in entity and entity in SENT_TO:
                may.setdefault(entity, set()).add(app)
    assert told == may
    assert may.keys() == SENT_TO
