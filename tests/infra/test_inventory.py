"""Each environment has the resources of the deployment plan."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from devhost.provision import CONTAINERS, QUEUES, TABLES
from tests.infra.bicep_cli import ENVIRONMENTS, INFRA
from tests.infra.inventory import Inventory

TAGS = {"project": "aos", "managedBy": "bicep", "costCenter": "1234", "owner": "platform-team"}
# Types that Azure lets carry tags, as far as the templates use them.
TAGGABLE = {
    "Microsoft.Cdn/profiles",
    "Microsoft.Cdn/profiles/afdEndpoints",
    "Microsoft.ContainerRegistry/registries",
    "Microsoft.DataProtection/backupVaults",
    "Microsoft.DocumentDB/databaseAccounts",
    "Microsoft.EventGrid/systemTopics",
    "Microsoft.Insights/actionGroups",
    "Microsoft.Insights/activityLogAlerts",
    "Microsoft.Insights/components",
    "Microsoft.Insights/metricAlerts",
    "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.Insights/webtests",
    "Microsoft.Insights/workbooks",
    "Microsoft.KeyVault/vaults",
    "Microsoft.MachineLearningServices/workspaces",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.Network/networkSecurityGroups",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "Microsoft.Network/privateEndpoints",
    "Microsoft.Network/virtualNetworks",
    "Microsoft.OperationalInsights/workspaces",
    "Microsoft.ServiceBus/namespaces",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.Web/serverfarms",
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/slots",
}
SIZES: dict[str, dict[str, Any]] = {
    "dev": {"functionApps": "Y1", "serviceBus": "Standard", "storage": "Standard_LRS"},
    "staging": {"functionApps": "EP1", "serviceBus": "Standard", "storage": "Standard_GRS"},
    "prod": {"functionApps": "EP1", "serviceBus": "Premium", "storage": "Standard_GRS"},
    "prod-dr": {"functionApps": "EP1", "serviceBus": "Premium", "storage": "Standard_GRS"},
}
VAULT_DAYS = {"dev": 7, "staging": 90, "prod": 90, "prod-dr": 90}
LOCATIONS = {"dev": "eastus", "staging": "eastus", "prod": "eastus2", "prod-dr": "westus2"}

pytestmark = pytest.mark.parametrize("environment", ENVIRONMENTS)


@pytest.fixture
def here(environments: dict[str, Inventory], environment: str) -> Inventory:
    return environments[environment]


def test_the_sizes_are_those_of_the_plan(here: Inventory, environment: str) -> None:
    sizes = SIZES[environment]
    assert here.outputs["skus"] == sizes
    plan = here.one("Microsoft.Web/serverfarms")
    assert plan["sku"]["name"] == sizes["functionApps"]
    assert plan["properties"]["reserved"] is True
    assert here.one("Microsoft.ServiceBus/namespaces")["sku"]["tier"] == sizes["serviceBus"]
    assert _data_storage(here)["sku"]["name"] == sizes["storage"]


def test_nothing_was_left_out_or_made_smaller(here: Inventory, environment: str) -> None:
    assert set(here.outputs["deploymentWarnings"].values()) == {False}
    assert here.diagnostics == []


def test_there_are_three_function_apps_with_two_identities_each(
    here: Inventory, environment: str
) -> None:
    sites = here.of("Microsoft.Web/sites")
    assert set(sites) == set(here.outputs["functionAppNames"].values())
    for app, name in here.outputs["functionAppNames"].items():
        site = sites[name]
        assert site["kind"] == "functionapp,linux"
        assert site["tags"]["azd-service-name"] == app
        identity = site["identity"]
        assert identity["type"] == "SystemAssigned, UserAssigned"
        (assigned,) = identity["userAssignedIdentities"]
        assert assigned.endswith(f"/{here.outputs['identityNames'][app]}")
        assert site["properties"]["keyVaultReferenceIdentity"] == assigned
    assert set(here.of("Microsoft.ManagedIdentity/userAssignedIdentities")) == set(
        here.outputs["identityNames"].values()
    )


def test_bus_entities_are_those_of_the_one_list(here: Inventory, environment: str) -> None:
    listed = json.loads((INFRA / "servicebus.json").read_text())["UserConfig"]["Namespaces"][0]
    bus = here.outputs["serviceBusName"]
    kind = "Microsoft.ServiceBus/namespaces"
    queues = here.of(f"{kind}/queues")
    assert set(queues) == {f"{bus}/{queue['Name']}" for queue in listed["Queues"]}
    for queue in listed["Queues"]:
        assert _emulated(queues[f"{bus}/{queue['Name']}"]) == _told(queue["Properties"])
    topics = here.of(f"{kind}/topics")
    assert set(topics) == {f"{bus}/{topic['Name']}" for topic in listed["Topics"]}
    subscriptions = here.of(f"{kind}/topics/subscriptions")
    rules = here.of(f"{kind}/topics/subscriptions/rules")
    seen_subscriptions, seen_rules = set(), set()
    for topic in listed["Topics"]:
        assert _emulated(topics[f"{bus}/{topic['Name']}"]) == _told(topic["Properties"])
        for subscription in topic["Subscriptions"]:
            name = f"{bus}/{topic['Name']}/{subscription['Name']}"
            seen_subscriptions.add(name)
            assert _emulated(subscriptions[name]) == _told(subscription["Properties"])
            for rule in subscription["Rules"]:
                seen_rules.add(f"{name}/{rule['Name']}")
                assert rules[f"{name}/{rule['Name']}"]["properties"]["sqlFilter"] == {
                    "sqlExpression": rule["Properties"]["SqlFilter"]["SqlExpression"]
                }
    assert set(subscriptions) == seen_subscriptions
    assert set(rules) == seen_rules
    assert all(name.endswith("/$Default") for name in rules)


def test_containers_tables_and_queues_are_those_of_the_laptop(
    here: Inventory, environment: str
) -> None:
    account = here.outputs["storageAccountName"]
    kind = "Microsoft.Storage/storageAccounts"

    def parts(part: str) -> set[str]:
        names = here.of(f"{kind}/{part}")
        return {name.split("/")[-1] for name in names if name.startswith(f"{account}/")}

    assert parts("blobServices/containers") == set(CONTAINERS)
    assert parts("tableServices/tables") == set(TABLES)
    assert parts("queueServices/queues") == set(QUEUES)


def test_storage_takes_no_keys_and_keeps_what_was_deleted(
    here: Inventory, environment: str
) -> None:
    data = here.outputs["storageAccountName"]
    # Elastic Premium mounts its share by key; `func publish` knows Consumption by key.
    for name, account in here.of("Microsoft.Storage/storageAccounts").items():
        properties = account["properties"]
        assert properties["allowSharedKeyAccess"] is (name != data)
        assert properties["allowBlobPublicAccess"] is False
        assert properties["minimumTlsVersion"] == "TLS1_2"
        assert properties["supportsHttpsTrafficOnly"] is True
    blobs = here.of("Microsoft.Storage/storageAccounts/blobServices")[f"{data}/default"]
    kept = {"dev": 7, "staging": 14}.get(environment, 30)
    assert blobs["properties"] == {
        "isVersioningEnabled": True,
        "changeFeed": {"enabled": True},
        "deleteRetentionPolicy": {"enabled": True, "days": kept},
        "containerDeleteRetentionPolicy": {"enabled": True, "days": kept},
        "restorePolicy": {"enabled": True, "days": kept - 1},
    }


def test_production_is_copied_every_day(here: Inventory, environment: str) -> None:
    policies = here.of("Microsoft.DataProtection/backupVaults/backupPolicies")
    instances = here.of("Microsoft.DataProtection/backupVaults/backupInstances")
    if not environment.startswith("prod"):
        assert (policies, instances) == ({}, {})
        return
    (name,) = policies
    assert name == f"bv-aos-{environment}/DailyBackup"
    rule = policies[name]["properties"]["policyRules"][0]
    assert rule["trigger"]["schedule"]["repeatingTimeIntervals"][0].endswith("/P1D")
    (instance,) = instances.values()
    (backed_up,) = instance["properties"]["policyInfo"]["policyParameters"][
        "backupDatasourceParametersList"
    ]
    assert backed_up["containersList"] == list(CONTAINERS)


def test_there_are_two_vaults_by_role_with_the_retention_of_the_environment(
    here: Inventory, environment: str
) -> None:
    vaults = here.of("Microsoft.KeyVault/vaults")
    assert set(vaults) == {here.outputs["keyVaultName"], here.outputs["mcpKeyVaultName"]}
    for vault in vaults.values():
        properties = vault["properties"]
        assert properties["enableRbacAuthorization"] is True
        assert properties["enableSoftDelete"] is True
        assert properties["softDeleteRetentionInDays"] == VAULT_DAYS[environment]
        # false would be refused by the service.
        protected = {"enablePurgeProtection": True} if environment != "dev" else {}
        assert {key: properties[key] for key in properties if "Purge" in key} == protected


def test_monitoring_stands_on_a_workspace_that_keeps_30_days(
    here: Inventory, environment: str
) -> None:
    workspace = here.of("Microsoft.OperationalInsights/workspaces")[f"law-aos-{environment}"]
    assert workspace["properties"]["retentionInDays"] == 30
    cap = workspace["properties"]["workspaceCapping"]["dailyQuotaGb"]
    assert cap == {"dev": 1, "staging": 2}.get(environment, -1)
    insights = here.of("Microsoft.Insights/components")[f"appi-aos-{environment}"]
    assert insights["properties"]["WorkspaceResourceId"] == workspace["id"]
    assert insights["properties"]["DisableLocalAuth"] is True


def test_machine_learning_is_where_the_plan_wants_it(here: Inventory, environment: str) -> None:
    workspaces = here.of("Microsoft.MachineLearningServices/workspaces")
    registries = here.of("Microsoft.ContainerRegistry/registries")
    if environment in ("dev", "prod-dr"):
        assert (workspaces, registries) == ({}, {})
        return
    workspace = workspaces[f"mlw-aos-{environment}"]
    (name,) = registries
    assert re.fullmatch(rf"craos{environment}\w{{6}}", name)
    assert registries[name]["sku"] == {"name": "Standard"}
    assert workspace["properties"]["containerRegistry"] == registries[name]["id"]
    assert here.outputs["mlWorkspaceName"] == f"mlw-aos-{environment}"


def test_everything_speaks_tls_and_nothing_takes_a_password(
    here: Inventory, environment: str
) -> None:
    for site in here.of("Microsoft.Web/sites").values():
        assert site["properties"]["httpsOnly"] is True
        assert site["properties"]["siteConfig"]["minTlsVersion"] == "1.2"
        assert site["properties"]["siteConfig"]["scmMinTlsVersion"] == "1.2"
        assert site["properties"]["siteConfig"]["ftpsState"] == "Disabled"
    bus = here.one("Microsoft.ServiceBus/namespaces")["properties"]
    assert (bus["minimumTlsVersion"], bus["disableLocalAuth"]) == ("1.2", True)
    policies = here.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert len(policies) == 6
    of_slots = here.of("Microsoft.Web/sites/slots/basicPublishingCredentialsPolicies")
    assert set(of_slots) == {
        f"{slot}/{kind}" for slot in here.of("Microsoft.Web/sites/slots") for kind in ("ftp", "scm")
    }
    refused = [*policies.values(), *of_slots.values()]
    assert all(policy["properties"] == {"allow": False} for policy in refused)


def test_networks_are_as_closed_as_the_environment_asks(here: Inventory, environment: str) -> None:
    closed = environment.startswith("prod")
    for kind in ("Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"):
        for item in here.of(kind).values():
            access = "Disabled" if closed else "Enabled"
            assert item["properties"]["publicNetworkAccess"] == access
            assert item["properties"]["networkAcls"]["defaultAction"] == (
                "Deny" if closed else "Allow"
            )
    groups = [
        (endpoint["properties"]["privateLinkServiceConnections"][0]["properties"]["groupIds"][0])
        for endpoint in here.of("Microsoft.Network/privateEndpoints").values()
    ]
    expected = ["blob", "queue", "table"] * 4 + ["file"] * 3 + ["vault"] * 2 + ["namespace"]
    assert sorted(groups) == (sorted(expected) if closed else [])
    networked = environment != "dev"
    for site in here.of("Microsoft.Web/sites").values():
        assert ("virtualNetworkSubnetId" in site["properties"]) is networked
        scaled = site["properties"]["siteConfig"].get("functionsRuntimeScaleMonitoringEnabled")
        assert scaled is ({"dev": None, "staging": False}.get(environment, True))
    rules = here.of("Microsoft.ServiceBus/namespaces/networkRuleSets")
    assert [rule["properties"]["trustedServiceAccessEnabled"] for rule in rules.values()] == (
        [True] if closed else []
    )


def test_the_subnets_let_nothing_through_but_apps_to_their_services(
    here: Inventory, environment: str
) -> None:
    groups = here.of("Microsoft.Network/networkSecurityGroups")
    if environment == "dev":
        assert groups == {}
        return
    network = here.of("Microsoft.Network/virtualNetworks")[f"vnet-aos-{environment}"]
    apps, endpoints = network["properties"]["subnets"]
    assert (apps["name"], endpoints["name"]) == ("subnet-functions", "subnet-endpoints")
    assert apps["properties"]["delegations"][0]["properties"]["serviceName"] == (
        "Microsoft.Web/serverFarms"
    )
    flows = {
        name: [
            f"{rule['properties']['direction']} {rule['properties']['access']} {rule['name']}"
            for rule in group["properties"]["securityRules"]
        ]
        for name, group in groups.items()
    }
    assert flows == {
        f"vnet-aos-{environment}-functions-nsg": [
            "Outbound Allow to-private-endpoints",
            "Outbound Allow to-each-other",
            "Outbound Allow to-internet",
            "Outbound Deny to-the-rest-of-the-network",
            "Inbound Allow from-each-other",
            "Inbound Deny from-the-network",
        ],
        f"vnet-aos-{environment}-endpoints-nsg": [
            "Inbound Allow from-functions",
            "Inbound Deny from-anything-else",
        ],
    }
    denied = [
        rule["properties"]["priority"]
        for group in groups.values()
        for rule in group["properties"]["securityRules"]
        if rule["properties"]["access"] == "Deny"
    ]
    assert set(denied) == {4000}


def test_everything_that_takes_tags_has_those_of_the_plan(
    here: Inventory, environment: str
) -> None:
    wanted = {**TAGS, "environment": environment.removesuffix("-dr")}
    for resource in here.resources:
        if resource["type"] in TAGGABLE:
            assert resource.get("tags", {}).items() >= wanted.items(), resource["name"]


def test_everything_is_where_the_environment_is(here: Inventory, environment: str) -> None:
    places = {resource["location"] for resource in here.resources if "location" in resource}
    assert places <= {LOCATIONS[environment], "global"}


def test_event_grid_tells_main_of_cards_alone_and_by_identity(
    here: Inventory, environment: str
) -> None:
    topic = here.one("Microsoft.EventGrid/systemTopics")
    assert topic["properties"]["source"].endswith(f"/{here.outputs['storageAccountName']}")
    nudge = here.one("Microsoft.EventGrid/systemTopics/eventSubscriptions")["properties"]
    delivery = nudge["deliveryWithResourceIdentity"]
    assert delivery["identity"] == {"type": "SystemAssigned"}
    assert delivery["destination"]["properties"]["resourceId"].endswith("/queues/aos-main")
    folder = "/blobServices/default/containers/aos-config/blobs"
    assert nudge["filter"] == {
        "includedEventTypes": ["Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobDeleted"],
        "subjectBeginsWith": f"{folder}/",
        "advancedFilters": [
            {
                "operatorType": "StringBeginsWith",
                "key": "subject",
                "values": [f"{folder}/agents/", f"{folder}/mcp-servers/"],
            }
        ],
    }


def test_the_budget_is_that_of_the_environment(here: Inventory, environment: str) -> None:
    budget = here.one("Microsoft.Consumption/budgets")["properties"]
    assert budget["amount"] == {"dev": 100, "staging": 500}.get(environment, 2000)
    assert budget["timePeriod"] == {"startDate": "2026-12-01"}


def test_a_staging_slot_takes_nothing_from_production(here: Inventory, environment: str) -> None:
    slots = here.of("Microsoft.Web/sites/slots")
    assert here.outputs["stagingSlotName"] == ("" if environment == "dev" else "staging")
    if environment == "dev":
        assert slots == {}
        return
    for app, name in here.outputs["functionAppNames"].items():
        assert f"{name}/staging" in slots
        settings = here.of("Microsoft.Web/sites/slots/config")[f"{name}/staging/appsettings"]
        disabled = {key for key in settings["properties"] if key.endswith(".Disabled")}
        sticky = here.of("Microsoft.Web/sites/config")[f"{name}/slotConfigNames"]
        assert disabled == set(sticky["properties"]["appSettingNames"])
        assert app == "mcp" or disabled
        assert settings["properties"]["WEBSITE_CONTENTSHARE"] == f"{name}-staging"


def test_front_door_stands_before_both_regions(here: Inventory, environment: str) -> None:
    origins = here.of("Microsoft.Cdn/profiles/originGroups/origins")
    if environment != "prod":
        assert origins == {}
        return
    assert [
        (origin["properties"]["priority"], origin["properties"]["hostName"])
        for _, origin in sorted(origins.items())
    ] == [(1, "aos-prod-func.azurewebsites.net"), (2, "aos-prod-dr-func.azurewebsites.net")]
    group = here.one("Microsoft.Cdn/profiles/originGroups")["properties"]
    assert group["healthProbeSettings"]["probePath"] == "/api/health"
    profile = here.one("Microsoft.Cdn/profiles")["properties"]
    assert profile["originResponseTimeoutSeconds"] == 240


def test_only_production_names_who_may_call_and_its_apps_close_to_all_others(
    here: Inventory, environment: str
) -> None:
    closed = environment.startswith("prod")
    for kind in ("Microsoft.Web/sites", "Microsoft.Web/sites/slots"):
        for site in here.of(kind).values():
            config = site["properties"]["siteConfig"]
            rules = [it["ipAddress"] for it in config.get("ipSecurityRestrictions", [])]
            named = ["203.0.113.0/24", "198.51.100.0/24"] if closed else []
            assert rules[:2] == named
            assert config.get("ipSecurityRestrictionsDefaultAction") == ("Deny" if closed else None)


def test_log_analytics_is_told_who_used_what_holds_data(here: Inventory, environment: str) -> None:
    data, bus = here.outputs["storageAccountName"], here.outputs["serviceBusName"]
    management = ["OperationalLogs"]
    watched = ["RuntimeAuditLogs", "VNetAndIPFilteringLogs"] if environment[:4] == "prod" else []
    workspace = here.one("Microsoft.OperationalInsights/workspaces")["id"]
    told = here.all_of("Microsoft.Insights/diagnosticSettings")
    assert {it["properties"]["workspaceId"] for it in told} == {workspace}
    assert {here.scope_of(it): _logged(it) for it in told} == {
        f"Microsoft.KeyVault/vaults/{here.outputs['keyVaultName']}": ["audit"],
        f"Microsoft.KeyVault/vaults/{here.outputs['mcpKeyVaultName']}": ["audit"],
        f"Microsoft.ServiceBus/namespaces/{bus}": management + watched,
        f"Microsoft.Storage/storageAccounts/{data}/blobServices/default": [
            "StorageWrite",
            "StorageDelete",
        ],
        f"Microsoft.Storage/storageAccounts/{data}/tableServices/default": ["StorageDelete"],
    }


def test_production_locks_what_holds_data(here: Inventory, environment: str) -> None:
    locks = here.all_of("Microsoft.Authorization/locks")
    if not environment.startswith("prod"):
        assert locks == []
        return
    assert {it["properties"]["level"] for it in locks} == {"CanNotDelete"}
    assert {here.scope_of(it) for it in locks} == {
        f"Microsoft.KeyVault/vaults/{here.outputs['keyVaultName']}",
        f"Microsoft.KeyVault/vaults/{here.outputs['mcpKeyVaultName']}",
        f"Microsoft.ServiceBus/namespaces/{here.outputs['serviceBusName']}",
        f"Microsoft.Storage/storageAccounts/{here.outputs['storageAccountName']}",
        f"Microsoft.DataProtection/backupVaults/bv-aos-{environment}",
    }


def _logged(setting: dict[str, Any]) -> list[str]:
    """The categories that a diagnostic setting sends; metrics have a store of their own."""
    assert "metrics" not in setting["properties"]
    logs = setting["properties"]["logs"]
    assert all(it["enabled"] for it in logs)
    return [it.get("category") or it["categoryGroup"] for it in logs]


def _data_storage(here: Inventory) -> dict[str, Any]:
    return here.of("Microsoft.Storage/storageAccounts")[here.outputs["storageAccountName"]]


def _emulated(entity: dict[str, Any]) -> dict[str, Any]:
    """An entity's properties in the words of the list."""
    return {
        f"{key[0].upper()}{key[1:]}": value
        for key, value in entity["properties"].items()
        if key != "maxSizeInMegabytes"
    }


def _told(properties: dict[str, Any]) -> dict[str, Any]:
    """What the list says; an empty name of an entity to forward to is none."""
    return {key: value for key, value in properties.items() if value != ""}
