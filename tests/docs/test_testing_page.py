"""Runs the code of docs/TESTING.md as a user would: a card, a test file, and the commands of CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "TESTING.md"
TIMEOUT_SECONDS = 60


def texts(language: str) -> list[str]:
    """The page's fenced blocks in a language, in order."""
    return [block.text for block in blocks(PAGE) if block.language == language]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository of agents as the page describes it."""
    for folder in ("agents", "tests"):
        (tmp_path / folder).mkdir()
    [settings], [card] = texts("toml"), texts("json")
    (tmp_path / "pyproject.toml").write_text(settings, "utf-8")
    (tmp_path / "agents" / "ceo.json").write_text(card, "utf-8")
    (tmp_path / "tests" / "test_agents.py").write_text("\n\n".join(texts("python")), "utf-8")
    return tmp_path


def test_the_commands_of_ci_check_the_cards_and_pass_every_test_of_the_page(project: Path) -> None:
    [workflow] = texts("yaml")
    *_, last = yaml.safe_load(workflow)["jobs"]["test"]["steps"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", last["run"]],
        cwd=project,
        env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = "\n".join(texts("python")).count("async def test_")
    assert f"{tests} passed" in done.stdout


def test_the_install_command_of_the_page_is_the_one_of_ci() -> None:
    [workflow], [command] = texts("yaml"), texts("bash")
    steps = yaml.safe_load(workflow)["jobs"]["test"]["steps"]
    assert command.strip() in [step.get("run") for step in steps]


def test_the_install_command_names_the_extra_that_the_test_world_needs() -> None:
    [command] = texts("bash")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    [named] = re.findall(r"aos\[(\w+)\]", command)
    assert any(one.startswith("azure-functions") for one in extras["optional-dependencies"][named])
