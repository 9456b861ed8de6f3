"""Names are valid for their services, and the region table is the same everywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.bicep_cli import INFRA
from tests.infra.inventory import Inventory

# Microsoft's rules: allowed form, longest.
RULES = {
    "functionApps": (r"[a-z0-9][a-z0-9-]*[a-z0-9]", 60),
    "identities": (r"[A-Za-z0-9][A-Za-z0-9_-]*", 128),
    "hostStorage": (r"[a-z0-9]{3,}", 24),
    "dataStorage": (r"[a-z0-9]{3,}", 24),
    "serviceBus": (r"[A-Za-z](?:-?[A-Za-z0-9])+(?<!-sb)(?<!-mgmt)", 50),
    "keyVault": (r"[A-Za-z](?:-?[A-Za-z0-9])+", 24),
    "mcpKeyVault": (r"[A-Za-z](?:-?[A-Za-z0-9])+", 24),
    "plan": (r"[A-Za-z0-9-]+", 60),
    "workspace": (r"[A-Za-z0-9][A-Za-z0-9-]+[A-Za-z0-9]", 63),
    "insights": (r"[A-Za-z0-9._-]+[A-Za-z0-9_-]", 255),
    "workbook": (r".+", 255),
    "mlWorkspace": (r"[A-Za-z0-9][A-Za-z0-9_-]{2,}", 33),
    "containerRegistry": (r"[A-Za-z0-9]{5,}", 50),
    "network": (r"[A-Za-z0-9][A-Za-z0-9._-]+[A-Za-z0-9_]", 64),
    "cosmos": (r"[a-z0-9](?:-?[a-z0-9])+", 44),
    "backupVault": (r"[A-Za-z][A-Za-z0-9-]+[A-Za-z0-9]", 50),
    "frontDoor": (r"[A-Za-z0-9](?:-?[A-Za-z0-9])+", 260),
    "frontDoorEndpoint": (r"[A-Za-z0-9](?:-?[A-Za-z0-9])+", 46),
    "eventTopic": (r"[A-Za-z0-9-]{3,}", 50),
    "budget": (r"[A-Za-z0-9_-]+", 63),
}
UNIQUE_IN_THE_WORLD = (
    "dataStorage",
    "serviceBus",
    "keyVault",
    "mcpKeyVault",
    "containerRegistry",
    "cosmos",
    "frontDoorEndpoint",
)
TIER_1 = {"eastus", "eastus2", "westus2", "westeurope", "northeurope", "southeastasia"}


@pytest.fixture(scope="session")
def probe(snapshots: dict[str, dict[str, Any]]) -> dict[str, Any]:
    outputs: dict[str, Any] = snapshots["probe"]["outputs"]
    return outputs


def test_every_name_fits_in_every_environment_with_every_suffix(probe: dict[str, Any]) -> None:
    for names in (*probe["dev"], *probe["staging"], *probe["prod"]):
        assert names.keys() == RULES.keys()
        for kind, (form, longest) in RULES.items():
            for name in [names[kind]] if isinstance(names[kind], str) else names[kind].values():
                assert re.fullmatch(form, name), (kind, name)
                assert len(name) <= longest, (kind, name)


def test_names_that_are_cut_keep_their_unique_end(probe: dict[str, Any]) -> None:
    for names in (*probe["dev"], *probe["staging"], *probe["prod"]):
        for kind in UNIQUE_IN_THE_WORLD:
            assert names[kind].endswith("abcdef"), (kind, names[kind])
        assert all(name.endswith("abcdef") for name in names["hostStorage"].values())


def test_the_names_are_those_of_the_plan(environments: dict[str, Inventory]) -> None:
    for environment, inventory in environments.items():
        outputs = inventory.outputs
        tight = environment.replace("-", "")
        assert outputs["functionAppNames"] == {
            "main": f"aos-{environment}-func",
            "mcp": f"aos-{environment}-mcp-func",
            "realm": f"aos-{environment}-realm-func",
        }
        assert outputs["appInsightsName"] == f"appi-aos-{environment}"
        assert re.fullmatch(rf"staosdata{tight}\w{{6}}", outputs["storageAccountName"])
        assert re.fullmatch(rf"sb-aos-{environment}-\w{{6}}", outputs["serviceBusName"])
        assert re.fullmatch(rf"kv-aos-{environment}-\w{{6}}", outputs["keyVaultName"])
        assert re.fullmatch(rf"kv-aosmcp-{environment}-\w{{6}}", outputs["mcpKeyVaultName"])


def test_the_second_region_shares_no_name_that_is_unique_in_the_world(
    environments: dict[str, Inventory],
) -> None:
    kinds = (
        "Microsoft.Web/sites",
        "Microsoft.Storage/storageAccounts",
        "Microsoft.KeyVault/vaults",
        "Microsoft.ServiceBus/namespaces",
    )
    for kind in kinds:
        first, second = environments["prod"].of(kind), environments["prod-dr"].of(kind)
        assert first.keys().isdisjoint(second), kind


def test_the_document_shows_the_table_of_the_template(probe: dict[str, Any]) -> None:
    text = (INFRA / "REGIONAL_REQUIREMENTS.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d) \| (yes|no) \| (yes|no) \| (yes|no) \|$", text, re.M)
    shown = {
        name: {
            "tier": int(tier),
            "azureML": ml == "yes",
            "functionsPremium": premium == "yes",
            "serviceBusPremium": bus == "yes",
        }
        for name, tier, ml, premium, bus in rows
    }
    assert shown == probe["regions"]
    assert len(rows) == len(shown)


def test_the_regions_of_tier_1_can_do_everything(probe: dict[str, Any]) -> None:
    tier_1 = {name: can for name, can in probe["regions"].items() if can["tier"] == 1}
    assert tier_1.keys() == TIER_1
    for can in tier_1.values():
        assert can == {
            "tier": 1,
            "azureML": True,
            "functionsPremium": True,
            "serviceBusPremium": True,
        }


def test_a_region_is_known_by_its_display_name_too(probe: dict[str, Any]) -> None:
    assert probe["displayName"] == probe["regions"]["westus2"]


def test_an_unknown_region_promises_nothing(probe: dict[str, Any]) -> None:
    assert probe["unknown"] == {
        "tier": 2,
        "azureML": False,
        "functionsPremium": False,
        "serviceBusPremium": False,
    }


def test_every_warning_is_explained(environments: dict[str, Inventory]) -> None:
    text = (INFRA / "REGIONAL_REQUIREMENTS.md").read_text()
    for warning in environments["dev"].outputs["deploymentWarnings"]:
        assert f"`{warning}`" in text
