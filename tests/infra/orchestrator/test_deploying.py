"""The order of the phases, and retries of errors that may pass, without two deployments at once."""

from __future__ import annotations

from typing import Any

import pytest

from infra.orchestrator.azure_errors import ENVIRONMENTAL, classify_text, find_innermost_codes
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.world import World

CREATE = "deployment group create"
SHOW = "deployment group show"
NOT_FOUND = az_output.service_error("DeploymentNotFound")
CODES = {
    "a code within the text of a message": (az_output.failed("QuotaExceeded"), ["QuotaExceeded"]),
    "codes of several resources": (
        az_output.failed("ServerTimeout", "QuotaExceeded"),
        ["ServerTimeout", "QuotaExceeded"],
    ),
    "the inner error of a refused template": (
        az_output.preflight_failed("SkuNotAvailable"),
        ["SkuNotAvailable"],
    ),
    "the plain form of az": (
        az_output.service_error("AuthorizationFailed"),
        ["AuthorizationFailed"],
    ),
    "the form of what-if": ("ERROR: InvalidTemplate - no\n", ["InvalidTemplate"]),
    "a message within a message": (
        az_output.failed(az_output.failed("AnotherOperationInProgress").replace("ERROR: ", "")),
        ["AnotherOperationInProgress"],
    ),
    "capital letters as App Service has them": (
        'ERROR: {"Code":"Conflict","Details":[{"ErrorEntity":{"Code":"51021","Message":"m"}}]}',
        ["51021"],
    ),
    "only a wrapper": ('ERROR: {"code": "Conflict", "message": "busy"}', ["Conflict"]),
    "an error of Bicep": (az_output.LINT_ERROR, ["BCP057"]),
    "broken JSON": ('ERROR: {"code": "Serv', []),
    "nothing": ("", []),
}
HALTING = [
    "InvalidTemplate",
    "InvalidRequestContent",
    "AuthorizationFailed",
    "RequestDisallowedByPolicy",
    "RoleAssignmentUpdateNotPermitted",
    "StorageAccountAlreadyTaken",
    "VaultAlreadyExists",
    "FlagMustBeSetForRestore",
    "SkuNotAvailable",
    "QuotaExceeded",
    "MissingSubscriptionRegistration",
    "ScopeLocked",
    "SomethingNobodyKnows",
]
HEALING = [
    "TooManyRequests",
    "ServiceUnavailable",
    "InternalServerError",
    "GatewayTimeout",
    "AnotherOperationInProgress",
    "RetryableError",
    "PrincipalNotFound",
]


def _fails(*answers: str, then: bool = True, shows: Any = None) -> Any:
    def given(world: World) -> None:
        world.az.answers(SHOW, err=NOT_FOUND, code=3)
        if shows is not None:
            world.az.answers(SHOW, shows[0])
            for it in shows[1:]:
                world.az.then(SHOW, it)
        world.az.answers(CREATE, err=answers[0], code=1)
        for it in answers[1:]:
            world.az.then(CREATE, err=it, code=1)
        if then:
            world.az.then(CREATE, az_output.deployed(world.outputs({})))

    return given


def _state(state: str, error: Any = None) -> dict[str, Any]:
    document = az_output.deployed({}, state)
    document["properties"]["error"] = error
    return document


DEPLOYMENTS = {
    "a reset connection is tried again": Scenario(
        given=_fails(az_output.RESET), creates=2, waits=[15.0]
    ),
    "no network is tried again": Scenario(
        given=_fails(az_output.NO_NETWORK), creates=2, waits=[15.0]
    ),
    "three failures and then success": Scenario(
        given=_fails(*[az_output.failed("ServerTimeout")] * 3), creates=4, waits=[15.0, 30.0, 60.0]
    ),
    "after four failures it is enough": Scenario(
        given=_fails(az_output.failed("ServerTimeout"), then=False),
        creates=4,
        waits=[15.0, 30.0, 60.0],
        code=5,
        last="DEPLOYING",
        says=("then run deploy.py again",),
    ),
    "one logic error among environmental ones halts": Scenario(
        given=_fails(az_output.failed("ServerTimeout", "QuotaExceeded")),
        code=1,
        last="DEPLOYING",
        waits=[],
    ),
    "environmental, then logic": Scenario(
        given=_fails(az_output.failed("ServerTimeout"), az_output.failed("QuotaExceeded")),
        creates=2,
        code=1,
        last="DEPLOYING",
        waits=[15.0],
    ),
    "a wrapper alone halts": Scenario(
        given=_fails('ERROR: {"code": "Conflict", "message": "timeout, try again"}'),
        code=1,
        last="DEPLOYING",
        waits=[],
    ),
    "bad arguments halt": Scenario(
        given=_fails("ERROR: unrecognized arguments: --location eastus\n"),
        code=1,
        last="DEPLOYING",
        waits=[],
    ),
    "az lost the connection, Azure went on and is done": Scenario(
        given=_fails(az_output.RESET, shows=[_state("Running"), _state("Succeeded")]),
        creates=1,
        waits=[15.0, 0.05],
        says=("Azure had continued the deployment, and it succeeded",),
    ),
    "az lost the connection, Azure went on and failed for good": Scenario(
        given=_fails(
            az_output.RESET, shows=[_state("Failed", {"code": "QuotaExceeded", "message": "m"})]
        ),
        creates=1,
        code=1,
        last="DEPLOYING",
        says=("QuotaExceeded",),
    ),
    "az lost the connection, Azure failed for now": Scenario(
        given=_fails(
            az_output.RESET, shows=[_state("Failed", {"code": "ServerTimeout", "message": "m"})]
        ),
        creates=2,
    ),
    "another run of it is active: waited for": Scenario(
        given=_fails(
            az_output.service_error("DeploymentActive"),
            shows=[_state("Running"), _state("Succeeded")],
        ),
        creates=1,
    ),
    "az says fine but Azure does not": Scenario(
        given=lambda w: w.az.answers(CREATE, az_output.deployed({}, "Canceled")),
        code=1,
        last="DEPLOYING",
        says=("Canceled",),
    ),
    "az says nothing": Scenario(given=lambda w: w.az.answers(CREATE, ""), code=1, last="DEPLOYING"),
}


