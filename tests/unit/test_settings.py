"""Settings: read once, masked, and refused at start with one line that says what to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path

import pytest

from aos.bootstrap import mcp_app
from aos.domain.usage import ModelPrice, Prices
from aos.errors import ConfigurationError
from aos.settings import LOCAL_BUS, LOCAL_STORAGE, Settings
from aos.timer_settings import TimerSettings

REPOSITORY = Path(__file__).parents[2]
DEVELOPMENT = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
BUS = "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=topsecret"
STORAGE = "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=topsecret"
AZURE = {"AZURE_SERVICEBUS_CONNECTION_STRING": BUS, "AZURE_STORAGE_CONNECTION_STRING": STORAGE}
HOSTS_OWN = {"AZURE_FUNCTIONS_ENVIRONMENT", "WEBSITE_HOSTNAME", "WEBSITE_AUTH_ENABLED"} | {
    *("PATH", "HOME", "TMPDIR", "LANG")
}


class Recording(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: object = None) -> str | None:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name)


def test_nothing_set_on_a_laptop_fits_make_run() -> None:
    settings = Settings.read(DEVELOPMENT)
    assert settings.auth == "off"
    assert settings.storage.connection_string == LOCAL_STORAGE
    assert settings.bus.connection_string == LOCAL_BUS
    assert settings.model.endpoint is None
    assert settings.reply_to == ("businessinfinity-responses",)
    assert settings.public_url == "http://127.0.0.1:7071"
    assert (settings.environment, settings.log_level) == ("dev", "INFO")


def test_the_plans_four_values_start_main() -> None:
    plan = {
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AOS_ENVIRONMENT": "dev",
        "AOS_LOG_LEVEL": "INFO",
    }
    settings = Settings.read({**plan, **DEVELOPMENT})
    assert settings.storage.connection_string == LOCAL_STORAGE


def test_the_sample_file_holds_every_setting_and_can_be_read() -> None:
    document = json.loads((REPOSITORY / "local.settings.sample.json").read_text("utf-8"))
    environment = Recording({**document["Values"], **DEVELOPMENT})
    assert Settings.read(environment) == Settings.read(DEVELOPMENT)
    Settings.read(empty := Recording(DEVELOPMENT))
    asked = environment.asked | empty.asked
    assert asked - HOSTS_OWN == set(document["Values"]) - {"FUNCTIONS_WORKER_RUNTIME"}


def test_an_empty_setting_is_an_absent_one() -> None:
    names = ("AOS_AUTH", "AOS_MODEL", "AOS_REPLY_TO", "AOS_MAX_TURNS", "AOS_LOG_LEVEL")
    assert Settings.read({**DEVELOPMENT, **dict.fromkeys(names, " ")}) == Settings.read(DEVELOPMENT)


def test_timers_are_as_frequent_as_the_operator_says() -> None:
    said = {"AOS_CATALOG_TIMER_SECONDS": "900", "AOS_MENDER_TIMER_SECONDS": "300"}
    timers = Settings.read({**AZURE, **said, "AOS_LISTING_TIMER_SECONDS": "3600"}).timers
    assert timers == TimerSettings(catalog_seconds=900, mender_seconds=300, listing_seconds=3600)
    assert Settings.read(AZURE).timers == TimerSettings()


@pytest.mark.parametrize(
    ("setting", "period"),
    [
        ("AOS_CATALOG_TIMER_SECONDS", "0"),
        ("AOS_CATALOG_TIMER_SECONDS", "1"),
        ("AOS_CATALOG_TIMER_SECONDS", "7"),
        ("AOS_CATALOG_TIMER_SECONDS", "86400"),
        ("AOS_LISTING_TIMER_SECONDS", "*/5 * * * * *"),
        ("AOS_LISTING_TIMER_SECONDS", "-30"),
        # A lost step of a run is never looked for more seldom than every quarter of an hour.
        ("AOS_MENDER_TIMER_SECONDS", "1800"),
        ("AOS_WAKE_TIMER_SECONDS", "1800"),
    ],
)
def test_a_period_that_no_schedule_says_exactly_stops_the_app(setting: str, period: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting}=.*; write 5, 10, .* or "):
        Settings.read({**AZURE, setting: period})


def test_in_azure_keys_are_asked_for_unless_said_otherwise() -> None:
    settings = Settings.read({**AZURE, "WEBSITE_HOSTNAME": "aos-dev-func.azurewebsites.net"})
    assert (settings.auth, settings.development) == ("keys", False)
    assert settings.public_url == "https://aos-dev-func.azurewebsites.net"


@pytest.mark.parametrize(
    ("said", "environment", "believed"),
    [
        ("True", AZURE, True),
        ("true", AZURE, True),
        ("TRUE", AZURE, True),
        ("False", AZURE, False),
        ("1", AZURE, False),
        ("", AZURE, False),
        ("True", DEVELOPMENT, False),
    ],
)
def test_principals_are_believed_only_where_the_platform_says_that_it_sets_them(
    said: str, environment: dict[str, str], believed: bool
) -> None:
    given = {**environment, "AOS_AUTH": "easyauth", "WEBSITE_AUTH_ENABLED": said}
    settings = Settings.read(given)
    assert (settings.auth, settings.behind_sign_in) == ("easyauth", believed)


def test_identity_takes_the_place_of_connection_strings() -> None:
    settings = Settings.read(
        {
            "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace": "x.example",
            "AZURE_SERVICEBUS_CONNECTION_STRING__clientId": "id-1",
            "AZURE_STORAGE_CONNECTION_STRING__accountName": "staos",
            "AZURE_STORAGE_CONNECTION_STRING__clientId": "id-2",
        }
    )
    assert (settings.bus.namespace, settings.bus.client_id) == ("x.example", "id-1")
    assert settings.storage.account_name == "staos"
    assert settings.storage.connection_string is None
    urls = Settings.read(
        {
            **AZURE,
            "AZURE_STORAGE_CONNECTION_STRING": "",
            "AZURE_STORAGE_CONNECTION_STRING__blobServiceUri": "https://x.blob.core.windows.net/",
            "AZURE_STORAGE_CONNECTION_STRING__tableServiceUri": "https://x.table.core.windows.net",
        }
    )
    assert urls.storage.blob_service_url == "https://x.blob.core.windows.net"


def test_the_models_a_card_may_name_are_the_list_and_the_base_model() -> None:
    def allowed(**given: str) -> frozenset[str] | None:
        return Settings.read({**DEVELOPMENT, **given}).model.allowed

    assert allowed() is None
    assert allowed(AOS_MODEL="a") == {"a"}
    assert allowed(AOS_MODELS="b, c") == {"b", "c"}
    assert allowed(AOS_MODEL="a", AOS_MODELS="b") == {"a", "b"}


def test_the_api_of_the_model_endpoint_is_chat_completions_unless_the_operator_says_otherwise() -> (
    None
):
    assert Settings.read(DEVELOPMENT).model.api == "chat"
    assert Settings.read({**DEVELOPMENT, "AOS_MODEL_API": "Responses"}).model.api == "responses"


def _prices(**price: object) -> str:
    return json.dumps({"currency": "EUR", "m": price})


def test_prices_are_decimals_per_million_tokens() -> None:
    raw = '{"currency": "EUR", "m": {"input": "2.50", "cached_input": 0.1, "output": 10}}'
    prices = Settings.read({**DEVELOPMENT, "AOS_MODEL_PRICES": raw}).spending.prices
    price = ModelPrice(input=Decimal("2.5"), cached_input=Decimal("0.1"), output=Decimal(10))
    assert prices == Prices(currency="EUR", models={"m": price})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"AOS_AUTH": "none"}, ["AOS_AUTH", "off, keys or easyauth"]),
        ({"AOS_MODEL_API": "completions"}, ["AOS_MODEL_API", "chat or responses"]),
        ({"AOS_LOG_LEVEL": "LOUD"}, ["AOS_LOG_LEVEL", "DEBUG"]),
        ({"AOS_APP": "realms"}, ["AOS_APP", "realm"]),
        ({"AOS_MODEL_ENDPOINT": "localhost:8091"}, ["AOS_MODEL_ENDPOINT", "https://"]),
        ({"AOS_KEY_VAULT_URI": "myvault"}, ["AOS_KEY_VAULT_URI"]),
        ({"AOS_KEY_OWNERS": "sales"}, ["AOS_KEY_OWNERS", "name=<SHA-256"]),
        ({"AOS_KEY_OWNERS": "sales=abc"}, ["AOS_KEY_OWNERS", "64 hex digits"]),
        ({"AOS_ADMIN_KEYS": "topsecret"}, ["AOS_ADMIN_KEYS", "sha256sum"]),
        ({"AOS_REPLY_TO": "a queue"}, ["AOS_REPLY_TO"]),
        ({"AOS_MAX_TURNS": "0"}, ["AOS_MAX_TURNS", "from 1 to 1000"]),
        ({"AOS_WAIT_SECONDS": "221"}, ["AOS_WAIT_SECONDS", "220"]),
        ({"AOS_MAX_MESSAGE_BYTES": "many"}, ["AOS_MAX_MESSAGE_BYTES"]),
        ({"AOS_MODEL_PRICES": "2.50"}, ["AOS_MODEL_PRICES", "not an object"]),
        ({"AOS_MODEL_PRICES": "{"}, ["AOS_MODEL_PRICES", "not JSON"]),
        ({"AOS_MODEL_PRICES": "{}"}, ["currency", "USD"]),
        ({"AOS_MODEL_PRICES": '{"currency": "euro"}'}, ["currency"]),
        ({"AOS_MODEL_PRICES": '{"currency": "EUR", "m": 2.5}'}, ["'m'", "input and output"]),
        ({"AOS_MODEL_PRICES": _prices(input="1")}, ["output of 'm'"]),
        ({"AOS_MODEL_PRICES": _prices(input="1", output="2", cached="1")}, ["'cached'", "known"]),
        ({"AOS_MODEL_PRICES": _prices(input="-1", output="2")}, ["input of 'm'"]),
        ({"AOS_MODEL_PRICES": _prices(input="NaN", output="2")}, ["input of 'm'"]),
        ({"AOS_MODEL_PRICES": _prices(input=True, output="2")}, ["input of 'm'"]),
        ({"AOS_MODEL_PRICES": _prices(input="1", output="2e-10")}, ["decimal places"]),
        ({"AZURE_SERVICEBUS_CONNECTION_STRING": "topsecret"}, ["Endpoint=sb://"]),
        (
            {"AOS_MODEL_API_KEY": "@Microsoft.KeyVault(SecretUri=https://v/secrets/s)"},
            ["AOS_MODEL_API_KEY", "Key Vault Secrets User"],
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_to_write(
    given: dict[str, str], names: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.read({**DEVELOPMENT, **given})
    text = str(caught.value)
    assert all(name in text for name in names)
    assert "\n" not in text
    assert "topsecret" not in text


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({**AZURE, "AOS_AUTH": "off"}, "AOS_AUTH=off"),
        ({**AZURE, "AZURE_SERVICEBUS_CONNECTION_STRING": ""}, "fullyQualifiedNamespace"),
        ({**AZURE, "AZURE_STORAGE_CONNECTION_STRING": ""}, "accountName"),
    ],
)
def test_azure_refuses_to_start_without_what_it_needs(
    environment: dict[str, str], names: str
) -> None:
    with pytest.raises(ConfigurationError, match=names):
        Settings.read(environment)


def test_a_package_on_the_wrong_site_refuses_to_start() -> None:
    with pytest.raises(ConfigurationError, match="this package is mcp, this site is main"):
        mcp_app({**DEVELOPMENT, "AOS_APP": "main"})


def test_secrets_are_in_no_repr() -> None:
    settings = Settings.read(
        {
            **AZURE,
            "AOS_MODEL_API_KEY": "topsecret",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": "topsecret",
        }
    )
    assert "topsecret" not in repr(settings)
    assert settings.model.api_key == "topsecret"


def test_settings_do_not_change() -> None:
    settings = Settings.read(DEVELOPMENT)
    with pytest.raises(FrozenInstanceError):
        settings.auth = "keys"  # type: ignore[misc]
