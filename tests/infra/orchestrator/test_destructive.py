"""A destructive change is applied only after a confirmation; other changes need none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.az_output import change, edit
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.world import FakeTerminal, World

BUS = "Microsoft.ServiceBus/namespaces"
STORAGE = "Microsoft.Storage/storageAccounts"
PLAN = "Microsoft.Web/serverfarms"
SITE = "Microsoft.Web/sites"
QUEUE = f"{BUS}/queues"
VAULT = "Microsoft.KeyVault/vaults"
LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    "a resource is deleted": (change("Delete", STORAGE, "st"), "st: is deleted"),
    "a kind of change that nobody knows": (change("Explode", BUS, "sb"), "'explode'"),
    "a property of a queue is removed": (
        change("Modify", f"{BUS}/queues", "sb/aos-main", edit("Delete", "properties.lockDuration")),
        "the property properties.lockDuration is removed",
    ),
    "a rule within a list of a store is removed": (
        change(
            "Modify",
            STORAGE,
            "st",
            edit("Array", "properties.rules", None, None, edit("Delete", "0", {"id": 1})),
        ),
        "properties.rules.0",
    ),
    "a setting of an app is removed": (
        change("Modify", f"{SITE}/config", "f/appsettings", edit("Delete", "properties.X")),
        "the setting properties.X is removed",
    ),
    "a setting within a site is removed": (
        change("Modify", SITE, "f", edit("Delete", "properties.siteConfig.appSettings.X")),
        "the setting",
    ),
    "sessions are switched on": (
        change("Modify", QUEUE, "sb/q", edit("Modify", "properties.requiresSession", False, True)),
        "Azure cannot change this in place",
    ),
    "duplicate detection is switched off": (
        change(
            "Modify", f"{BUS}/queues", "sb/q",
            edit("Modify", "properties.requiresDuplicateDetection", True, False),
        ),
        "Azure cannot change this in place",
    ),
    "a namespace becomes Premium": (
        change("Modify", BUS, "sb", edit("Modify", "sku.name", "Standard", "Premium")),
        "cannot change the tier of a namespace in place",
    ),
    "a store is moved": (
        change("Modify", STORAGE, "st", edit("Modify", "location", "eastus", "westus")), "in place"
    ),
    "a plan becomes smaller": (
        change("Modify", PLAN, "p", edit("Modify", "sku.name", "EP2", "EP1")), "a smaller SKU"
    ),
    "a plan becomes Consumption": (
        change("Modify", PLAN, "p", edit("Modify", "sku.name", "EP1", "Y1")), "a smaller SKU"
    ),
    "a plan becomes Flex Consumption": (
        change("Modify", PLAN, "p", edit("Modify", "sku.name", "Y1", "FC1")), "Flex Consumption"
    ),
    "a store is no longer copied to another region": (
        change("Modify", STORAGE, "st", edit("Modify", "sku.name", "Standard_GRS", "Standard_LRS")),
        "a smaller SKU",
    ),
    "deleted blobs are kept for fewer days": (
        change(
            "Modify", f"{STORAGE}/blobServices", "st/default",
            edit("Modify", "properties.deleteRetentionPolicy.days", 30, 7),
        ),
        "a smaller value",
    ),
    "versioning is switched off": (
        change(
            "Modify", f"{STORAGE}/blobServices", "st/default",
            edit("Modify", "properties.isVersioningEnabled", True, False),
        ),
        "a protection is switched off",
    ),
    "a queue is no longer deleted when it is idle": (
        change("Modify", QUEUE, "sb/q", edit("Delete", "properties.autoDeleteOnIdle", "P7D")),
        "the property properties.autoDeleteOnIdle is removed",
    ),
    "a queue that was disabled by hand": (
        change("Modify", QUEUE, "sb/q", edit("Delete", "properties.status", "Disabled")),
        "the property properties.status is removed",
    ),
    "a number where Azure has a truth value": (
        change("Modify", QUEUE, "sb/q", edit("Delete", "properties.enableBatchedOperations", 1)),
        "is removed",
    ),
    "purge protection is switched off": (
        change("Modify", VAULT, "kv", edit("Modify", "properties.enablePurgeProtection", True, 0)),
        "a protection is switched off",
    ),
}  # fmt: skip
NOISE: dict[str, dict[str, Any]] = {
    "nothing changes": change("NoChange", STORAGE, "st"),
    "a resource of somebody else": change("Ignore", STORAGE, "theirs"),
    "a new resource": change("Create", f"{BUS}/queues", "sb/q"),
    "a tag is removed": change("Modify", STORAGE, "st", edit("Delete", "tags.old")),
    "a property without effect": change("Modify", STORAGE, "st", edit("NoEffect", "properties.x")),
    "a property of an alert is removed": change(
        "Modify", "Microsoft.Insights/metricAlerts", "a", edit("Delete", "properties.x")
    ),
    "a plan becomes larger": change("Modify", PLAN, "p", edit("Modify", "sku.name", "EP1", "EP2")),
    "more days are kept": change("Modify", STORAGE, "st", edit("Modify", "properties.days", 7, 30)),
    "a protection is switched on": change(
        "Modify", VAULT, "kv", edit("Modify", "properties.enablePurgeProtection", False, True)
    ),
    "a role that what-if cannot foresee": change(
        "Unsupported", "Microsoft.Authorization/roleAssignments", "r", reason="reference()"
    ),
    "Azure's own values of a queue": change(
        "Modify", QUEUE, "sb/q",
        edit("Delete", "properties.autoDeleteOnIdle", "P10675199DT2H48M5.4775807S"),
        edit("Delete", "properties.enableBatchedOperations", True),
        edit("Delete", "properties.status", "Active"),
    ),
    "Azure's own values of a subscription": change(
        "Modify", f"{BUS}/topics/subscriptions", "sb/t/s",
        edit("Delete", "properties.deadLetteringOnMessageExpiration", False),
    ),
    "the place of a rule": change(
        "Modify", f"{BUS}/queues/authorizationRules", "sb/q/r", edit("Delete", "location", "North")
    ),
    "Azure's own values of a component": change(
        "Modify", "Microsoft.Insights/components", "a",
        edit("Delete", "properties.publicNetworkAccessForQuery", "Enabled"),
    ),
    "what Azure says of a workspace": change(
        "Modify", "Microsoft.OperationalInsights/workspaces", "w",
        edit("Delete", "properties.createdDate", "Wed, 01 Jul 2020 09:51:43 GMT"),
        edit("Modify", "properties.features", None, None, edit("Delete", "legacy", 0)),
    ),
}  # fmt: skip
A_LOSS = az_output.what_if(change("Delete", STORAGE, "st"))


def _foresees(document: dict[str, Any]) -> Any:
    return lambda world: world.az.answers("deployment group what-if", document)


ASKED = {"given": _foresees(A_LOSS), "last": "AWAITING_CONFIRMATION", "creates": 0}
CONFIRMATIONS = {
    "nobody there": Scenario(code=3, says=("run again with --yes",), **ASKED),
    "no": Scenario(answer="n", code=4, **ASKED),
    "an empty line": Scenario(answer="", code=4, **ASKED),
    "something else": Scenario(answer="yess", code=4, **ASKED),
    "y": Scenario(given=_foresees(A_LOSS), answer="y"),
    "yes": Scenario(given=_foresees(A_LOSS), answer="yes"),
    "nobody there but --yes": Scenario(given=_foresees(A_LOSS), flags=("--yes",)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_recorded_az_a_loss_is_asked_about(world: World, name: str) -> None:
    foreseen, shown = LOSSES[name]
    world.az.answers("deployment group what-if", az_output.what_if(foreseen))
    assert world.deploy() == 3
    assert world.az.calls("deployment group create") == []
    assert "DESTRUCTIVE (1)" in world.said
    assert shown in world.said
    (kept,) = world.audit.glob("*.plan.json")
    assert len(json.loads(kept.read_text())["destructive"]) == 1


@pytest.mark.parametrize("name", NOISE)
def test_recorded_az_noise_is_not_asked_about(world: World, name: str) -> None:
    world.az.answers("deployment group what-if", az_output.what_if(NOISE[name]))
    assert world.deploy() == 0
    assert "DESTRUCTIVE" not in world.said


def test_known_noise_is_shown_with_its_source(world: World) -> None:
    foreseen = az_output.what_if(NOISE["Azure's own values of a queue"])
    world.az.answers("deployment group what-if", foreseen)
    assert world.deploy() == 0
    source = "https://github.com/Azure/arm-template-whatif/issues/303"
    assert f"delete properties.status (known noise of what-if: {source})" in world.said


@table(CONFIRMATIONS)
def test_recorded_az_destructive_changes_need_a_yes(world: World, row: Scenario) -> None:
    play(world, row)


def test_a_possible_loss_is_asked_about_too(world: World) -> None:
    world.az.answers(
        "deployment group what-if",
        az_output.what_if(potentialChanges=[change("Delete", STORAGE, "st")]),
    )
    assert world.deploy() == 3
    assert "is deleted (possibly)" in world.said


def test_who_confirmed_is_recorded(world: World) -> None:
    world.az.answers("deployment group what-if", A_LOSS)
    world.terminal = FakeTerminal("y")
    assert world.deploy() == 0
    assert world.record()["confirmed_by"] == "terminal"
    assert world.terminal.questions == ["   Apply 1 destructive changes? [y/N] "]
    assert world.deploy("--yes") == 0
    assert world.record()["confirmed_by"] == "--yes"


def test_recorded_az_a_stack_asks_before_it_deletes_and_deploys_as_one(world: World) -> None:
    world.az.answers(
        "stack-whatif group create", az_output.stack_what_if(change("Delete", STORAGE, "st"))
    )
    done = az_output.deployed(world.outputs({}))["properties"]
    world.az.answers("stack group create", {**done, "provisioningState": "succeeded"})
    assert world.deploy("--stack") == 3
    assert world.az.calls("stack group create") == []
    assert world.deploy("--stack", "--yes") == 0
    (created,) = world.az.calls("stack group create")
    assert created[3:5] == ["--name", "aos-dev"]
    assert "--yes" in created
    assert created[created.index("--action-on-unmanage") + 1] == "deleteResources"
    assert world.az.calls("deployment group") == []


@pytest.mark.parametrize(
    "answer", [{}, {"properties": {}}, az_output.stack_what_if(provisioningState="failed"), "text"]
)
def test_recorded_az_what_if_of_a_stack_that_failed_never_deploys(
    world: World, answer: Any
) -> None:
    world.az.answers("stack-whatif group create", answer)
    assert world.deploy("--stack", "--yes") == 1
    assert world.az.calls("stack group create") == []
