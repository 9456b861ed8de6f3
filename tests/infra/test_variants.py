"""Each switch works alone and together with others."""

from __future__ import annotations

from typing import Any

from devhost.provision import TABLES
from tests.infra.inventory import APPS, Inventory


def test_flex_consumption_gives_each_app_a_plan_and_nothing_that_it_refuses(
    variants: dict[str, Inventory],
) -> None:
    here = variants["everything"]
    assert set(here.of("Microsoft.Web/serverfarms")) == {
        f"plan-aos-staging-b-{app}" for app in APPS
    }
    refused = {
        "ftpsState",
        "use32BitWorkerProcess",
        "preWarmedInstanceCount",
        "netFrameworkVersion",
        "functionsRuntimeScaleMonitoringEnabled",
        "functionAppScaleLimit",
        "linuxFxVersion",
    }
    ignored = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION"}
    for app in APPS:
        site = here.site(app)["properties"]
        assert site["serverFarmId"].endswith(f"/plan-aos-staging-b-{app}")
        assert refused.isdisjoint(site["siteConfig"])
        assert ignored.isdisjoint(here.settings(app))
        assert not [name for name in here.settings(app) if name.startswith("WEBSITE_")]
    config = here.site("main")["properties"]["functionAppConfig"]
    assert config["scaleAndConcurrency"]["triggers"] == {"http": {"perInstanceConcurrency": 100}}
    assert config["siteUpdateStrategy"] == {"type": "RollingUpdate"}
    storage = config["deployment"]["storage"]
    assert storage["authentication"]["userAssignedIdentityResourceId"].endswith(
        "/id-aos-staging-b-main"
    )
    assert here.of("Microsoft.Web/sites/slots") == {}
    assert here.outputs["deploymentWarnings"]["stagingSlotDisabledDueToFunctionSku"] is True


def test_instances_are_replaced_as_a_supported_plan_does_it_unless_asked_otherwise(
    template: dict[str, Any],
) -> None:
    strategy = template["parameters"]["siteUpdateStrategy"]
    assert (strategy["defaultValue"], strategy["allowedValues"]) == (
        "Recreate",
        ["Recreate", "RollingUpdate"],
    )


def test_hosts_on_flex_consumption_take_no_keys(variants: dict[str, Inventory]) -> None:
    accounts = variants["everything"].of("Microsoft.Storage/storageAccounts")
    assert len(accounts) == 4
    assert not any(item["properties"]["allowSharedKeyAccess"] for item in accounts.values())


def test_flex_consumption_delegates_its_subnet_to_its_own_service(
    variants: dict[str, Inventory],
) -> None:
    network = variants["everything"].one("Microsoft.Network/virtualNetworks")
    (delegation,) = network["properties"]["subnets"][0]["properties"]["delegations"]
    assert delegation["properties"]["serviceName"] == "Microsoft.App/environments"


def test_the_number_of_mcp_instances_has_a_bound(variants: dict[str, Inventory]) -> None:
    site = variants["everything"].site("mcp")["properties"]
    assert site["functionAppConfig"]["scaleAndConcurrency"]["maximumInstanceCount"] == 5


def test_cosmos_takes_the_tables_and_the_storage_account_none(
    variants: dict[str, Inventory],
) -> None:
    here = variants["everything"]
    account = here.one("Microsoft.DocumentDB/databaseAccounts")
    properties = account["properties"]
    assert {"name": "EnableTable"} in properties["capabilities"]
    assert (properties["disableLocalAuth"], properties["publicNetworkAccess"]) == (True, "Disabled")
    assert properties["backupPolicy"]["type"] == "Continuous"
    tables = here.of("Microsoft.DocumentDB/databaseAccounts/tables")
    assert {name.rpartition("/")[2] for name in tables} == set(TABLES)
    assert here.of("Microsoft.Storage/storageAccounts/tableServices/tables") == {}
    for app in APPS:
        address = here.settings(app)["AZURE_STORAGE_CONNECTION_STRING__tableServiceUri"]
        assert address == f"https://{account['name']}.table.cosmos.azure.com:443/"
    assert here.outputs["tableEndpoint"] == address
    assert len(here.of("Microsoft.DocumentDB/databaseAccounts/tableRoleAssignments")) == 3
    data = here.outputs["storageAccountName"]
    assert not [role for role in here.roles() if role.on.startswith(data) and "Table" in role.role]


def test_more_reply_queues_are_made_like_the_first(variants: dict[str, Inventory]) -> None:
    here = variants["everything"]
    queues = here.of("Microsoft.ServiceBus/namespaces/queues")
    bus = here.outputs["serviceBusName"]
    first = queues[f"{bus}/businessinfinity-responses"]["properties"]
    assert queues[f"{bus}/billing-replies"]["properties"] == first
    assert first["requiresSession"] is True
    assert first["requiresDuplicateDetection"] is True
    assert queues[f"{bus}/aos-requests"]["properties"]["requiresSession"] is False
    senders = [role.who for role in here.roles() if role.on == "billing-replies"]
    assert senders == ["main"]


