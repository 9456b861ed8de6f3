"""The surroundings of deploy.py in a test: a repository, az, a clock and a terminal."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.orchestrator import deploy_cli
from infra.orchestrator.audit import read_records
from infra.orchestrator.clock import Clock
from infra.orchestrator.console import Console, Terminal
from infra.orchestrator.run_context import WaitTimes
from tests.infra.orchestrator import az_output
from tests.infra.orchestrator.recording_az import RecordingAz, path_with

APPS = {"main": "aos-dev-func", "mcp": "aos-dev-mcp-func", "realm": "aos-dev-realm-func"}
DEV = {"environment": "dev", "location": "eastus", "functionAppSku": "Y1", "enableB2C": False}
_GIT = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")


class FakeClock(Clock):
    """Waits take no time; they are written down, and the seconds pass."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.waits: list[float] = []
        self._moment = 0

    def now(self) -> str:
        """A second later at each call, so that ids sort."""
        self._moment += 1
        return f"2026-02-13T10:{self._moment // 60:02}:{self._moment % 60:02}Z"

    def seconds(self) -> float:
        """Only waits take time."""
        return sum(self.waits)

    def sleep(self, seconds: float) -> None:
        """Do not wait."""
        self.waits.append(seconds)


class FakeTerminal(Terminal):
    """Somebody who gives one answer, or (None) nobody."""

    def __init__(self, answer: str | None) -> None:
        """Take the answer."""
        self._answer = answer
        self.questions: list[str] = []

    def is_interactive(self) -> bool:
        """Whether somebody is there."""
        return self._answer is not None

    def ask(self, question: str) -> str:
        """The answer."""
        self.questions.append(question)
        return self._answer or ""


class World:
    """A repository of its own with infra/, and az as after a login to an empty group."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self.repository = folder / "repo"
        self.infra = self.repository / "infra"
        self.audit = folder / "audit"
        self.az = RecordingAz(folder / "az")
        self.path = path_with(self.az.bin)
        self.clock = FakeClock()
        self.terminal = FakeTerminal(None)
        self.said = ""
        (self.infra / "parameters").mkdir(parents=True)
        (self.infra / "modules").mkdir()
        (self.infra / "main-modular.bicep").write_text("param environment string\n")
        (self.infra / "modules" / "regions.bicep").write_text(
            "var regions = {\n  eastus: { tier: 1, azureML: true }\n"
            "  westus: { tier: 2, azureML: false }\n}\n"
        )
        self.parameters("dev", DEV)
        self._answer_well()

    def _answer_well(self) -> None:
        az = self.az
        az.answers("version", {"azure-cli": "2.91.0", "extensions": {}})
        az.answers("bicep version", "Bicep CLI version 0.49.2 (b34271ac51)\n")
        az.answers("account show", az_output.ACCOUNT)
        az.answers("account list-locations", ["eastus", "eastus2", "westus", "newregion"])
        az.answers("group exists", "true\n")
        az.answers("role assignment list", [{"roleDefinitionName": "Owner"}])
        az.answers("bicep build", {"parameters": {}}, err=az_output.NEWER_BICEP)
        az.answers("deployment group what-if", az_output.what_if())
        az.answers("deployment group create", az_output.deployed(self.outputs({})))
        az.answers("deployment operation group list", [])
        az.answers("resource list", [])
        az.answers("functionapp function list", [])
        az.answers("rest", {"value": [], "nameAvailable": True})
        az.answers("rest@appsettings", {"value": []})
        az.answers("rest@refresh")

    def parameters(self, name: str, values: Mapping[str, Any], **secure: str) -> Path:
        """A .bicepparam file that compiles to these values."""
        path = self.infra / "parameters" / f"{name}.bicepparam"
        path.write_text("using '../main-modular.bicep'\n")
        given = {**values, **secure}
        document = {"parameters": {key: {"value": it} for key, it in given.items()}}
        template = {"parameters": {key: {"type": "securestring"} for key in secure}}
        built = {"parametersJson": json.dumps(document), "templateJson": json.dumps(template)}
        self.az.answers("bicep build-params", built)
        return path

    def outputs(self, urls: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """Outputs of the main template."""
        return {
            "deploymentWarnings": {},
            "functionAppNames": APPS,
            "functionAppUrls": urls or {app: f"https://{name}.test" for app, name in APPS.items()},
            "storageAccountName": "staosdatadevabc123",
            **more,
        }

    def commit(self) -> str:
        """Commit the repository; the id of the commit."""
        for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "x")):
            subprocess.run(["git", *_GIT, *arguments], cwd=self.repository, check=True, timeout=30)
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=self.repository,
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def deploy(self, *flags: str, **changed: str) -> int:
        """Run deploy.py as the plan does; a flag given anew takes the place of the old one."""
        given = {
            "resource-group": az_output.GROUP,
            "location": "eastus",
            "template": str(self.infra / "main-modular.bicep"),
            "parameters": str(self.infra / "parameters" / "dev.bicepparam"),
            "git-sha": "0123456789abcdef0123456789abcdef01234567",
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        named = [part for name, value in given.items() for part in (f"--{name}", value)]
        return self.run(*named, *flags)

    def rollback(self, to: str, *flags: str) -> int:
        """Run deploy.py rollback in this repository."""
        template = str(self.infra / "main-modular.bicep")
        return self.run("rollback", "--to", to, "--template", template, *flags)

    def run(self, *argv: str) -> int:
        """Run deploy.py with any arguments."""
        stream = io.StringIO()
        try:
            return deploy_cli.main(
                [*argv, "--audit-dir", str(self.audit)],
                console=Console(stream),
                clock=self.clock,
                terminal=self.terminal,
                waits=WaitTimes(progress_seconds=0.05),
            )
        finally:
            self.said = stream.getvalue()

    def record(self) -> dict[str, Any]:
        """The record of the last run."""
        return read_records(self.audit)[-1]

    def phases(self) -> list[tuple[str, str]]:
        """Phase and result, in order."""
        return [(it["phase"], it["result"]) for it in self.record()["phases"]]
