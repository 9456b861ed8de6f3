"""Which commit and which files are deployed?"""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.exits import USAGE, Halt

_SUFFIXES = frozenset({".bicep", ".bicepparam", ".json", ".kql"})
_RECORD = re.compile(r"\d{8}t\d{6}z-[0-9a-f]{8}\.")
_SHA = re.compile(r"[0-9a-fA-F]{7,64}")
_GIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The commit that the audit record names."""

    sha: str
    head: str | None
    dirty: bool | None


def commit_of(folder: Path, given: str | None) -> Commit:
    """The given commit, or HEAD of the repository around a folder.

    Raises Halt when there is neither, or when what was given is no commit id.
    """
    if given is not None and not _SHA.fullmatch(given):
        raise Halt(
            USAGE,
            f"--git-sha {given!r} is no commit id",
            'GIT_SHA=$(git rev-parse HEAD), then "$GIT_SHA"',
        )
    head = git(folder, "rev-parse", "HEAD")
    changes = git(folder, "status", "--porcelain", "--", ".")
    if given is None and head is None:
        raise Halt(
            USAGE,
            "there is no git here to read the commit from",
            "install git, or pass --git-sha SHA",
        )
    return Commit(
        sha=given or str(head), head=head, dirty=None if changes is None else bool(changes)
    )


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints, without the line end; None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def digest_of(template: Path, parameters: Path) -> str:
    """One hash over all that a template's folder holds for Bicep, and the parameter file."""
    folder = template.parent
    files = {
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and _belongs(path.relative_to(folder))
    }
    whole = hashlib.sha256()
    for path in sorted(files | {template, parameters}):
        whole.update(f"{path}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _belongs(path: Path) -> bool:
    """What runs write down, snapshots and caches may lie beside the templates; none is deployed."""
    if path.parts[0] in {"audit", "logs", "snapshots"} or _RECORD.match(path.name):
        return False
    return not any(part.startswith(".") for part in path.parts)
