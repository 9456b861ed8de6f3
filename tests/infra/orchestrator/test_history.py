"""history lists the runs, and rollback deploys the commit and the parameters of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.world import DEV, World

# As `az deployment group show --query properties.parameters` prints it.
ROLLBACK_PARAMETERS = {
    "environment": {"type": "String", "value": "dev"},
    "location": {"type": "String", "value": "eastus"},
    "enableB2C": {"type": "Bool", "value": False},
    "monthlyBudget": {"type": "Int", "value": 100},
    "replyQueues": {"type": "Array", "value": ["businessinfinity-responses"]},
    "criticalAlertWebhook": {"type": "SecureString"},
}


def _given(world: World, **changed: str) -> str:
    """Deploy what is committed; the id of the run."""
    sha = world.commit()
    assert world.deploy(git_sha=sha, **changed) == 0, world.said
    return str(world.record()["deployment_id"])


def _second(world: World) -> str:
    (world.infra / "main-modular.bicep").write_text("param environment string // newer\n")
    world.parameters("dev", {**DEV, "functionAppSku": "EP1"})
    return _given(world)


def test_history_lists_the_newest_first_with_state_and_commit(world: World) -> None:
    first, second = _given(world), _second(world)
    assert world.deploy(location="nowhere") == 2
    assert world.run("history") == 0
    lines = world.said.splitlines()
    assert "FAILED" in lines[0]
    assert lines[1].startswith(f"{second}  COMPLETED")
    assert lines[2].startswith(f"{first}  COMPLETED")
    assert lines[3].startswith("3 of 3 runs")


def test_history_of_one_group_as_json(world: World) -> None:
    _given(world)
    assert world.run("history", "--json", "-g", az_output.GROUP, "--limit", "1") == 0
    (record,) = json.loads(world.said)
    assert record["parameter_values"] == DEV
    assert world.run("history", "--json", "-g", "rg-other") == 0
    assert json.loads(world.said) == []


def test_history_says_that_the_chain_is_whole(world: World) -> None:
    _given(world)
    assert world.run("history", "--verify") == 0
    assert "the hashes of all entries are correct" in world.said


def test_recorded_az_history_of_azure_leaves_modules_out(world: World) -> None:
    whole = {**az_output.deployed(world.outputs({})), "name": "aos-dev-1"}
    module = {**az_output.deployed({"id": "x"}), "name": "storage-abc"}
    world.az.answers("deployment group list", [module, whole])
    assert world.run("history", "--azure", "-g", az_output.GROUP) == 0
    assert world.said == "2026-02-13T10:00:00+00:00  Succeeded  aos-dev-1\n"


def test_recorded_az_rollback_deploys_the_commit_and_the_parameters_of_then(world: World) -> None:
    seen = world.az.folder / "seen"
    copies = (
        'for a in "$@"; do [[ -f $a ]] && { echo "== $a"; cat "$a"; }; done >> '
        '"$RECORDING_AZ/seen"\n'
    )
    first = _given(world)
    _second(world)
    done = az_output.deployed(world.outputs({}))
    world.az.answers("deployment group create", done, script=copies)
    assert world.rollback(first) == 0, world.said
    text = seen.read_text()
    assert "param environment string\n" in text
    assert "newer" not in text
    parameters = json.loads(text[text.index("{") :])
    assert parameters["parameters"]["functionAppSku"] == {"value": "Y1"}
    record = world.record()
    assert (record["action"], record["rollback_of"]) == ("rollback", first)
    assert (record["resource_group"], record["location"]) == (az_output.GROUP, "eastus")


def test_recorded_az_rollback_passes_all_gates(world: World) -> None:
    first = _given(world)
    _second(world)
    lost = az_output.change("Delete", "Microsoft.Storage/storageAccounts", "st")
    world.az.answers("deployment group what-if", az_output.what_if(lost))
    assert world.rollback(first) == 3
    world.az.answers("bicep build", {}, err=az_output.LINT_WARNING)
    assert world.rollback(first) == 1


@pytest.mark.parametrize("by", ["id", "part of the id", "commit", "last"])
def test_recorded_az_rollback_finds_the_run(world: World, by: str) -> None:
    first = _given(world)
    sha = world.record()["git_sha"]
    _second(world)
    wanted = {"id": first, "part of the id": first[:-3], "commit": sha[:10], "last": "last"}[by]
    assert world.rollback(wanted, "--dry-run") == 0, world.said
    assert world.record()["rollback_of"] == first


def test_last_is_the_completed_run_before_a_failed_one(world: World) -> None:
    first = _given(world)
    world.az.answers("deployment group create", err=az_output.failed("QuotaExceeded"), code=1)
    assert world.deploy() == 1
    assert world.deploy(location="nowhere") == 2
    assert world.rollback("last", "--dry-run") == 0, world.said
    assert world.record()["rollback_of"] == first


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [("nothing-like-it", "no completed run"), ("last", "no completed run"), ("2026", "begin with")],
)
def test_rollback_that_means_no_one_run_changes_nothing(
    world: World, wanted: str, reason: str
) -> None:
    if wanted == "2026":
        _given(world)
        _second(world)
    before = len(world.az.calls())
    assert world.rollback(wanted) == 2
    assert reason in world.said
    assert len(world.az.calls()) == before


def test_rollback_to_a_commit_that_git_lost_says_so(world: World) -> None:
    world.commit()
    assert world.deploy(git_sha="f" * 40) == 0
    assert world.rollback("f" * 40) == 2
    assert "does not contain infra" in world.said


def _deploy_json(world: World, document: dict[str, Any]) -> list[str]:
    path = world.infra / "rollback-params.json"
    path.write_text(json.dumps(document))
    world.az.answers(
        "deployment group create",
        az_output.deployed(world.outputs({})),
        script='for a in "$@"; do [[ $a == *.json ]] && cat "$a"; done > "$RECORDING_AZ/seen"\n',
    )
    assert world.deploy(parameters=str(path)) == 0, world.said
    return world.az.calls("deployment group create")[-1]


def test_recorded_az_rollback_params_of_the_plan_are_taken_as_they_stand(world: World) -> None:
    created = _deploy_json(world, ROLLBACK_PARAMETERS)
    assert created[created.index("--parameters") + 1].endswith(".parameters.json")
    given = json.loads((world.az.folder / "seen").read_text())
    assert given["$schema"].endswith("deploymentParameters.json#")
    assert given["parameters"] == {
        name: {"value": it["value"]} for name, it in ROLLBACK_PARAMETERS.items() if "value" in it
    }
    assert "the template's default is used: criticalAlertWebhook" in world.said


def test_recorded_az_parameter_file_of_arm_is_given_to_az_itself(world: World) -> None:
    values = {name: {"value": it} for name, it in DEV.items()}
    created = _deploy_json(world, {"contentVersion": "1.0.0.0", "parameters": values})
    path = created[created.index("--parameters") + 1]
    assert path == str(world.infra / "rollback-params.json")


def test_recorded_az_secure_value_in_a_json_file_is_recorded_nowhere(world: World) -> None:
    world.az.answers(
        "bicep build", {"parameters": {"criticalAlertWebhook": {"type": "secureString"}}}
    )
    values = {**DEV, "criticalAlertWebhook": "https://secret-hook"}
    _deploy_json(world, {"parameters": {name: {"value": it} for name, it in values.items()}})
    assert world.record()["parameter_values"] == DEV
    assert b"secret-hook" not in b"".join(it.read_bytes() for it in world.audit.iterdir())
