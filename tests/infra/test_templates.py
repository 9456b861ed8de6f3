"""The templates build without diagnostics, and the committed snapshots are what they deploy."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra import bicep_cli
from tests.infra.bicep_cli import ENVIRONMENTS, INFRA, bicep

PLAN_PARAMETERS = {
    "location": None,
    "environment": ["dev", "staging", "prod"],
    "functionAppSku": ["Y1", "EP1", "EP2", "FC1"],
    "serviceBusSku": ["Standard", "Premium"],
    "storageSku": ["Standard_LRS", "Standard_GRS"],
    "enableB2C": None,
    "enableAppInsights": None,
    "enableAzureML": None,
}
# These age by themselves, by the clock or by a registry.
LEFT_OFF = {"use-recent-api-versions", "use-recent-module-versions", "use-description-vars"}


def test_every_template_is_lint_clean(cli: Path) -> None:
    said = bicep(cli, "lint", "--pattern", "**/*.bicep")
    assert said.diagnostics == []
    assert (said.code, said.stderr.strip()) == (0, "")


def test_every_file_is_formatted(cli: Path, tmp_path: Path) -> None:
    copied = bicep_cli.copy_of_infra(tmp_path)
    for pattern in ("**/*.bicep", "**/*.bicepparam"):
        assert bicep(cli, "format", "--pattern", pattern, cwd=copied).code == 0
    sources = [*INFRA.rglob("*.bicep"), *INFRA.rglob("*.bicepparam")]
    assert len(sources) > 20
    unformatted = [
        str(source.relative_to(INFRA))
        for source in sources
        if source.read_text() != (copied / source.relative_to(INFRA)).read_text()
    ]
    assert unformatted == []


def test_every_rule_of_the_linter_stops_the_build_save_those_that_age() -> None:
    rules = json.loads((INFRA / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert {name for name, rule in rules.items() if rule["level"] != "error"} == LEFT_OFF
    assert len(rules) > 45


def test_a_rule_that_is_broken_is_seen(cli: Path, infra: Path) -> None:
    broken = infra / "broken.bicep"
    broken.write_text("@description('Never used.')\nparam unused string\n")
    try:
        said = bicep(cli, "lint", broken, cwd=infra)
    finally:
        broken.unlink()
    assert said.code == 1
    assert ["no-unused-params" in line for line in said.diagnostics] == [True]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_committed_snapshot_is_current(
    snapshots: dict[str, dict[str, Any]], environment: str
) -> None:
    """Resources and outputs: `bicep snapshot --mode validate` would not look at the outputs.

    Making it shows too that the parameter file builds without a warning and needs nothing more.
    """
    if bicep_cli.committed(environment) != snapshots[environment]:
        pytest.fail(
            f"infra/snapshots/{environment}.snapshot.json is not what the templates deploy: "
            "look at `git diff` after `python -m tests.infra.bicep_cli`"
        )


def test_no_snapshot_leaves_anything_out(snapshots: dict[str, dict[str, Any]]) -> None:
    assert {name: made["diagnostics"] for name, made in snapshots.items()} == {
        name: [] for name in snapshots
    }


def test_the_parameters_of_the_plan_have_its_names_and_values(template: dict[str, Any]) -> None:
    parameters = template["parameters"]
    assert {name: parameters[name].get("allowedValues") for name in PLAN_PARAMETERS} == (
        PLAN_PARAMETERS
    )


def test_only_the_environment_must_be_given(template: dict[str, Any]) -> None:
    required = {
        name
        for name, parameter in template["parameters"].items()
        if "defaultValue" not in parameter and not parameter.get("nullable")
    }
    assert required == {"environment"}


def test_every_parameter_and_output_of_every_module_is_described(template: dict[str, Any]) -> None:
    undescribed = [
        name
        for part in _templates(template)
        for section in ("parameters", "outputs")
        for name, value in part.get(section, {}).items()
        if not value.get("metadata", {}).get("description")
    ]
    assert undescribed == []


def test_parameters_say_whether_they_must_be_given(template: dict[str, Any]) -> None:
    wrong = [
        name
        for part in _templates(template)
        for name, value in part.get("parameters", {}).items()
        if not value["metadata"]["description"].startswith(("Required. ", "Optional. "))
    ]
    assert wrong == []


def test_no_output_holds_a_secret(template: dict[str, Any]) -> None:
    for part in _templates(template):
        outputs = json.dumps(part.get("outputs", {}))
        assert not re.search(r"list\w*\(|securestring|secureObject", outputs, re.IGNORECASE)


# What signs or names a key, by the words that resources and people have for it.
_CONNECTION = re.compile(
    r"connection_?string|instrumentation_?key|(account|access|primary|secondary|shared|api)_?key"
    r"|password|secret|\bsas\b|token",
    re.IGNORECASE,
)


def test_no_output_of_any_module_carries_a_connection_string(template: dict[str, Any]) -> None:
    """Outputs are kept in the history of deployments, where every reader sees them."""
    carrying = [
        (name, output["value"])
        for part in _templates(template)
        for name, output in part.get("outputs", {}).items()
        if _CONNECTION.search(name) or _CONNECTION.search(json.dumps(output.get("value", "")))
    ]
    assert carrying == []


@pytest.mark.parametrize(
    "carrying",
    [
        "[reference('insights').ConnectionString]",
        "[reference('insights').InstrumentationKey]",
        "[listKeys('storage', '2025-06-01').keys[0].value, 'AccountKey=']",
        "[parameters('adminPassword')]",
        "[reference('namespace').primaryKey]",
    ],
)
def test_a_connection_string_in_an_output_is_seen(carrying: str) -> None:
    assert _CONNECTION.search(carrying)


def test_deploying_again_changes_nothing(template: dict[str, Any]) -> None:
    """No value depends on the moment, and a secret that Azure would version is written once."""
    text = json.dumps(template)
    assert not re.search(r"utcNow\(|newGuid\(|dateTimeAdd\(", text)
    secrets = [
        resource
        for part in _templates(template)
        for resource in _resources(part)
        if resource["type"] == "Microsoft.KeyVault/vaults/secrets"
    ]
    assert len(secrets) == 3
    assert all("onlyIfNotExists" in secret["@options"] for secret in secrets)


def test_a_role_waits_for_an_identity_that_is_not_known_everywhere_yet(
    template: dict[str, Any],
) -> None:
    waits = [
        resource.get("@options", {}).get("retryOn")
        for part in _templates(template)
        for resource in _resources(part)
        if resource["type"] == "Microsoft.Authorization/roleAssignments"
    ]
    assert waits
    assert all(wait == [["PrincipalNotFound"], 10] for wait in waits)


def test_only_the_content_share_and_what_was_asked_for_use_account_keys() -> None:
    using = {
        str(source.relative_to(INFRA))
        for source in INFRA.rglob("*.bicep")
        if re.search(r"\.listKeys\(|listAccountSas|listServiceSas", source.read_text())
    }
    assert using == {"modules/function-app.bicep", "modules/connection-secrets.bicep"}


def test_no_compiled_json_is_committed() -> None:
    sources = {path.stem for path in (*INFRA.rglob("*.bicep"), *INFRA.rglob("*.bicepparam"))}
    kept = [path for path in INFRA.rglob("*.json") if path.parent.name != "snapshots"]
    assert [str(path) for path in kept if path.stem in sources] == []


def test_without_a_cli_ci_fails_instead_of_skipping(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(bicep_cli, "find", lambda: None)
    fixture = request.config.pluginmanager.get_plugin(str(Path(__file__).parent / "conftest.py"))
    assert fixture is not None
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="AOS_BICEP"):
        fixture.cli.__wrapped__()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="NOT checked"):
        fixture.cli.__wrapped__()


def test_the_cli_is_found_by_setting_or_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AOS_BICEP", "/somewhere/bicep")
    assert bicep_cli.find() == Path("/somewhere/bicep")
    monkeypatch.delenv("AOS_BICEP")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bicep_cli.find() is None
    shutil.copy("/bin/true", tmp_path / "bicep")
    assert bicep_cli.find() == tmp_path / "bicep"


def _templates(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The template and all that are nested in it."""
    yield template
    for resource in _resources(template):
        if resource["type"] == "Microsoft.Resources/deployments":
            yield from _templates(resource["properties"]["template"])


def _resources(template: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from template["resources"].values()
