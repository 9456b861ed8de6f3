"""The section Deploy of README, and docs/MODELS.md: every variable, parameter and name exists.

Held against the parameter files, the template's names and the examples, so that whoever follows the
pages meets no name that has moved. Nothing is run against Azure.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aos.domain.cards.identity import CardKind
from aos.services.card_files import validate_path
from tests.docs.pages import ROOT, blocks
from tests.infra.operations.commands import Command, options_in, simple_commands

README, MODELS = ROOT / "README.md", ROOT / "docs" / "MODELS.md"
PARAMETERS = sorted((ROOT / "infra" / "parameters").glob("*.bicepparam"))
NAMES = (ROOT / "infra" / "modules" / "names.bicep").read_text("utf-8")
TEMPLATE = (ROOT / "infra" / "main-modular.bicep").read_text("utf-8")
YOURS = {
    *("AOS_NAME_SUFFIX", "AOS_OPERATOR_ID", "AOS_ALERT_EMAILS"),
    *(
        "AOS_MODEL_ENDPOINT",
        "AOS_MODEL",
        "AOS_MODEL_AUTH",
        "AOS_MODEL_ACCOUNT_ID",
        "AOS_MODEL_API",
        "AOS_VISION_MODELS",
    ),
}
"""What only the person who deploys knows."""


def checked(page: Path) -> str:
    """The blocks of a page that are held against the tools."""
    return "\n".join(it.text for it in blocks(page) if it.mark.startswith("checked: "))


def deploying() -> list[Command]:
    """The commands of the README's Deploy, in order."""
    return list(simple_commands("README.md", checked(README)))


def read_by(path: Path) -> set[str]:
    """The variables that a parameter file reads."""
    return set(re.findall(r"readEnvironmentVariable\('(\w+)'", path.read_text("utf-8")))


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda path: path.stem)
def test_every_parameter_file_reads_what_only_its_user_knows(path: Path) -> None:
    assert YOURS - read_by(path) == set()


@pytest.mark.parametrize("page", [README, MODELS], ids=lambda page: page.name)
def test_every_variable_that_a_page_sets_for_a_deployment_is_read(page: Path) -> None:
    given = set(re.findall(r"\b(AOS_\w+)=", checked(page)))
    assert given
    assert given - read_by(ROOT / "infra" / "parameters" / "dev.bicepparam") == set()


def test_the_pipelines_hand_the_same_variables_on() -> None:
    workflow = (ROOT / ".github" / "workflows" / "deploy-aos.yml").read_text("utf-8")
    handed = set(re.findall(r"^ +(AOS_\w+): \$\{\{ vars\.\1 \}\}$", workflow, re.MULTILINE))
    wanted = set().union(*map(read_by, PARAMETERS)) - {"AOS_FRONT_DOOR_ID", "AOS_PUBLIC_URL"}
    assert wanted - handed == set()


def test_deploy_ends_with_an_answer_and_leaves_no_step_out() -> None:
    steps = [" ".join([it.program, *it.arguments]) for it in deploying()]
    order = [
        *("az login", "az bicep install", "deploy.py", "publish.sh", "health_check.py"),
        *("az storage blob upload", "az functionapp keys list", "aos ask"),
    ]
    places = [next(i for i, it in enumerate(steps) if it.startswith(step)) for step in order]
    assert places == sorted(places)
    [publish] = [it for it in deploying() if it.program == "publish.sh"]
    assert len(publish.arguments) == 1  # all three apps


def test_deploy_names_site_account_and_region_as_the_template_does() -> None:
    text = checked(README)
    assert "main: 'aos-${environment}${suffix}-func'" in NAMES
    assert 'SITE="aos-dev$AOS_NAME_SUFFIX-func"' in text
    assert "dataStorage: joined('staosdata${environment}${suffix}'" in NAMES
    assert "starts_with(name, 'staosdata')" in text
    [deploy] = [it for it in deploying() if it.program == "deploy.py"]
    given = dict(zip(deploy.arguments, deploy.arguments[1:], strict=False))
    parameters = ROOT / given["-p"]
    assert f"param location = '{given['-l']}'" in parameters.read_text("utf-8")


def test_deploy_uploads_a_card_that_goes_live_and_asks_its_agent() -> None:
    [upload] = [it for it in deploying() if it.arguments[:3] == ("storage", "blob", "upload")]
    given = dict(zip(upload.arguments, upload.arguments[1:], strict=False))
    [ask] = [it for it in deploying() if it.program == "aos"]
    agent = ask.arguments[1]
    assert given["--container-name"] == "aos-config"
    assert given["--name"] == CardKind.AGENT.blob_name(agent)
    [report] = validate_path(ROOT / given["--file"])
    assert (report.card_id, report.status["state"]) == (agent, "active")
    assert options_in(ask) == ["--url", "--key"]


def test_whoever_deploys_may_upload_cards_and_keep_secrets() -> None:
    """A right to data is no part of Owner: without it the upload by login is refused."""
    for name, role in (
        ("operatorStorageRoles", "Storage Blob Data Contributor"),
        ("operatorVaultRoles", "Key Vault Secrets Officer"),
    ):
        module = TEMPLATE.split(f"module {name} ", 1)[1].split("\n]\n", 1)[0]
        assert "for item in operators" in module
        assert role in module


def test_the_page_on_models_pairs_each_variable_with_the_parameter_that_reads_it() -> None:
    rows = re.findall(r"^\| `(AOS_\w+)` \| `(\w+)` \|", MODELS.read_text("utf-8"), re.MULTILINE)
    assert {variable for variable, _ in rows} == {
        v for v in YOURS if re.match("AOS_(VISION_)?MODEL", v)
    }
    for variable, parameter in rows:
        assert re.search(rf"^param {parameter} string", TEMPLATE, re.MULTILINE)
        for path in PARAMETERS:
            text = path.read_text("utf-8")
            text = re.sub("modelAuthentication|modelApiName", variable, text)
            assert re.search(rf"^param {parameter} = .*\b{variable}\b", text, re.MULTILINE), path


def test_the_key_of_a_model_has_the_name_that_realm_is_given() -> None:
    settings = (ROOT / "infra" / "modules" / "settings.bicep").read_text("utf-8")
    [name] = re.findall(r"keyvault secret set .*--name (\w+)", checked(MODELS))
    assert f"AOS_MODEL_API_KEY: secret(known.vaultName, '{name}')" in settings


def test_the_two_lines_on_a_laptop_set_settings_and_start_it() -> None:
    [block] = [it for it in blocks(MODELS) if it.mark == "not run: needs a model of yours"]
    first, second = block.text.splitlines()
    assert second == "make run"
    assert are_settings(re.findall(r"\b(AOS_\w+)=", first))


def test_the_readmes_line_for_a_model_of_ones_own_sets_settings_and_starts_it() -> None:
    [line] = re.findall(r"`((?:AOS_\w+=\S+ )+make run)`", README.read_text("utf-8"))
    assert are_settings(re.findall(r"\b(AOS_\w+)=", line))


def are_settings(names: list[str]) -> bool:
    """Whether there are names, and all are in the list of settings."""
    listed = (ROOT / "docs" / "SETTINGS.md").read_text("utf-8")
    return bool(names) and all(f"| `{name}` |" in listed for name in names)