@table(DEPLOYMENTS)
def test_recorded_az_deployment(world: World, row: Scenario) -> None:
    play(world, row)


@pytest.mark.parametrize("code", HALTING)
def test_recorded_az_logic_error_is_never_retried(world: World, code: str) -> None:
    # Its message speaks of validation and timeout, as messages of both classes do.
    play(
        world,
        Scenario(
            given=_fails(az_output.failed(code)), code=1, last="DEPLOYING", waits=[], says=(code,)
        ),
    )
    (attempt,) = world.record()["attempts"]
    assert (attempt["class"], attempt["codes"]) == ("logic", [code])


@pytest.mark.parametrize("code", HEALING)
def test_recorded_az_environmental_error_is_retried(world: World, code: str) -> None:
    play(world, Scenario(given=_fails(az_output.failed(code)), creates=2, waits=[15.0]))
    (attempt,) = world.record()["attempts"]
    assert (attempt["class"], attempt["codes"]) == ("environmental", [code])


@pytest.mark.parametrize("name", CODES)
def test_the_innermost_code_is_found(name: str) -> None:
    text, codes = CODES[name]
    assert list(find_innermost_codes(text)) == codes


@pytest.mark.parametrize("code", sorted(ENVIRONMENTAL))
def test_words_do_not_decide_when_there_is_a_code(code: str) -> None:
    assert classify_text(az_output.failed(code), operation="x").environmental
    text = az_output.service_error(
        "InvalidTemplate", f"{code} Max retries exceeded with url timeout"
    )
    assert not classify_text(text, operation="x").environmental


@pytest.mark.parametrize("code", [it for it in HALTING if it != "SomethingNobodyKnows"])
def test_every_known_logic_error_has_advice(code: str) -> None:
    advice = classify_text(az_output.failed(code), operation="x").advice
    assert advice
    assert "see the message; " not in advice


def test_recorded_az_progress_shows_each_operation_once(world: World) -> None:
    operation = {
        "properties": {
            "provisioningState": "Running",
            "targetResource": {
                "resourceType": "Microsoft.Web/sites",
                "resourceName": "aos-dev-func",
            },
        }
    }
    world.az.answers("deployment operation group list", [operation])
    listed = world.az.folder / "answers" / "deployment-operation-group-list" / "count"
    world.az.answers(
        CREATE,
        az_output.deployed(world.outputs({})),
        script=f"until [[ -f {listed} && $(<{listed}) -ge 3 ]]; do sleep 0.01; done\n",
    )
    assert world.deploy() == 0
    assert world.said.count("Running: Microsoft.Web/sites aos-dev-func") == 1
    assert "still deploying" in world.said


def test_recorded_az_that_never_ends_is_ended_and_azure_is_asked(world: World) -> None:
    world.az.answers(CREATE, script="exec sleep 60\n")
    world.az.answers(SHOW, az_output.deployed(world.outputs({})))
    assert world.deploy("--deploy-timeout", "0.3") == 0
    assert "did not end in time" in world.said


def test_recorded_az_is_called_in_the_order_of_the_plan(world: World) -> None:
    assert world.deploy() == 0
    looks = "deployment operation group list"  # as many as the deployment's seconds
    assert [command for command in world.az.commands() if command != looks] == [
        "version",
        "bicep version",
        "bicep build-params",
        "account show",
        "account list-locations",
        "group exists",
        "role assignment list",
        "bicep build",
        "deployment group what-if",
        "deployment group create",
        *["rest"] * 3,
        "resource list",
        *["functionapp function list"] * 3,
        "rest",
    ]
    assert world.phases() == [
        ("VALIDATING_PARAMETERS", "passed"),
        ("LINTING", "passed"),
        ("PLANNING", "passed"),
        ("AWAITING_CONFIRMATION", "skipped"),
        ("DEPLOYING", "passed"),
        ("VERIFYING_HEALTH", "passed"),
    ]
