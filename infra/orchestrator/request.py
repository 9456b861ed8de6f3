"""What was the orchestrator asked to do, and what did preflight learn about the target?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A deployment as it was asked for. Paths are absolute."""

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
    """What will be deployed where, as preflight found it."""

    deployment_name: str
    subscription_id: str
    environment: str
    parameters: Path
    """The file that az gets: the one asked for, or the one made of rollback-params.json."""
    values: Mapping[str, Any]
    """Parameter values without the secure ones."""
    diagnostics: str
    """What Bicep said about the parameter file."""
    digest: str
    """Of every source file, so that what was planned is what is deployed."""
