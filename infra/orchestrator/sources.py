"""Finds the commit and hashes the source files. Entry points: `find_commit`, `digest_sources`."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.orchestrator.exit_codes import USAGE, Halt

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


def find_commit(folder: Path, given: str | None) -> Commit:
    """Return the given commit, or HEAD of the repository that contains a folder.

    Raises Halt when there is neither, or when the given text is not a commit id.
    """
    if given is not None and not _SHA.fullmatch(given):
        raise Halt(
            USAGE,
            f"--git-sha {given!r} is not a commit id",
            'run GIT_SHA=$(git rev-parse HEAD) and pass --git-sha "$GIT_SHA"',
        )
    head = run_git(folder, "rev-parse", "HEAD")
    changes = run_git(folder, "status", "--porcelain", "--", ".")
    if given is None and head is None:
        raise Halt(
            USAGE,
            "the commit cannot be read: git is missing, or this is not a git repository",
            "install git, or pass --git-sha SHA",
        )
    return Commit(
        sha=given or str(head), head=head, dirty=None if changes is None else bool(changes)
    )


def run_git(folder: Path, *arguments: str) -> str | None:
    """Run git and return what it prints. None when git or the repository is missing."""
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


def digest_sources(template: Path, parameters: Path) -> str:
    """Hash the parameter file and all files in the template's folder that Bicep may read."""
    folder = template.parent
    files = {
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and _is_source(path.relative_to(folder))
    }
    whole = hashlib.sha256()
    for path in sorted(files | {template, parameters}):
        whole.update(f"{path}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _is_source(path: Path) -> bool:
    """Whether a file may be deployed. Records of runs, snapshots and caches are not sources."""
    if path.parts[0] in {"audit", "logs", "snapshots"} or _RECORD.match(path.name):
        return False
    return not any(part.startswith(".") for part in path.parts)
