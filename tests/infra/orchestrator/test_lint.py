"""Which diagnostics of Bicep stop a deployment."""

from __future__ import annotations

import json

from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.scenario import Scenario, play, table
from tests.infra.orchestrator.world import World

LINT = {"last": "LINTING", "creates": 0, "code": 1}
LINTS = {
    "a warning, though az ends with 0": Scenario(
        given=lambda w: w.az.answers("bicep build", {}, err=az_output.LINT_WARNING),
        says=("no-unused-params",),
        **LINT,
    ),
    "a warning of the compiler": Scenario(
        given=lambda w: w.az.answers("bicep build", {}, err=az_output.COMPILER_WARNING),
        says=("BCP081",),
        **LINT,
    ),
    "a warning in the parameter file alone": Scenario(
        given=lambda w: w.az.answers(
            "bicep build-params",
            {"parametersJson": json.dumps({"parameters": {"environment": {"value": "dev"}}})},
            err=az_output.LINT_WARNING,
        ),
        says=("no-unused-params",),
        **LINT,
    ),
    "an error, also where warnings are allowed": Scenario(
        given=lambda w: w.az.answers("bicep build", err=az_output.LINT_ERROR, code=1),
        flags=("--allow-warnings",),
        says=("BCP057",),
        **LINT,
    ),
    "an error that az ends with 0 for": Scenario(
        given=lambda w: w.az.answers("bicep build", err=az_output.LINT_ERROR), **LINT
    ),
    "a failure without a diagnostic": Scenario(
        given=lambda w: w.az.answers("bicep build", err="ERROR: Killed\n", code=1),
        says=("Killed",),
        **LINT,
    ),
}
LINT_PASSES = {
    "a notice of az is no warning of lint": Scenario(
        given=lambda w: w.az.answers("bicep build", {}, err=az_output.NEWER_BICEP)
    ),
    "an information of lint is no warning": Scenario(
        given=lambda w: w.az.answers("bicep build", {}, err=az_output.LINT_INFO)
    ),
    "a warning of lint that is allowed": Scenario(
        given=lambda w: w.az.answers("bicep build", {}, err=az_output.LINT_WARNING),
        flags=("--allow-warnings",),
        says=("1 warnings allowed",),
    ),
}


@table(LINTS)
def test_recorded_az_lint_stops_before_what_if(world: World, row: Scenario) -> None:
    play(world, row)
    assert world.az.calls("deployment") == []


@table(LINT_PASSES)
def test_recorded_az_lint_lets_pass(world: World, row: Scenario) -> None:
    play(world, row)
