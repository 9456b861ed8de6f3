"""publish.sh publishes all three apps. The az and the func record their arguments.

The stand-ins prove what the script does, never what Azure does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.operations.commands import ROOT

SITES = {"main": "aos-dev-func", "mcp": "aos-dev-mcp-func", "realm": "aos-dev-realm-func"}
AZ = """#!/bin/bash
echo "az $*" >> "$RECORD/calls"
for app in main mcp realm; do
  if [[ "$*" == *"'$app'"* ]]; then cat "$RECORD/sites-$app" 2>/dev/null; fi
done
exit 0
"""
FUNC = """#!/bin/bash
echo "func $* in $(basename "$PWD") with $(ls *.* -d aos | tr '\\n' ' ')" >> "$RECORD/calls"
left="$RECORD/failures-$(basename "$PWD")"
if [[ -s $left ]]; then sed -i 1d "$left"; echo "Error calling sync triggers" >&2; exit 1; fi
"""


class Stage:
    """A copy of the repository in which publish.sh runs, and the tools that it finds."""

    def __init__(self, folder: Path) -> None:
        """Make it; every app has one site."""
        self.root, self.record, self.bin = folder / "clone", folder / "record", folder / "bin"
        for made in (self.root, self.record, self.bin):
            made.mkdir()
        for name in ("mcp_app", "realm_app"):
            (self.root / name).symlink_to(ROOT / name)
        for name in ("aos", "infra"):
            (self.root / name).mkdir()
        (self.root / "aos" / "__init__.py").touch()  # to package all of it takes seconds
        for name in ("package.py", "publish.sh"):
            shutil.copy(ROOT / "infra" / name, self.root / "infra" / name)
        shutil.copytree(
            ROOT / "infra" / "packages",
            self.root / "infra" / "packages",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name in ("function_app.py", "host.json", "requirements.txt"):
            shutil.copy(ROOT / name, self.root / name)
        for name, text in (("az", AZ), ("func", FUNC)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        for app, site in SITES.items():
            self.sites(app, site)

    def sites(self, app: str, *names: str) -> None:
        """The sites that az finds for an app."""
        (self.record / f"sites-{app}").write_text("".join(f"{name}\n" for name in names))

    def fails(self, app: str, times: int) -> None:
        """Publishing the app fails so often."""
        (self.record / f"failures-{app}").write_text("x\n" * times)

    def publish(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run publish.sh from somewhere else."""
        environment = {
            **os.environ,
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "RECORD": str(self.record),
            "AOS_PUBLISH_PAUSE_SECONDS": "0",
        }
        return subprocess.run(
            ["bash", str(self.root / "infra" / "publish.sh"), *arguments],
            cwd=self.record,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self, program: str) -> list[str]:
        """What a program was asked."""
        path = self.record / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def published(app: str) -> str:
    """A call of func from the package of an app."""
    files = "aos function_app.py host.json requirements.txt "
    return f"func azure functionapp publish {SITES[app]} --python in {app} with {files}"


def test_each_app_is_published_to_its_own_site_from_its_own_package(stage: Stage) -> None:
    done = stage.publish("rg-aos-dev")
    assert done.returncode == 0, done.stderr
    assert stage.calls("func") == [published(app) for app in SITES]
    assert all("--resource-group rg-aos-dev" in call for call in stage.calls("az"))


def test_one_app_alone_can_be_published(stage: Stage) -> None:
    assert stage.publish("rg-aos-dev", "mcp").returncode == 0
    assert stage.calls("func") == [published("mcp")]


def test_a_publication_that_fails_is_tried_again_and_then_given_up(stage: Stage) -> None:
    stage.fails("mcp", 2)
    assert stage.publish("rg-aos-dev", "mcp").returncode == 0
    assert len(stage.calls("func")) == 3
    stage.fails("realm", 3)
    done = stage.publish("rg-aos-dev", "realm")
    assert done.returncode == 1
    assert "build/realm could not be published to aos-dev-realm-func" in done.stderr
    assert len(stage.calls("func")) == 6


@pytest.mark.parametrize("sites", [(), ("aos-dev-func", "aos-dev-old-func")])
def test_without_exactly_one_site_nothing_is_published(
    stage: Stage, sites: tuple[str, ...]
) -> None:
    stage.sites("main", *sites)
    done = stage.publish("rg-aos-dev")
    assert done.returncode == 1
    assert "has not exactly one site tagged azd-service-name=main" in done.stderr
    assert stage.calls("func") == []


def test_an_app_that_does_not_exist_and_no_group_are_refused(stage: Stage) -> None:
    assert stage.publish().returncode == 2
    assert stage.publish("rg-aos-dev", "web").returncode != 0
    assert stage.calls("func") == []
