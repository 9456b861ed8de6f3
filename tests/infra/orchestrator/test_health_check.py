"""health_check.py finds and names what is not healthy."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from infra.orchestrator import health_cli, role_checks
from infra.orchestrator.console import Console
from tests.infra.bicep_cli import committed
from tests.infra.inventory import Inventory
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.conftest import INFRA
from tests.infra.orchestrator.site import Site
from tests.infra.orchestrator.world import APPS, World

NAMES = {
    "serviceBusName": "sb-aos-dev-abc123",
    "keyVaultName": "kv-aos-dev-abc123",
    "mcpKeyVaultName": "kv-aosmcp-dev-abc123",
    "appInsightsName": "appi-aos-dev",
    "hostStorageNames": {app: f"staos{app}devabc123" for app in APPS},
    "identityNames": {app: f"id-aos-dev-{app}" for app in APPS},
}
QUEUES = ["aos-requests", "aos-main", "aos-realm", "aos-mcp", "businessinfinity-responses"]


@pytest.fixture
def standing(world: World, site: Site) -> World:
    """An environment that was deployed and whose apps run."""
    outputs = world.outputs(site.urls(), **NAMES)
    world.az.answers(
        "deployment group list", [az_output.deployed({"id": "x"}), az_output.deployed(outputs)]
    )
    world.az.answers("functionapp function list", [{"name": "health"}])
    good = {"provisioningState": "Succeeded"}
    for command in ("servicebus namespace show", "storage account show"):
        world.az.answers(command, good)
    world.az.answers("servicebus queue list", [{"name": it, "status": "Active"} for it in QUEUES])
    topics = ("agent-events", "system-events")
    world.az.answers("servicebus topic list", [{"name": it, "status": "Active"} for it in topics])
    containers = ("aos-config", "aos-data", "aos-logs")
    world.az.answers("storage container-rm list", [{"name": it} for it in containers])
    return world


def _check(world: World, *flags: str) -> int:
    stream = io.StringIO()
    code = health_cli.main(
        ["--environment", "dev", *flags], console=Console(stream), clock=world.clock
    )
    world.said = stream.getvalue()
    return code


def test_recorded_az_all_is_healthy(standing: World) -> None:
    assert _check(standing) == 0
    assert standing.said.splitlines()[-1] == "rg-aos-dev: healthy, 15 checks"
    assert "healthy   queue aos-requests" in standing.said
    assert "healthy   container aos-config" in standing.said


def test_recorded_az_health_as_json(standing: World) -> None:
    assert _check(standing, "--json") == 0
    document = json.loads(standing.said)
    assert (document["environment"], document["healthy"]) == ("dev", True)
    assert {"kind": "app", "name": "aos-dev-func", "state": "healthy", "detail": ""} in document[
        "checks"
    ]


@pytest.mark.parametrize(
    ("command", "answer", "shown"),
    [
        (
            "resource list",
            [{"type": "t", "name": "x", "provisioningState": "Failed"}],
            "unhealthy t x: Failed",
        ),
        ("servicebus namespace show", {"provisioningState": "Failed"}, "Service Bus sb-aos-dev"),
        ("servicebus queue list", [{"name": "aos-main"}], "queue aos-requests: is missing"),
        (
            "servicebus queue list",
            [{"name": it, "status": "Disabled"} for it in QUEUES],
            "queue aos-mcp: Disabled",
        ),
        ("servicebus topic list", [], "topic agent-events: is missing"),
        ("storage account show", {"provisioningState": "ResolvingDNS"}, "ResolvingDNS"),
        ("storage container-rm list", [{"name": "aos-data"}], "container aos-logs: is missing"),
    ],
)
def test_recorded_az_what_is_not_healthy_is_named(
    standing: World, command: str, answer: Any, shown: str
) -> None:
    standing.az.answers(command, answer)
    assert _check(standing) == 1
    assert shown in standing.said
    assert "NOT healthy" in standing.said


@pytest.mark.parametrize(
    "command",
    [
        "servicebus namespace show",
        "servicebus queue list",
        "storage account show",
        "storage container-rm list",
    ],
)
def test_recorded_az_what_cannot_be_asked_is_not_healthy(standing: World, command: str) -> None:
    standing.az.answers(command, err=az_output.service_error("ResourceNotFound"), code=3)
    assert _check(standing) == 1
    assert "ResourceNotFound" in standing.said


def test_recorded_az_app_that_is_down_is_waited_for_and_named(standing: World, site: Site) -> None:
    site.answers("realm", (503, {"status": "unhealthy"}))
    assert _check(standing, "--timeout", "25") == 1
    assert standing.clock.waits == [10.0] * 3
    assert (
        'app aos-dev-realm-func: /api/health answers 503 {"status": "unhealthy"}' in standing.said
    )


def test_recorded_az_apps_without_code_fail_only_when_required(standing: World) -> None:
    standing.az.answers("functionapp function list", [])
    assert _check(standing) == 0
    assert _check(standing, "--require-apps") == 1


@pytest.mark.parametrize(
    ("answer", "code", "shown"),
    [
        ({"out": []}, 2, "AOS was not deployed to the resource group rg-aos-dev"),
        (
            {"err": az_output.service_error("ResourceGroupNotFound"), "code": 3},
            2,
            "ResourceGroupNotFound",
        ),
        ({"err": az_output.NOT_LOGGED_IN, "code": 1}, 2, "az login"),
        ({"err": az_output.NO_NETWORK, "code": 1}, 5, "no connection"),
        ({"out": "no JSON"}, 2, "did not print JSON"),
    ],
)
def test_recorded_az_where_nothing_can_be_known(
    world: World, answer: dict[str, Any], code: int, shown: str
) -> None:
    world.az.answers("deployment group list", **answer)
    assert _check(world) == code
    assert shown in world.said
    assert _check(world, "--json") == code
    assert json.loads(world.said)["healthy"] is None


def test_recorded_az_group_can_be_named(standing: World) -> None:
    assert _check(standing, "--resource-group", "rg-aos-prod-westus") == 0
    asked = standing.az.calls("deployment group list")[0]
    assert asked[asked.index("--resource-group") + 1] == "rg-aos-prod-westus"


@pytest.mark.parametrize("argv", [[], ["--environment", "test"], ["--env", "dev"]])
def test_wrong_arguments_end_with_2(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(INFRA / "health_check.py"), *argv],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2


def _scope(place: str, app: str) -> str:
    """The scope on Azure of a place in the table's words."""
    word, _, inner = place.partition("/")
    vault = NAMES["mcpKeyVaultName" if app == "mcp" else "keyVaultName"]
    kinds = {
        "host": ("Microsoft.Storage/storageAccounts", f"staos{app}devabc123"),
        "vault": ("Microsoft.KeyVault/vaults", vault),
        "insights": ("Microsoft.Insights/components", "appi-aos-dev"),
    }
    if word in kinds:
        return az_output.resource(*kinds[word])
    if word == "data":
        account = az_output.resource("Microsoft.Storage/storageAccounts", "staosdatadevabc123")
        kind = "blobServices/default/containers" if "-" in inner else "tableServices/default/tables"
        return f"{account}/{kind}/{inner}" if inner else account
    bus = az_output.resource("Microsoft.ServiceBus/namespaces", "sb-aos-dev-abc123")
    if inner:
        return f"{bus}/topics/{word}/subscriptions/{inner}"
    return f"{bus}/{'topics' if word.endswith('-events') else 'queues'}/{word}"


