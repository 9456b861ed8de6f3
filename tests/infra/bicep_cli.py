"""Runs the real Bicep CLI on the templates.

`python -m tests.infra.bicep_cli` writes the committed snapshots anew. The CLI is found through
AOS_BICEP or PATH. All snapshots, here and for people, are made with the options of
infra/snapshots/options.json: with others every id differs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INFRA = Path(__file__).parents[2] / "infra"
SNAPSHOTS = INFRA / "snapshots"
OPTIONS: dict[str, Any] = json.loads((SNAPSHOTS / "options.json").read_text())
ENVIRONMENTS = ("dev", "staging", "prod", "prod-dr")
TIME_LIMIT_SECONDS = 120
_DIAGNOSTIC = re.compile(r"^.*\(\d+,\d+\) : (?:Error|Warning|Info) \S+: .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a call printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def diagnostics(self) -> list[str]:
        """The lines that name a place, a level and a rule; the exit code knows errors only."""
        return _DIAGNOSTIC.findall(self.stderr + self.stdout)


def find() -> Path | None:
    """The Bicep CLI, or None."""
    named = os.environ.get("AOS_BICEP")
    found = named or shutil.which("bicep")
    return Path(found) if found else None


def make_environment() -> Mapping[str, str]:
    """An environment with nothing of AOS in it but the fixed values of the options."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("AOS_")}
    return {
        **mine,
        **OPTIONS["environment"],
        "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
        "DOTNET_TieredPGO": "0",  # code that runs for three seconds is not worth its profile
    }


def bicep(cli: Path, *arguments: str | Path, cwd: Path = INFRA) -> Said:
    """Run the CLI in the environment of `make_environment`."""
    done = subprocess.run(
        [str(cli), *map(str, arguments)],
        cwd=cwd,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_SECONDS,
        check=False,
    )
    return Said(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def snapshot(cli: Path, parameters: Path) -> dict[str, Any]:
    """What deploying a parameter file would make; outputs sorted, for their order is not fixed.

    Raises AssertionError when the template, a module or the parameter file has a diagnostic.
    """
    said = bicep(
        cli,
        "snapshot",
        parameters,
        *("--subscription-id", OPTIONS["subscription_id"]),
        *("--tenant-id", OPTIONS["tenant_id"]),
        *("--resource-group", OPTIONS["resource_group"]),
        *("--location", OPTIONS["location"]),
    )
    if said.code or said.diagnostics:
        raise AssertionError(f"{parameters.name}: {said.stderr}")
    made: dict[str, Any] = json.loads(parameters.with_suffix(".snapshot.json").read_text())
    made["outputs"] = dict(sorted(made["outputs"].items()))
    return made


def copy_of_infra(folder: Path) -> Path:
    """A copy of the templates to work in: the CLI writes beside its sources."""
    copied = folder / "infra"
    shutil.copytree(INFRA, copied, ignore=shutil.ignore_patterns("*.py", "__pycache__", "audit"))
    return copied


def committed(environment: str) -> dict[str, Any]:
    """The committed snapshot of an environment."""
    text = (SNAPSHOTS / f"{environment}.snapshot.json").read_text()
    read: dict[str, Any] = json.loads(text)
    return read


def write_snapshots() -> None:
    """Write all committed snapshots anew."""
    cli = find()
    if cli is None:
        sys.exit("there is no bicep on PATH; set AOS_BICEP")
    with tempfile.TemporaryDirectory() as folder:
        infra = copy_of_infra(Path(folder))
        for environment in ENVIRONMENTS:
            made = snapshot(cli, infra / "parameters" / f"{environment}.bicepparam")
            target = SNAPSHOTS / f"{environment}.snapshot.json"
            target.write_text(json.dumps(made, indent=2) + "\n")
            sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    write_snapshots()
