"""Defines what one run of deploy.py works with. Entry points: `Request`, `Target`, `RunContext`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.orchestrator.audit import Journal
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.clock import Clock
from infra.orchestrator.console import Console, Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of the command line. Paths are absolute."""

    resource_group: str
    location: str
    template: Path
    parameters: Path
    audit_dir: Path
    git_sha: str | None = None
    allow_warnings: bool = False
    yes: bool = False
    dry_run: bool = False
    stack: bool = False
    require_apps: bool = False
    create_resource_group: bool = False
    skip_rights: bool = False
    audit_upload: bool = False
    health_seconds: float = 600.0
    deploy_seconds: float = 5400.0
    rollback_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What will be deployed and where, as the preflight phase found it."""

    deployment_name: str
    subscription_id: str
    environment: str
    parameters: Path
    """The parameter file for az: the given one, or one converted from rollback-params.json."""
    values: Mapping[str, Any]
    """The parameter values, without the secure ones."""
    diagnostics: str
    """What Bicep printed about the parameter file."""
    digest: str
    """The hash of all source files. It shows whether they change between WHAT-IF and DEPLOY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitTimes:
    """How often a failed call is repeated and how long the run waits between calls."""

    attempts: int = 4
    first_wait_seconds: float = 15.0
    longest_wait_seconds: float = 120.0
    progress_seconds: float = 15.0
    health_poll_seconds: float = 10.0

    def wait_after(self, attempt: int) -> float:
        """The wait in seconds after this attempt has failed. It doubles with each attempt."""
        return float(min(self.first_wait_seconds * 2 ** (attempt - 1), self.longest_wait_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What every phase of a run uses."""

    az: Az
    journal: Journal
    console: Console = field(default_factory=Console)
    clock: Clock = field(default_factory=Clock)
    terminal: Terminal = field(default_factory=Terminal)
    waits: WaitTimes = field(default_factory=WaitTimes)