def _grant(world: World, **changed: set[tuple[str, str]]) -> None:
    listed = []
    for app in APPS:
        world.az.answers(f"identity show@id-aos-dev-{app}", {"principalId": f"principal-{app}"})
        roles = changed.get(app, role_checks.EXPECTED[app])
        listed.append([{"roleDefinitionName": r, "scope": _scope(p, app)} for r, p in roles])
    world.az.answers("identity show", {"principalId": "?"})
    world.az.answers("role assignment list", listed[0])
    for roles in listed[1:]:
        world.az.then("role assignment list", roles)


def test_recorded_az_roles_are_as_the_template_gives_them(standing: World) -> None:
    _grant(standing)
    assert _check(standing, "--rbac") == 0, standing.said
    assert "healthy   roles of id-aos-dev-mcp: 11 roles" in standing.said


def test_recorded_az_with_cosmos_no_role_on_tables_of_the_account_is_missed(
    standing: World, site: Site
) -> None:
    endpoint = "https://cosmos-aos-dev-abc123.table.cosmos.azure.com:443/"
    outputs = standing.outputs(site.urls(), **NAMES, tableEndpoint=endpoint)
    standing.az.answers("deployment group list", [az_output.deployed(outputs)])
    without = {
        app: {it for it in roles if not (it[1].startswith("data") and "Table" in it[0])}
        for app, roles in role_checks.EXPECTED.items()
    }
    _grant(standing, **without)
    assert _check(standing, "--rbac") == 0, standing.said
    _grant(standing)
    assert _check(standing, "--rbac") == 1
    assert "also has Storage Table Data Contributor on data/aostools" in standing.said


def test_recorded_az_missing_and_surplus_roles_are_named(standing: World) -> None:
    mcp = set(role_checks.EXPECTED["mcp"]) - {("Key Vault Secrets User", "vault")}
    _grant(standing, mcp=mcp | {("Storage Blob Data Owner", "data")})
    assert _check(standing, "--rbac") == 1
    assert "lacks Key Vault Secrets User on vault" in standing.said
    assert "also has Storage Blob Data Owner on data" in standing.said


def test_recorded_az_role_on_a_whole_group_is_surplus(standing: World) -> None:
    _grant(standing)
    standing.az.answers(
        "role assignment list", [{"roleDefinitionName": "Owner", "scope": az_output.GROUP_ID}]
    )
    assert _check(standing, "--rbac") == 1
    assert f"also has Owner on {az_output.GROUP_ID}" in standing.said


@pytest.mark.parametrize("app", APPS)
def test_expected_roles_are_those_of_the_templates(app: str) -> None:
    found = {(role, _word(place, app)) for role, place in Inventory(committed("dev")).roles_of(app)}
    optional = {"Azure Service Bus Data Sender", "Cognitive Services OpenAI User"}
    extra = found - role_checks.EXPECTED[app]
    assert role_checks.EXPECTED[app] <= found
    assert {place for role, place in extra if role in optional} == {place for _, place in extra}
    assert {place for _, place in extra} <= {"businessinfinity-responses", "oai-contoso"}


def _word(place: str, app: str) -> str:
    vault = "kv-aosmcp-dev" if app == "mcp" else "kv-aos-dev"
    words = {f"staos{app}dev": "host", "staosdatadev": "data", vault: "vault"}
    words["appi-aos-dev"] = "insights"
    first, slash, rest = place.partition("/")
    return words.get(first, first) + slash + rest