def test_a_premium_bus_can_be_copied_to_a_second_region(variants: dict[str, Inventory]) -> None:
    bus = variants["everything"].one("Microsoft.ServiceBus/namespaces")
    assert bus["sku"] == {"name": "Premium", "tier": "Premium", "capacity": 2}
    places = bus["properties"]["geoDataReplication"]["locations"]
    assert [(place["locationName"], place["roleType"]) for place in places] == [
        ("westeurope", "Primary"),
        ("northeurope", "Secondary"),
    ]


def test_address_ranges_close_the_apps_to_all_but_probes_and_front_door(
    variants: dict[str, Inventory],
) -> None:
    here = variants["everything"]
    open_to = {
        app: [
            rule["ipAddress"]
            for rule in here.site(app)["properties"]["siteConfig"]["ipSecurityRestrictions"]
        ]
        for app in APPS
    }
    every_app = ["203.0.113.0/24", "ApplicationInsightsAvailability"]
    assert open_to == {
        "main": [*every_app, "AzureFrontDoor.Backend"],
        "mcp": every_app,
        "realm": every_app,
    }
    main = here.site("main")["properties"]["siteConfig"]
    assert main["ipSecurityRestrictionsDefaultAction"] == "Deny"
    (sender,) = main["ipSecurityRestrictions"][-1]["headers"]["x-azure-fdid"]
    assert sender.endswith(".outputs.frontDoorId.value]")


def test_front_door_probes_as_often_as_it_is_asked_to(variants: dict[str, Inventory]) -> None:
    group = variants["everything"].one("Microsoft.Cdn/profiles/originGroups")["properties"]
    assert group["healthProbeSettings"]["probeIntervalInSeconds"] == 120


def test_people_sign_in_with_entra_without_a_secret(variants: dict[str, Inventory]) -> None:
    here = variants["everything"]
    (signing,) = [
        config["properties"]
        for name, config in here.of("Microsoft.Web/sites/config").items()
        if name.endswith("/authsettingsV2")
    ]
    provider = signing["identityProviders"]["azureActiveDirectory"]
    assert "clientSecretSettingName" not in provider["registration"]
    assert provider["validation"]["allowedAudiences"][1:] == ["api://aos"]
    assert "B2C_CLIENT_SECRET" not in here.settings("main")


def test_locks_and_diagnostics_are_switches_of_their_own(variants: dict[str, Inventory]) -> None:
    locked = variants["everything"]
    on = {locked.scope_of(it) for it in locked.all_of("Microsoft.Authorization/locks")}
    cosmos = locked.one("Microsoft.DocumentDB/databaseAccounts")["name"]
    assert f"Microsoft.DocumentDB/databaseAccounts/{cosmos}" in on
    assert locked.all_of("Microsoft.Insights/diagnosticSettings") == []
    # Production that says so goes without locks, and without a workspace nothing is told.
    assert variants["downgraded"].all_of("Microsoft.Authorization/locks") == []
    assert variants["downgraded"].all_of("Microsoft.Insights/diagnosticSettings")
    assert variants["unwatched"].all_of("Microsoft.Insights/diagnosticSettings") == []


def test_extra_tags_cannot_hide_those_of_the_plan(variants: dict[str, Inventory]) -> None:
    tags = variants["everything"].one("Microsoft.ServiceBus/namespaces")["tags"]
    assert (tags["dataClass"], tags["project"]) == ("confidential", "aos")


def test_an_incapable_region_gets_less_and_says_so(variants: dict[str, Inventory]) -> None:
    here = variants["downgraded"]
    assert here.outputs["deploymentWarnings"] == {
        "azureMLDisabledDueToRegion": True,
        "functionSkuDowngradedDueToRegion": True,
        "serviceBusSkuDowngradedDueToRegion": True,
        "networkDisabledDueToFunctionSku": True,
        "serviceBusPublicDueToSku": False,
        "stagingSlotDisabledDueToFunctionSku": True,
        "signInDisabledDueToMissingIds": True,
        "budgetDisabledDueToMissingStartDate": True,
    }
    assert here.outputs["skus"]["functionApps"] == "Y1"
    assert here.one("Microsoft.Web/serverfarms")["sku"]["tier"] == "Dynamic"
    assert here.one("Microsoft.ServiceBus/namespaces")["sku"]["tier"] == "Standard"
    assert here.of("Microsoft.MachineLearningServices/workspaces") == {}
    assert here.of("Microsoft.Network/virtualNetworks") == {}
    assert here.of("Microsoft.Consumption/budgets") == {}
    # Without the ids of the tenant the API stays closed behind keys, not open.
    assert here.outputs["authentication"] == "keys"
    assert here.settings("main")["AOS_AUTH"] == "keys"


