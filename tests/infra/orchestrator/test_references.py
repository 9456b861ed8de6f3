"""Unresolved references to the vault are refreshed after a deployment.

Under an az that records and answers from fixtures: it shows what deploy.py asks for, not that
Azure does it.
"""

from __future__ import annotations

from typing import Any

from infra.orchestrator.vault_references import ROUNDS
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.world import APPS, World

LOOKS_FOR_EVERY_SITE = 3


def _reference(status: str, *, setting: str = "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING") -> Any:
    properties = {"reference": "@Microsoft.KeyVault(...)", "status": status}
    secret = {"secretName": "ContentShareConnectionString-main", "vaultName": "kv"}
    return {"name": setting, "properties": {**properties, **secret}}


def _statuses(world: World, *answers: Any) -> None:
    """What the first site says of its references, time after time; the others have none."""
    first, *others = answers
    world.az.answers("rest@appsettings", {"value": first})
    for _ in range(LOOKS_FOR_EVERY_SITE - 1):
        world.az.then("rest@appsettings", {"value": []})
    for answer in others:
        world.az.then("rest@appsettings", {"value": answer})


def _refreshes(world: World) -> list[str]:
    """The addresses of every refresh, in order."""
    posted = [it for it in world.az.calls("rest") if "post" in it]
    uris = [it[it.index("--uri") + 1] for it in posted]
    return [uri for uri in uris if "/refresh?" in uri]


def _refreshed(world: World) -> list[str]:
    """The sites that were refreshed, in order."""
    return [uri.partition("/sites/")[2].partition("/config/")[0] for uri in _refreshes(world)]


def test_recorded_az_reference_that_the_first_deployment_left_unresolved_is_refreshed(
    world: World,
) -> None:
    _statuses(world, [_reference("AccessToKeyVaultDenied")], [_reference("Resolved")])
    assert world.deploy() == 0
    assert _refreshed(world) == [APPS["main"]]
    assert world.record()["refreshed_references"] == [APPS["main"]]
    assert "is not resolved" not in world.said
    assert _refreshes(world) == [
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{az_output.GROUP}/providers/Microsoft.Web"
        f"/sites/{APPS['main']}/config/configreferences/appsettings/refresh"
        "?api-version=2025-03-01"
    ]


def test_recorded_az_references_that_are_resolved_are_left_alone(world: World) -> None:
    _statuses(world, [_reference("Resolved")])
    assert world.deploy() == 0
    assert _refreshed(world) == []
    assert world.clock.waits == []


def test_recorded_az_slot_resolves_its_references_apart_from_its_site(world: World) -> None:
    outputs = world.outputs({}, stagingSlotName="staging")
    world.az.answers("deployment group create", az_output.deployed(outputs))
    world.az.answers("rest@appsettings", {"value": [_reference("MSINotEnabled")]})
    for _ in range(2 * len(APPS) - 1):
        world.az.then("rest@appsettings", {"value": [_reference("MSINotEnabled")]})
    world.az.then("rest@appsettings", {"value": []})
    assert world.deploy() == 0
    sites = [*APPS.values(), *(f"{name}/slots/staging" for name in APPS.values())]
    assert _refreshed(world) == sorted(sites)


def test_recorded_az_role_that_never_holds_is_waited_for_so_long_and_named(world: World) -> None:
    _statuses(world, [_reference("AccessToKeyVaultDenied")], [_reference("AccessToKeyVaultDenied")])
    assert world.deploy() == 0
    assert _refreshed(world) == [APPS["main"]] * ROUNDS
    assert world.clock.waits == [10.0] * ROUNDS
    assert (
        f"{APPS['main']}: the setting WEBSITE_CONTENTAZUREFILECONNECTIONSTRING is not resolved "
        "(AccessToKeyVaultDenied)"
    ) in world.said


def test_recorded_az_secret_that_nobody_put_in_is_named_and_not_waited_for(world: World) -> None:
    missing = [_reference("SecretNotFound", setting="AOS_MODEL_API_KEY")]
    _statuses(world, missing, missing)
    assert world.deploy() == 0
    assert _refreshed(world) == [APPS["main"]]
    assert "the setting AOS_MODEL_API_KEY is not resolved (SecretNotFound)" in world.said
    assert "put ContentShareConnectionString-main into the vault" in world.said


def test_recorded_az_references_that_cannot_be_read_only_warn(world: World) -> None:
    world.az.answers("rest@appsettings", err=az_output.service_error("AuthorizationFailed"), code=1)
    assert world.deploy() == 0
    assert "its references to the vault could not be read" in world.said
    assert _refreshed(world) == []


def test_recorded_az_refresh_that_is_refused_only_warns(world: World) -> None:
    _statuses(world, [_reference("Initialized")], [_reference("Resolved")])
    world.az.answers("rest@refresh", err=az_output.service_error("Forbidden"), code=1)
    assert world.deploy() == 0
    assert "were not refreshed" in world.said
