"""A trigger's connection resolves as in Azure."""

from __future__ import annotations

import time
from urllib.parse import parse_qs

import pytest

from devhost.functions.bus.address import BusAddress
from devhost.functions.connections import (
    DEVELOPMENT_STORAGE,
    Connection,
    resolve_bus,
    resolve_storage,
)
from devhost.functions.errors import HostError, LoadError


def test_a_setting_of_that_name_holds_the_connection_string() -> None:
    found = resolve_bus("BUS", {"BUS": "Endpoint=x", "BUS__x": "y"}, function="f")
    assert found == Connection(setting="BUS", connection_string="Endpoint=x")
    assert "Endpoint=x" not in repr(found)


def test_the_prefixed_setting_goes_first_and_is_the_default() -> None:
    environment = {"AzureWebJobsStorage": "A=1", "Storage": "A=2"}
    assert resolve_storage("", environment, function="f").connection_string == "A=1"
    assert resolve_storage("STORAGE", environment, function="f").connection_string == "A=1"


def test_suffixes_name_an_identity() -> None:
    environment = {
        "BUS__fullyQualifiedNamespace": "ns.servicebus.windows.net",
        "BUS__credential": "managedidentity",
        "BUS__clientId": "id",
        "AzureWebJobsStorage__accountName": "acc",
    }
    assert resolve_bus("BUS", environment, function="f") == Connection(
        setting="BUS__fullyQualifiedNamespace",
        address="ns.servicebus.windows.net",
        client_id="id",
        managed=True,
    )
    assert resolve_storage("", environment, function="f").address == (
        "https://acc.queue.core.windows.net"
    )


def test_development_storage_is_azurite() -> None:
    found = resolve_storage("S", {"S": "UseDevelopmentStorage=true"}, function="f")
    assert found.connection_string == DEVELOPMENT_STORAGE


def test_a_connection_that_does_not_resolve_is_refused_at_load() -> None:
    with pytest.raises(LoadError, match="set BUS to a connection string, or BUS__fully"):
        resolve_bus("BUS", {}, function="f")


def test_the_emulators_connection_string_speaks_plainly_on_its_port() -> None:
    text = (
        "Endpoint=sb://localhost:5699;SharedAccessKeyName=root;SharedAccessKey=a=b=;"
        "UseDevelopmentEmulator=true;"
    )
    address = BusAddress.of(Connection(setting="BUS", connection_string=text))
    assert (address.host, address.port, address.tls, address.key) == (
        "localhost",
        5699,
        False,
        "a=b=",
    )
    assert address.is_local


def test_a_real_namespace_is_spoken_to_with_tls() -> None:
    text = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=v"
    address = BusAddress.of(Connection(setting="BUS", connection_string=text))
    assert (address.host, address.port, address.tls) == ("ns.servicebus.windows.net", 5671, True)
    identity = BusAddress.of(Connection(setting="BUS__x", address="ns.servicebus.windows.net"))
    assert (identity.port, identity.tls, identity.key) == (5671, True, "")


async def test_a_key_signs_the_audience() -> None:
    text = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=v"
    token = await BusAddress.of(Connection(setting="B", connection_string=text)).make_token("q")
    fields = parse_qs(token.text.removeprefix("SharedAccessSignature "))
    assert token.kind == "servicebus.windows.net:sastoken"
    assert (fields["sr"], fields["skn"]) == (["sb://ns.servicebus.windows.net/q"], ["k"])
    assert 3500 < token.expires - time.time() <= 3600


def test_a_wrong_connection_string_names_its_setting() -> None:
    with pytest.raises(HostError, match="BUS is not a Service Bus connection string"):
        BusAddress.of(Connection(setting="BUS", connection_string="Endpoint=sb://x/"))