def test_what_was_closed_by_wish_is_not_half_closed_without_a_network(
    variants: dict[str, Inventory],
) -> None:
    for account in variants["downgraded"].of("Microsoft.Storage/storageAccounts").values():
        assert account["properties"]["publicNetworkAccess"] == "Enabled"


def test_defaults_deploy_with_an_environment_alone(variants: dict[str, Inventory]) -> None:
    here = variants["defaults"]
    assert set(here.outputs["deploymentWarnings"].values()) == {False}
    assert here.outputs["skus"] == {
        "functionApps": "Y1",
        "serviceBus": "Standard",
        "storage": "Standard_LRS",
    }
    settings = here.settings("main")
    host = here.outputs["hostStorageNames"]["main"]
    assert settings["AzureWebJobsStorage__accountName"] == host
    assert f"'{host}'" in settings["WEBSITE_RUN_FROM_PACKAGE"]
    assert settings["WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID"].endswith("/id-aos-dev-main")
    accounts = here.of("Microsoft.Storage/storageAccounts")
    assert not any(item["properties"]["allowSharedKeyAccess"] for item in accounts.values())


def test_without_monitoring_nothing_points_to_it(variants: dict[str, Inventory]) -> None:
    here = variants["unwatched"]
    for kind in ("components", "webtests", "scheduledQueryRules", "workbooks"):
        assert here.of(f"Microsoft.Insights/{kind}") == {}
    assert not [name for name in here.settings("main") if "INSIGHTS" in name]
    assert "Monitoring Metrics Publisher" not in {role.role for role in here.roles()}
    assert set(here.of("Microsoft.Insights/metricAlerts")) >= {
        "ServiceBusQueueDepth",
        "StorageInaccessible",
    }


def test_connection_strings_live_in_the_vault_and_mcp_gets_none(
    variants: dict[str, Inventory],
) -> None:
    here = variants["unwatched"]
    vault = here.outputs["keyVaultName"]
    names = {"ServiceBusConnectionString", "StorageConnectionString"}
    assert {f"{vault}/{name}" for name in names} <= set(
        here.of("Microsoft.KeyVault/vaults/secrets")
    )
    for app in ("main", "realm"):
        settings = here.settings(app)
        assert settings["AZURE_SERVICEBUS_CONNECTION_STRING"].endswith(
            f"VaultName={vault};SecretName=ServiceBusConnectionString)"
        )
        assert settings["AZURE_STORAGE_CONNECTION_STRING"].endswith(
            f"VaultName={vault};SecretName=StorageConnectionString)"
        )
    mcp = here.settings("mcp")
    assert "AZURE_SERVICEBUS_CONNECTION_STRING" not in mcp
    assert "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace" in mcp
    assert here.one("Microsoft.ServiceBus/namespaces")["properties"]["disableLocalAuth"] is False


def test_a_deployment_after_a_swap_leaves_the_code_where_it_is(
    variants: dict[str, Inventory],
) -> None:
    """Code lies in the content share: a swap trades the two, and so must the template."""
    here = variants["unwatched"]
    slots = here.of("Microsoft.Web/sites/slots/config")
    assert {
        name: (
            here.settings(app)["WEBSITE_CONTENTSHARE"],
            slots[f"{name}/staging/appsettings"]["properties"]["WEBSITE_CONTENTSHARE"],
        )
        for app, name in here.outputs["functionAppNames"].items()
    } == {
        "aos-dev-func": ("aos-dev-func-staging", "aos-dev-func"),
        "aos-dev-mcp-func": ("aos-dev-mcp-func", "aos-dev-mcp-func-staging"),
        "aos-dev-realm-func": ("aos-dev-realm-func", "aos-dev-realm-func-staging"),
    }
    shares = here.of("Microsoft.Storage/storageAccounts/fileServices/shares")
    assert len(shares) == 6


def test_machine_learning_in_development_has_the_smallest_registry(
    variants: dict[str, Inventory],
) -> None:
    here = variants["unwatched"]
    assert here.one("Microsoft.ContainerRegistry/registries")["sku"] == {"name": "Basic"}
    workspace = here.one("Microsoft.MachineLearningServices/workspaces")["properties"]
    assert workspace["storageAccount"].endswith(f"/{here.outputs['storageAccountName']}")
    assert workspace["systemDatastoresAuthMode"] == "identity"
    assert "applicationInsights" not in workspace
