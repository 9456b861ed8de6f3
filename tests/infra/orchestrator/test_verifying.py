"""A deployment succeeds only when everything is healthy. Apps answer on a real port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.orchestrator.audit import find_faults, read_records
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.site import Site
from tests.infra.orchestrator.world import World

BAD = {"code": 6}
HEALTHY = (200, {"status": "healthy", "timestamp": "t"})
DOWN = (503, {"status": "unhealthy", "checks": {"tables": "down"}})


def _resources(*states: Any) -> list[dict[str, Any]]:
    return [
        {"type": "Microsoft.Storage/storageAccounts", "name": f"st{i}", "provisioningState": it}
        for i, it in enumerate(states)
    ]


def _availability(state: str) -> dict[str, Any]:
    where = az_output.resource("Microsoft.Web/sites", "aos-dev-func")
    identity = f"{where}/providers/Microsoft.ResourceHealth/availabilityStatuses/current"
    return {
        "value": [{"id": identity, "properties": {"availabilityState": state, "summary": "why"}}]
    }


RESOURCES = {
    "every resource succeeded": Scenario(
        given=lambda w: w.az.answers("resource list", _resources("Succeeded", "Succeeded"))
    ),
    "a resource without a state": Scenario(
        given=lambda w: w.az.answers("resource list", _resources(None))
    ),
    "a resource failed": Scenario(
        given=lambda w: w.az.answers("resource list", _resources("Succeeded", "Failed")),
        says=("st1: Failed",),
        **BAD,
    ),
    "a resource is still made and then ready": Scenario(
        given=lambda w: (
            w.az.answers("resource list", _resources("Updating")),
            w.az.then("resource list", _resources("Succeeded")),
        ),
        waits=[10.0],
    ),
    "a resource is made for ever": Scenario(
        given=lambda w: w.az.answers("resource list", _resources("Creating")),
        flags=("--health-timeout", "35"),
        waits=[10.0] * 4,
        says=("st0: Creating",),
        **BAD,
    ),
    "resources that cannot be listed": Scenario(
        given=lambda w: w.az.answers("resource list", err=az_output.NO_NETWORK, code=1),
        flags=("--health-timeout", "5"),
        **BAD,
    ),
    "resources that nobody may list are not waited for": Scenario(
        given=lambda w: w.az.answers(
            "resource list", err=az_output.service_error("AuthorizationFailed"), code=1
        ),
        waits=[],
        says=("AuthorizationFailed",),
        **BAD,
    ),
    "the platform calls one unavailable": Scenario(
        given=lambda w: w.az.answers("rest", _availability("Unavailable")),
        says=("Microsoft.Web/sites/aos-dev-func: Unavailable: why",),
        **BAD,
    ),
    "the platform does not know": Scenario(
        given=lambda w: w.az.answers("rest", _availability("Unknown"))
    ),
    "the platform cannot be asked": Scenario(
        given=lambda w: w.az.answers("rest", err=az_output.service_error("Forbidden"), code=1),
        says=("unknown   resource health",),
    ),
    "no code yet is no failure and says what to do": Scenario(
        says=("bash infra/publish.sh rg-aos-dev main mcp realm",)
    ),
    "no code yet where apps are required": Scenario(
        flags=("--require-apps",), says=("no code   app aos-dev-func",), **BAD
    ),
}


@table(RESOURCES)
def test_recorded_az_resources(world: World, row: Scenario) -> None:
    play(world, row)


def _published(world: World, site: Site, **outputs: Any) -> None:
    world.az.answers("functionapp function list", [{"name": "health"}])
    world.az.answers(
        "deployment group create", az_output.deployed(world.outputs(site.urls(), **outputs))
    )


@pytest.mark.parametrize(
    ("answers", "flags", "code", "shown"),
    [
        pytest.param([HEALTHY], ("--require-apps",), 0, "healthy   app aos-dev-func", id="healthy"),
        pytest.param([DOWN, DOWN, HEALTHY], (), 0, "healthy", id="starting_and_then_healthy"),
        pytest.param([DOWN], (), 6, '503 {"status": "unhealthy"', id="a_dependency_is_down"),
        pytest.param([(200, "<html>")], (), 6, "answers 200 {}", id="not_our_app"),
        pytest.param([(404, "none")], (), 6, "answers 404", id="another_app"),
        pytest.param([(403, "no")], (), 0, "access restrictions", id="closed_to_us"),
        pytest.param([(403, "no")], ("--require-apps",), 6, "403", id="closed_but_required"),
        pytest.param([(200, {**HEALTHY[1], "paused": True})], (), 0, "paused", id="paused"),
    ],
)
def test_recorded_az_app_with_code(
    world: World, site: Site, answers: Any, flags: tuple[str, ...], code: int, shown: str
) -> None:
    _published(world, site)
    site.answers("main", *answers)
    assert world.deploy("--health-timeout", "60", *flags) == code
    assert shown in world.said
    assert "/main/api/health" in site.asked


NO_HOST = "ERROR: Encountered an error (ServiceUnavailable) from host runtime.\n"
NEW_SITE = az_output.change("Create", "Microsoft.Web/sites", "aos-dev-func")


@pytest.mark.parametrize(
    ("changes", "answer", "code"),
    [
        pytest.param([NEW_SITE], (503, "Function host is not running."), 0, id="made_just_now"),
        pytest.param([], (503, "Function host is not running."), 6, id="it_stood_before"),
        pytest.param([NEW_SITE], DOWN, 6, id="its_code_answers"),
    ],
)
def test_recorded_az_new_app_whose_host_cannot_start_has_no_code_yet(
    world: World, site: Site, changes: Any, answer: Any, code: int
) -> None:
    """Without code a host may not run, and then az cannot list the functions either."""
    _published(world, site)
    world.az.answers("deployment group what-if", az_output.what_if(*changes))
    world.az.answers("functionapp function list", err=NO_HOST, code=1)
    site.answers("main", answer)
    assert world.deploy("--health-timeout", "5") == code, world.said
    assert ("no code   app aos-dev-func" in world.said) == (code == 0)
    assert ("bash infra/publish.sh rg-aos-dev main" in world.said) == (code == 0)


def test_recorded_az_app_that_does_not_answer_is_unhealthy(world: World) -> None:
    with Site() as gone:
        urls = gone.urls()
    world.az.answers("functionapp function list", [{"name": "health"}])
    world.az.answers("deployment group create", az_output.deployed(world.outputs(urls)))
    assert world.deploy("--health-timeout", "5") == 6
    assert "does not answer" in world.said


def test_warnings_of_the_template_are_said_and_recorded(world: World) -> None:
    raised = {"azureMLDisabledDueToRegion": True, "serviceBusSkuDowngradedDueToRegion": False}
    world.az.answers(
        "deployment group create", az_output.deployed(world.outputs({}, deploymentWarnings=raised))
    )
    assert world.deploy() == 0
    assert "azureMLDisabledDueToRegion: Azure ML was not deployed" in world.said
    assert len(world.record()["warnings"]) == 1


def test_summary_has_outputs_and_resources(world: World) -> None:
    world.az.answers("resource list", _resources("Succeeded"))
    assert world.deploy() == 0
    (page,) = world.audit.glob("*.summary.md")
    text = page.read_text()
    assert "- `storageAccountName`: staosdatadevabc123" in text
    assert "- healthy: Microsoft.Storage/storageAccounts st0" in text
    assert "- DEPLOYING: passed" in text


def test_recorded_az_audit_folder_is_copied_when_asked(world: World) -> None:
    world.az.answers("account get-access-token")
    world.az.answers("storage blob upload-batch")
    assert world.deploy("--audit-upload") == 0
    (copied,) = world.az.calls("storage blob upload-batch")
    assert copied[3:7] == ["--account-name", "staosdatadevabc123", "--destination", "aos-logs"]
    assert copied[copied.index("--auth-mode") + 1] == "login"
    # A pipeline begins each run with an empty folder: its audit.db must not replace that of others.
    identity = world.record()["deployment_id"]
    assert copied[copied.index("--destination-path") + 1] == f"audit/{identity}"
    world.az.answers("storage blob upload-batch", err="ERROR: no\n", code=1)
    assert world.deploy("--audit-upload") == 0
    assert "was not copied: ERROR: no" in world.said


# A federated login proves itself for minutes: later az can use the tokens that it has, no others.
_TAKES_TOKEN = 'touch "$RECORDING_AZ/token"\n'
_NEEDS_TOKEN = (
    'if [[ ! -f $RECORDING_AZ/token ]]; then echo "ERROR: AADSTS700024: Client assertion is not '
    'within its valid time range." >&2; exit 1; fi\n'
)


def test_recorded_az_audit_upload_outlives_the_proof_of_a_federated_login(world: World) -> None:
    world.az.answers("account get-access-token", script=_TAKES_TOKEN)
    world.az.answers("storage blob upload-batch", script=_NEEDS_TOKEN)
    assert world.deploy("--audit-upload") == 0
    assert "audit folder copied" in world.said
    (token,) = world.az.calls("account get-access-token")
    assert token[2:] == ["--scope", "https://storage.azure.com/.default", "-o", "none"]
    asked = world.az.commands()
    assert asked.index("account get-access-token") < asked.index("deployment group what-if")


def test_recorded_az_token_of_storage_is_taken_only_for_the_upload(world: World) -> None:
    assert world.deploy() == 0
    assert world.az.calls("account get-access-token") == []


def test_recorded_az_token_that_is_refused_only_warns(world: World) -> None:
    world.az.answers("account get-access-token", err="ERROR: AADSTS50076: MFA\n", code=1)
    world.az.answers("storage blob upload-batch")
    assert world.deploy("--audit-upload") == 0
    assert "the upload of the audit folder may fail: ERROR: AADSTS50076" in world.said


@pytest.mark.parametrize(("states", "state"), [([], "COMPLETED"), (["Failed"], "FAILED")])
def test_recorded_az_copied_audit_says_how_the_run_ended(
    world: World, tmp_path: Path, states: list[str], state: str
) -> None:
    copy = tmp_path / "copy"
    world.az.answers("account get-access-token")
    world.az.answers("resource list", _resources(*states))
    world.az.answers("storage blob upload-batch", script=f"cp -r {world.audit} {copy}\n")
    code = world.deploy("--audit-upload")
    (record,) = read_records(copy)
    assert (record["state"], record["exit_code"]) == (state, code)
    assert find_faults(copy) == []


def test_every_warning_of_the_template_is_explained() -> None:
    from infra.orchestrator.verification import WARNINGS
    from tests.infra.bicep_cli import committed

    assert set(committed("dev")["outputs"]["deploymentWarnings"]) == set(WARNINGS)
