"""Each app gets the settings that it reads, and no secret that it does not need."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from azure.monitor.opentelemetry._constants import _ALL_SUPPORTED_INSTRUMENTED_LIBRARIES
from azure.monitor.opentelemetry._utils.configurations import _get_configurations

from aos.adapters.telemetry.reporting import LOGGER
from aos.settings import Settings
from aos.timer_settings import LONGEST_MENDER_SECONDS, PERIODS
from tests.infra.bicep_cli import ENVIRONMENTS, INFRA
from tests.infra.inventory import APPS, Inventory

ROOT = INFRA.parent
APP_FOLDERS = {"main": ROOT, "mcp": ROOT / "mcp_app", "realm": ROOT / "realm_app"}
BUS = "AZURE_SERVICEBUS_CONNECTION_STRING"
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_what_must_never_be_missing_is_there(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    settings = environments[environment].settings(app)
    signs_in = environment.startswith("prod") and app == "main"
    assert (
        settings.items()
        >= {
            "AOS_APP": app,
            "AOS_ENVIRONMENT": environment.removesuffix("-dr"),
            "AOS_LOG_LEVEL": "INFO",
            "AOS_AUTH": "easyauth" if signs_in else "keys",
            "AZURE_FUNCTIONS_ENVIRONMENT": "Production",
            "OTEL_TRACES_SAMPLER": "microsoft.fixed_percentage",
            "OTEL_TRACES_SAMPLER_ARG": "1.0",
            "OTEL_BSP_SCHEDULE_DELAY": "15000",
            "OTEL_BLRP_SCHEDULE_DELAY": "5000",
            "OTEL_METRICS_EXPORTER": "none",
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
            "PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME": LOGGER,
            "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED": "true",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        }.items()
    )
    assert settings.get("PYTHON_ENABLE_INIT_INDEXING") == ("1" if app == "main" else None)
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in settings
    assert "Authorization=AAD" in settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_every_instrumentation_that_the_worker_would_turn_on_is_off(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    """All that the installed distribution knows: an update that knows more fails here."""
    settings = environments[environment].settings(app)
    named = settings["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"].split(",")
    assert sorted(named) == sorted(_ALL_SUPPORTED_INSTRUMENTED_LIBRARIES)


def test_the_worker_reads_the_settings_as_they_are_meant(
    environments: dict[str, Inventory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distribution's own reading of what a deployed app has in its environment."""
    for name, value in environments["prod"].settings("main").items():
        monkeypatch.setenv(name, value)
    read = _get_configurations(logger_name=LOGGER)
    options: Any = read["instrumentation_options"]
    assert options
    assert not any(option["enabled"] for option in options.values())
    assert (read["disable_metrics"], read["disable_tracing"], read["disable_logging"]) == (
        *(True, False, False),
    )
    assert read["sampling_ratio"] == 1.0
    assert "traces_per_second" not in read


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_apps_reach_bus_and_state_by_their_own_identity(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    here = environments[environment]
    settings = here.settings(app)
    bus = f"{here.outputs['serviceBusName']}.servicebus.windows.net"
    assert settings[f"{BUS}__fullyQualifiedNamespace"] == bus
    assert settings[f"{STORAGE}__accountName"] == here.outputs["storageAccountName"]
    assert BUS not in settings
    assert STORAGE not in settings
    own = f"format('identities-{{0}}-{{1}}', {APPS.index(app)},"
    for prefix in (BUS, STORAGE):
        assert settings[f"{prefix}__credential"] == "managedidentity"
        assert own in settings[f"{prefix}__clientId"]
        assert settings[f"{prefix}__clientId"].endswith(".outputs.clientId.value]")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_setting_holds_a_key_but_that_of_a_consumption_host(
    environments: dict[str, Inventory], environment: str
) -> None:
    here = environments[environment]
    with_keys = {
        (app, name)
        for app in APPS
        for name, value in here.settings(app).items()
        if "listKeys" in value or "AccountKey" in value or "SharedAccessKey" in value
    }
    consumption = {(app, "AzureWebJobsStorage") for app in APPS}
    assert with_keys == (consumption if environment == "dev" else set())


def test_secrets_are_references_to_the_vault_of_the_app(
    environments: dict[str, Inventory],
) -> None:
    here = environments["prod"]
    references = {
        app: {
            name: value
            for name, value in here.settings(app).items()
            if value.startswith("@Microsoft.KeyVault(")
        }
        for app in APPS
    }
    vault, mcp_vault = here.outputs["keyVaultName"], here.outputs["mcpKeyVaultName"]
    share = "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING"

    def secret(of: str, name: str) -> str:
        return f"@Microsoft.KeyVault(VaultName={of};SecretName={name})"

    assert references == {
        "main": {
            share: secret(vault, "ContentShareConnectionString-main"),
            "B2C_CLIENT_SECRET": secret(vault, "B2CClientSecret"),
        },
        "mcp": {share: secret(mcp_vault, "ContentShareConnectionString-mcp")},
        "realm": {share: secret(vault, "ContentShareConnectionString-realm")},
    }


def test_main_judges_cards_by_what_mcp_resolves_in_its_own_vault_and_starts(
    environments: dict[str, Inventory],
) -> None:
    here = environments["prod"]
    for settings in (here.settings("mcp"), here.settings("main")):
        assert f"'{here.outputs['mcpKeyVaultName']}'" in settings["AOS_KEY_VAULT_URI"]
        assert settings["AOS_MCP_ALLOWED"] == "npx -y @modelcontextprotocol/"
    assert "AOS_KEY_VAULT_URI" not in here.settings("realm")


def test_only_main_and_realm_know_the_model_and_only_realm_its_key(
    variants: dict[str, Inventory],
) -> None:
    settings = {app: variants["everything"].settings(app) for app in APPS}
    assert {app for app in APPS if "AOS_MODEL_ENDPOINT" in settings[app]} == {"main", "realm"}
    assert {app for app in APPS if "AOS_MODEL_API_KEY" in settings[app]} == {"realm"}
    assert settings["realm"]["AOS_MODEL_API_KEY"].endswith("SecretName=ModelApiKey)")
    for app in ("main", "realm"):
        assert settings[app]["AOS_MODELS"] == "a,b"
        assert settings[app]["AOS_MODEL_API"] == "responses"
        assert settings[app]["AOS_VISION_MODELS"] == "a"
    assert {app for app in APPS if "AOS_MODEL_PRICES" in settings[app]} == {"main"}
    assert json.loads(settings["main"]["AOS_MODEL_PRICES"]) == {
        "currency": "USD",
        "a": {"input": "1.25", "output": "10"},
    }
    assert {app for app in APPS if "AOS_WEBHOOK_SECRET" in settings[app]} == {"main"}
    assert settings["main"]["AOS_WEBHOOK_SECRET"].endswith("SecretName=WebhookSecret)")
    assert settings["main"]["AOS_REPLY_TO"] == "businessinfinity-responses,billing-replies"
    assert settings["main"]["AOS_KEY_OWNERS"] == "billing=00ff"
    assert settings["main"]["AOS_ADMIN_KEYS"] == "00ff"
    assert {app for app in APPS if "AOS_QUEUE_MAY_ACT_FOR" in settings[app]} == {"main"}
    assert settings["main"]["AOS_QUEUE_MAY_ACT_FOR"] == "billing"


@pytest.mark.parametrize("app", APPS)
def test_settings_without_a_parameter_of_their_own_can_be_given_but_replace_none(
    variants: dict[str, Inventory], app: str
) -> None:
    settings = variants["everything"].settings(app)
    assert settings["AOS_MCP_HOSTS"] == "mcp.internal.test:8080"
    assert settings["AOS_MAX_TURNS"] == "32"
    assert settings["AOS_AUTH"] == ("easyauth" if app == "main" else "keys")


THE_PLATFORMS = {"WEBSITE_AUTH_ENABLED", "WEBSITE_HOSTNAME", "PATH", "TMPDIR", "LANG"}
OF_A_LAPTOP = {"AOS_MCP_SECRETS_FILE", "AOS_SERVICEBUS_HTTP_PORT"}
NOT_OF_THIS_STATE = {f"{STORAGE}__blobServiceUri", f"{STORAGE}__queueServiceUri"}
IN_MORE_SETTINGS = re.compile(
    r"AOS_MAX_\w+|AOS_\w+_TIMEOUT_SECONDS|AOS_WAIT_SECONDS|AOS_MODEL_MAX_TOOLS"
    r"|AOS_TOOL_DESCRIPTION_CHARACTERS|AOS_WEBHOOK_HOSTS|AOS_PAUSED|AOS_OWNER_TOKENS_PER_DAY"
    r"|AOS_MCP_(HOSTS|ENV_ALLOWED|HOME|ISOLATION|MEMORY_MB|PROCESSES|OPEN_FILES|FILE_MB|HOME_MB)"
    r"|AOS_CLEAN_TIMER_SECONDS"
)
"""What few operators change; docs/SETTINGS.md says how."""


def test_every_setting_of_an_operator_has_a_parameter_or_is_one_of_the_few_that_need_none() -> None:
    templates = "\n".join(path.read_text("utf-8") for path in INFRA.rglob("*.bicep"))
    page = (ROOT / "docs" / "SETTINGS.md").read_text("utf-8")
    table = page.split("<!-- settings: aos/settings.py -->")[1].split("<!-- /settings -->")[0]
    names = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    written = set(re.findall(r"^\s*(?:\.\.\..*\{ )?(\w+): ", templates, re.MULTILINE))
    assert "AOS_VISION_MODELS" in written
    left = names - written - THE_PLATFORMS - OF_A_LAPTOP - NOT_OF_THIS_STATE
    assert {name for name in left if not IN_MORE_SETTINGS.fullmatch(name)} == set()


def test_customers_sign_in_before_main_and_probes_need_not(
    environments: dict[str, Inventory],
) -> None:
    for environment in ("prod", "prod-dr"):
        here = environments[environment]
        configs = here.of("Microsoft.Web/sites/config")
        signing = [name for name in configs if name.endswith("/authsettingsV2")]
        main = here.outputs["functionAppNames"]["main"]
        assert signing == [f"{main}/authsettingsV2"]
        properties = configs[signing[0]]["properties"]
        slots = here.of("Microsoft.Web/sites/slots/config")
        signing_in_slot = [name for name in slots if name.endswith("/authsettingsV2")]
        assert signing_in_slot == [f"{main}/staging/authsettingsV2"]
        assert slots[signing_in_slot[0]]["properties"] == properties
        assert properties["globalValidation"] == {
            "requireAuthentication": True,
            "unauthenticatedClientAction": "Return401",
            "excludedPaths": ["/api/health", "/api/status", "/api/console", "/api/console/*"],
        }
        provider = properties["identityProviders"]["azureActiveDirectory"]
        assert provider["registration"] == {
            "clientId": "00000000-0000-0000-0000-000000000003",
            "openIdIssuer": (
                "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0"
            ),
            "clientSecretSettingName": "B2C_CLIENT_SECRET",
        }
        assert here.outputs["authentication"] == "easyauth"


@pytest.mark.parametrize("app", APPS)
def test_no_app_knows_the_address_of_another(environments: dict[str, Inventory], app: str) -> None:
    """Commands and events travel on the bus, never from app to app over HTTP."""
    here = environments["prod"]
    others = [name for of, name in here.outputs["functionAppNames"].items() if of != app]
    told = " ".join(here.settings(app).values())
    assert [name for name in others if f"{name}." in told] == []


def test_what_a_plan_needs_to_find_the_code_is_set(environments: dict[str, Inventory]) -> None:
    elastic = environments["prod"].settings("main")
    assert elastic["WEBSITE_CONTENTSHARE"] == "aos-prod-func"
    assert elastic["WEBSITE_SKIP_CONTENTSHARE_VALIDATION"] == "1"
    assert elastic["FUNCTIONS_EXTENSION_VERSION"] == "~4"
    consumption = environments["dev"].settings("main")
    assert consumption["FUNCTIONS_WORKER_RUNTIME"] == "python"
    # Linux Consumption refuses a content share; what `func publish` uploads is found by the host.
    assert [name for name in consumption if name.startswith("WEBSITE_")] == [
        "WEBSITE_MOUNT_ENABLED"
    ]


def _timers(here: Inventory) -> dict[str, str]:
    """The settings of timers, of whichever app."""
    settings = {**here.settings("main"), **here.settings("mcp"), **here.settings("realm")}
    return {name: it for name, it in settings.items() if name.endswith("_TIMER_SECONDS")}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_timers_are_slow_where_a_tick_is_billed(
    environments: dict[str, Inventory], environment: str
) -> None:
    slow = environment == "dev"
    assert _timers(environments[environment]) == {
        "AOS_CATALOG_TIMER_SECONDS": "900" if slow else "300",
        "AOS_MENDER_TIMER_SECONDS": "300" if slow else "30",
        "AOS_WAKE_TIMER_SECONDS": "300" if slow else "60",
        "AOS_CLEAN_TIMER_SECONDS": "3600",
        "AOS_LISTING_TIMER_SECONDS": "900" if slow else "300",
    }


def test_timers_are_those_that_are_asked_for_and_quicker_where_no_event_tells_of_cards(
    variants: dict[str, Inventory],
) -> None:
    assert _timers(variants["everything"]) == {
        "AOS_CATALOG_TIMER_SECONDS": "3600",
        "AOS_MENDER_TIMER_SECONDS": "60",
        "AOS_WAKE_TIMER_SECONDS": "120",
        "AOS_CLEAN_TIMER_SECONDS": "1800",
        "AOS_LISTING_TIMER_SECONDS": "1800",
    }
    assert _timers(variants["unwatched"])["AOS_CATALOG_TIMER_SECONDS"] == "300"


def test_transcripts_are_kept_outside_dev_and_as_long_as_is_asked_for(
    environments: dict[str, Inventory], variants: dict[str, Inventory]
) -> None:
    told = {
        name: (it["AOS_TRANSCRIPTS"], it["AOS_TRANSCRIPT_DAYS"])
        for name, it in {
            **{name: here.settings("main") for name, here in environments.items()},
            "everything": variants["everything"].settings("main"),
        }.items()
    }
    kept = ("on", "90")
    assert told == {
        "dev": ("off", "90"),
        "staging": kept,
        "prod": kept,
        "prod-dr": kept,
        "everything": ("off", "30"),
    }


def test_the_trigger_of_jobs_finds_its_queue_by_identity(
    environments: dict[str, Inventory],
) -> None:
    told = environments["prod"].settings("main")["AZURE_STORAGE_CONNECTION_STRING__queueServiceUri"]
    assert re.search(r"https://\{0\}\.queue\.\{1\}', 'staosdataprod\w+'", told)


def test_every_period_that_the_template_lets_pass_is_one_that_the_apps_take(
    template: dict[str, Any],
) -> None:
    parameters = template["parameters"]
    allowed = {
        name: parameters[f"{name}TimerSeconds"]["allowedValues"]
        for name in ("catalog", "mender", "listing")
    }
    shortened = [it for it in PERIODS if it <= LONGEST_MENDER_SECONDS]
    assert allowed == {"catalog": [*PERIODS], "mender": shortened, "listing": [*PERIODS]}


BUILD_SETTINGS = {
    "SCM_DO_BUILD_DURING_DEPLOYMENT": "true",
    "ENABLE_ORYX_BUILD": "true",
    "BUILD_FLAGS": "UseExpressBuild",
    "XDG_CACHE_HOME": "/tmp/.cache",
}
OF_A_MOUNTED_PACKAGE = {"WEBSITE_MOUNT_ENABLED": "1"}


def _publishing(settings: dict[str, str]) -> dict[str, str]:
    """The settings that decide how a package is built and found."""
    wanted = BUILD_SETTINGS.keys() | OF_A_MOUNTED_PACKAGE.keys()
    return {name: value for name, value in settings.items() if name in wanted}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_the_first_publish_finds_every_setting_that_it_would_add(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    here = environments[environment]
    consumption = here.outputs["skus"]["functionApps"] == "Y1"
    wanted = OF_A_MOUNTED_PACKAGE if consumption else BUILD_SETTINGS
    assert _publishing(here.settings(app)) == wanted
    slots = here.of("Microsoft.Web/sites/slots/config")
    name = f"{here.outputs['functionAppNames'][app]}/staging/appsettings"
    if not consumption:
        assert _publishing(slots[name]["properties"]) == wanted


@pytest.mark.parametrize("app", APPS)
def test_flex_consumption_gets_no_setting_of_a_build(
    variants: dict[str, Inventory], app: str
) -> None:
    assert _publishing(variants["everything"].settings(app)) == {}
    assert _publishing(variants["defaults"].settings(app)) == OF_A_MOUNTED_PACKAGE


def test_links_to_runs_lead_through_front_door(environments: dict[str, Inventory]) -> None:
    first = environments["prod"].settings("main")["AOS_PUBLIC_URL"]
    assert first.startswith("[format('https://{0}'")
    assert ".outputs.hostName.value" in first
    second = environments["prod-dr"].settings("main")["AOS_PUBLIC_URL"]
    assert second == "https://aos.contoso.example"
    assert "AOS_PUBLIC_URL" not in environments["dev"].settings("main")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APPS)
def test_the_apps_understand_their_settings(
    environments: dict[str, Inventory], environment: str, app: str
) -> None:
    here = environments[environment]
    settings = {
        name: "https://known.later.test" if value.startswith("[") else value
        for name, value in here.settings(app).items()
    }
    read = Settings.read(settings)
    signs_in = environment.startswith("prod") and app == "main"
    auth = "easyauth" if signs_in else "keys"
    assert (read.app, read.auth, read.development) == (app, auth, False)
    assert read.environment == environment.removesuffix("-dr")
    assert read.storage.account_name == here.outputs["storageAccountName"]
    assert read.storage.client_id == "https://known.later.test"
    assert read.bus.namespace == f"{here.outputs['serviceBusName']}.servicebus.windows.net"
    assert read.telemetry_in_worker is True
    if app == "realm":
        assert read.model.endpoint == "https://oai-contoso.openai.azure.com/openai/v1"
        assert read.model.client_id == "https://known.later.test"


def test_settings_of_ours_are_settings_that_are_read(
    variants: dict[str, Inventory], environments: dict[str, Inventory]
) -> None:
    set_here = {
        name
        for inventory in (*variants.values(), *environments.values())
        for app in APPS
        for name in inventory.settings(app)
        if name.startswith("AOS_")
    }
    text = "".join(path.read_text() for path in (ROOT / "aos").glob("*.py"))
    assert {name for name in set_here if f'"{name}"' not in text} == set()


def test_a_slot_switches_off_every_function_that_wakes_by_itself() -> None:
    text = (INFRA / "modules/triggers.bicep").read_text()
    told = {
        app: set(re.findall(r"'(\w+)'", names))
        for app, names in re.findall(r"^  (\w+): \[(.*)\]$", text, re.MULTILINE)
    }
    assert told.keys() == set(APPS)
    for app, folder in APP_FOLDERS.items():
        assert _waking_functions(folder / "function_app.py") == told[app], app


def _waking_functions(path: Path) -> set[str]:
    """Names of the functions of an app that have a trigger other than HTTP."""
    if not path.exists():
        return set()
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and re.fullmatch(r"\w+_trigger|schedule", decorator.func.attr)
    }
