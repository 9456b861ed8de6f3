"""Fixtures of the template tests: the Bicep CLI, and what it builds, once for each session."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.infra import bicep_cli
from tests.infra.bicep_server import BicepServer
from tests.infra.inventory import Inventory
from tests.infra.variants import PROBE, VARIANTS
from tests.once_a_run import made_once

WITHOUT_CLI = (
    "no Bicep CLI: put `bicep` on PATH or its path in AOS_BICEP "
    "(https://github.com/Azure/bicep/releases); the templates were NOT checked"
)


@pytest.fixture(scope="session")
def cli() -> Path:
    """The Bicep CLI. Without it these tests are skipped, except where CI says that it must be."""
    found = bicep_cli.find()
    if found is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(WITHOUT_CLI)
        pytest.skip(WITHOUT_CLI)
    return found


@pytest.fixture(scope="session")
def infra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/ with the variants' parameter files."""
    copied = bicep_cli.copy_of_infra(tmp_path_factory.mktemp("bicep"))
    for name, text in VARIANTS.items():
        (copied / "parameters" / f"{name}.bicepparam").write_text(text)
    probe = copied / "probe"
    probe.mkdir()
    # It is no part of the product: the rules of the product do not bind it.
    (probe / "bicepconfig.json").write_text("{}")
    (probe / "probe.bicep").write_text(PROBE)
    (copied / "parameters" / "probe.bicepparam").write_text("using '../probe/probe.bicep'\n")
    return copied


@pytest.fixture(scope="session")
def snapshots(
    cli: Path, infra: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """The snapshots of every environment and variant as the templates make them now."""
    names = (*bicep_cli.ENVIRONMENTS, *VARIANTS, "probe")

    def make_snapshots(folder: Path) -> None:
        with BicepServer(cli) as server:
            for name in names:
                made = server.snapshot(infra / f"parameters/{name}.bicepparam")
                (folder / name).write_text(json.dumps(made), "utf-8")

    folder = made_once(tmp_path_factory, "snapshots", make_snapshots)
    return {name: json.loads((folder / name).read_text("utf-8")) for name in names}


@pytest.fixture(scope="session")
def variants(snapshots: dict[str, dict[str, Any]]) -> dict[str, Inventory]:
    """What each variant would deploy."""
    return {name: Inventory(snapshots[name]) for name in VARIANTS}


@pytest.fixture(scope="session")
def environments() -> dict[str, Inventory]:
    """What each environment would deploy: its committed snapshot, held current by a test."""
    return {name: Inventory(bicep_cli.committed(name)) for name in bicep_cli.ENVIRONMENTS}


@pytest.fixture(scope="session")
def template(cli: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The compiled main template, modules within."""

    def build(folder: Path) -> None:
        said = bicep_cli.bicep(cli, "build", "main-modular.bicep", "--stdout")
        assert (said.code, said.diagnostics) == (0, [])
        (folder / "main.json").write_text(said.stdout, "utf-8")

    folder = made_once(tmp_path_factory, "template", build)
    compiled: dict[str, Any] = json.loads((folder / "main.json").read_text("utf-8"))
    return compiled
