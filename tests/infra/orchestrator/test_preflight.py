"""What stops a deployment before it asks Azure for changes, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.world import DEV, World

PROD = {
    **DEV,
    "environment": "prod",
    "monthlyBudget": 2000,
    "budgetStartDate": "2026-12-01",
    "allowedIpRanges": ["203.0.113.0/24"],
    "criticalAlertEmails": ["on-call@contoso.example"],
}
B2C = {**PROD, "enableB2C": True}
PREFLIGHT = {"last": "VALIDATING_PARAMETERS", "creates": 0, "code": 2}


def _json(name: str, text: str) -> Scenario:
    return Scenario(
        given=lambda world: (world.infra / name).write_text(text),
        changed={"parameters": name},
        code=2,
        creates=0,
        last="VALIDATING_PARAMETERS",
    )


PREFLIGHTS = {
    "a template that is not there": Scenario(
        changed={"template": "nowhere.bicep"}, says=("nowhere.bicep does not exist",), **PREFLIGHT
    ),
    "a parameter file that is not there": Scenario(
        changed={"parameters": "nowhere.bicepparam"}, says=("--parameters",), **PREFLIGHT
    ),
    "a parameter file of no known kind": Scenario(
        changed={"parameters": __file__}, says=("is not a .bicepparam or .json file",), **PREFLIGHT
    ),
    "a parameter file with an error names file and line": Scenario(
        given=lambda w: w.az.answers("bicep build-params", err=az_output.PARAM_ERROR, code=1),
        says=("dev.bicepparam:4", "BCP259"),
        **PREFLIGHT,
    ),
    "build-params that says something else": Scenario(
        given=lambda w: w.az.answers("bicep build-params", {"something": "else"}), **PREFLIGHT
    ),
    "a parameter file that names no environment": Scenario(
        given=lambda w: w.parameters("dev", {"location": "eastus"}),
        says=("does not set the parameter environment",),
        **PREFLIGHT,
    ),
    "no Bicep CLI": Scenario(
        given=lambda w: w.az.answers("bicep version", err="ERROR: Bicep CLI not found.\n", code=1),
        says=("az bicep install",),
        **PREFLIGHT,
    ),
    "nobody logged in": Scenario(
        given=lambda w: w.az.answers("account show", err=az_output.NOT_LOGGED_IN, code=1),
        says=("az login",),
        **PREFLIGHT,
    ),
    "no network is environmental and was tried again": Scenario(
        given=lambda w: w.az.answers("account show", err=az_output.NO_NETWORK, code=1),
        code=5,
        creates=0,
        last="VALIDATING_PARAMETERS",
        waits=[15.0, 30.0, 60.0],
    ),
    "a commit id that is none": Scenario(
        changed={"git_sha": ""}, says=("is not a commit id",), **PREFLIGHT
    ),
    "a region that does not exist": Scenario(
        given=lambda w: w.parameters("dev", {**DEV, "location": "moonbase"}),
        changed={"location": "moonbase"},
        says=("no region moonbase",),
        **PREFLIGHT,
    ),
    "a region other than that of the parameter file": Scenario(
        changed={"location": "westus"}, says=("deploys to eastus",), **PREFLIGHT
    ),
    "no resource group names the command that makes it": Scenario(
        given=lambda w: w.az.answers("group exists", "false\n"),
        says=("az group create --name rg-aos-dev", "environment=dev project=aos owner=ops@"),
        **PREFLIGHT,
    ),
    "no resource group and a dry run changes nothing": Scenario(
        given=lambda w: w.az.answers("group exists", "false\n"),
        flags=("--create-resource-group", "--dry-run"),
        **PREFLIGHT,
    ),
    "a reader lacks both roles": Scenario(
        given=lambda w: w.az.answers("role assignment list", [{"roleDefinitionName": "Reader"}]),
        says=("lacks Contributor and User Access Administrator",),
        **PREFLIGHT,
    ),
    "a contributor lacks the right to assign roles": Scenario(
        given=lambda w: w.az.answers(
            "role assignment list", [{"roleDefinitionName": "Contributor"}]
        ),
        says=("lacks User Access Administrator",),
        **PREFLIGHT,
    ),
    "warnings are never allowed in prod": Scenario(
        given=lambda w: w.parameters("dev", {**DEV, "environment": "prod"}),
        flags=("--allow-warnings",),
        says=("--allow-warnings is not allowed for prod",),
        **PREFLIGHT,
    ),
    "sign-in without its ids says which are missing": Scenario(
        given=lambda w: w.parameters("dev", {**B2C, "signInIssuer": "https://issuer"}),
        says=("signInClientId (AOS_B2C_CLIENT_ID)",),
        **PREFLIGHT,
    ),
    "production without a budget's start": Scenario(
        given=lambda w: w.parameters("dev", {**PROD, "budgetStartDate": ""}),
        says=("budgetStartDate (AOS_BUDGET_START) is missing: write the first day",),
        **PREFLIGHT,
    ),
    "production whose budget starts within a month": Scenario(
        given=lambda w: w.parameters("dev", {**PROD, "budgetStartDate": "2026-12-15"}),
        says=("budgetStartDate (AOS_BUDGET_START) is '2026-12-15'",),
        **PREFLIGHT,
    ),
    "production whose budget starts in no month": Scenario(
        given=lambda w: w.parameters("dev", {**PROD, "budgetStartDate": "2026-13-01"}),
        says=("is '2026-13-01'",),
        **PREFLIGHT,
    ),
    "production that says nothing of a budget": Scenario(
        given=lambda w: w.parameters(
            "dev", {name: it for name, it in PROD.items() if name != "monthlyBudget"}
        ),
        says=("monthlyBudget: write an amount for each month, or 0",),
        **PREFLIGHT,
    ),
    "production without address ranges": Scenario(
        given=lambda w: w.parameters("dev", {**PROD, "allowedIpRanges": []}),
        says=("allowedIpRanges (AOS_ALLOWED_IP_RANGES) is missing", "0.0.0.0/0 to let everybody"),
        **PREFLIGHT,
    ),
    "production with a range that is none": Scenario(
        given=lambda w: w.parameters(
            "dev", {**PROD, "allowedIpRanges": ["203.0.113.0/24", "203.0.113.7", "office"]}
        ),
        says=("has '203.0.113.7', 'office'",),
        **PREFLIGHT,
    ),
    "production that tells nobody of what is critical": Scenario(
        given=lambda w: w.parameters("dev", {**PROD, "criticalAlertEmails": []}),
        says=("criticalAlertEmails (AOS_ALERT_EMAILS) is missing, so nobody is told",),
        **PREFLIGHT,
    ),
    "production names all that it leaves open at once": Scenario(
        given=lambda w: w.parameters(
            "dev",
            {**PROD, "budgetStartDate": "", "allowedIpRanges": [], "criticalAlertEmails": []},
        ),
        says=("AOS_BUDGET_START", "AOS_ALLOWED_IP_RANGES", "AOS_ALERT_EMAILS"),
        **PREFLIGHT,
    ),
    "JSON that is none names the line": _json("p.json", '{\n  "environment": oops\n}'),
    "JSON that is a list": _json("p.json", "[]"),
    "JSON that is empty": _json("p.json", "{}"),
    "JSON whose parameters are bare values": _json("p.json", '{"environment": "dev"}'),
}
PASSES = {
    "production that says who may call and what it may cost": Scenario(
        given=lambda w: w.parameters("dev", PROD)
    ),
    "production that says that everybody may call and that it has no budget": Scenario(
        given=lambda w: w.parameters(
            "dev",
            {
                **PROD,
                "monthlyBudget": 0,
                "budgetStartDate": "",
                "allowedIpRanges": ["0.0.0.0/0", "::/0"],
            },
        )
    ),
    "production whose alerts go to a group that exists": Scenario(
        given=lambda w: w.parameters(
            "dev", {**PROD, "criticalAlertEmails": [], "actionGroupId": "/subscriptions/s/a"}
        )
    ),
    "development without either": Scenario(given=lambda w: w.parameters("dev", DEV)),
    "a first deployment": Scenario(says=("subscription: Contoso Dev", "commit: 0123456789")),
    "contributor and user access administrator are enough": Scenario(
        given=lambda w: w.az.answers(
            "role assignment list",
            [
                {"roleDefinitionName": "Contributor"},
                {"roleDefinitionName": "User Access Administrator"},
            ],
        )
    ),
    "roles that cannot be read only warn": Scenario(
        given=lambda w: w.az.answers(
            "role assignment list",
            err=az_output.service_error("Authorization_RequestDenied"),
            code=1,
        ),
        says=("your roles could not be read",),
    ),
    "custom roles pass when told so": Scenario(
        given=lambda w: w.az.answers("role assignment list", []), flags=("--skip-rights",)
    ),
    "a missing group is created when asked": Scenario(
        given=lambda w: (w.az.answers("group exists", "false\n"), w.az.answers("group create")),
        flags=("--create-resource-group",),
        says=("created",),
    ),
    "a region without a row warns": Scenario(
        given=lambda w: w.parameters("dev", {**DEV, "location": "newregion"}),
        changed={"location": "newregion"},
        says=("the region is not in REGIONAL_REQUIREMENTS.md",),
    ),
    "a region written as people do": Scenario(changed={"location": "East US"}),
    "throttled while it asks for the group": Scenario(
        given=lambda w: (
            w.az.answers("group exists", err=az_output.service_error("TooManyRequests"), code=1),
            w.az.then("group exists", "true\n"),
        ),
        waits=[15.0],
    ),
}


@table(PREFLIGHTS)
def test_recorded_az_preflight_stops_before_anything_is_asked_of_azure(
    world: World, row: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.infra)
    play(world, row)
    assert world.az.calls("deployment") == []


@table(PASSES)
def test_recorded_az_lets_pass(world: World, row: Scenario) -> None:
    play(world, row)


def test_secure_parameters_are_recorded_nowhere(world: World) -> None:
    world.parameters("dev", DEV, criticalAlertWebhook="https://secret-hook")
    assert world.deploy() == 0
    assert world.record()["parameter_values"] == DEV
    kept = b"".join(path.read_bytes() for path in world.audit.iterdir())
    assert b"secret-hook" not in kept + world.said.encode()


@pytest.mark.parametrize("name", ["records", "modules", ".cache/records"])
def test_recorded_az_audit_folder_may_be_anywhere(world: World, name: str) -> None:
    """What a run writes down is no template, wherever it lies."""
    world.audit = world.infra / name
    assert world.deploy() == 0, world.said


@pytest.mark.parametrize("where", ["infra", "."])
def test_paths_are_seen_from_the_current_folder(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = world.repository / where
    monkeypatch.chdir(folder)
    inside = Path("infra") if where == "." else Path()
    code = world.deploy(
        template=str(inside / "main-modular.bicep"),
        parameters=str(inside / "parameters" / "dev.bicepparam"),
    )
    assert code == 0
    assert world.record()["template"] == str(world.infra / "main-modular.bicep")


def test_commit_is_head_and_a_dirty_tree_is_recorded(world: World) -> None:
    sha = world.commit()
    given = ("-g", az_output.GROUP, "-l", "eastus", "-t", str(world.infra / "main-modular.bicep"))
    parameters = ("-p", str(world.infra / "parameters" / "dev.bicepparam"))
    assert world.run(*given, *parameters) == 0
    assert world.record()["git"] == {"head": sha, "dirty": False}
    (world.infra / "modules" / "late.bicep").write_text("// not committed\n")
    assert world.run(*given, *parameters) == 0
    assert (world.record()["git_sha"], world.record()["git"]["dirty"]) == (sha, True)
    assert "differ from the commit" in world.said
