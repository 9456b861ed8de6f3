"""What was deployed before, and to what can one go back?"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator import parameters
from orchestrator.audit import faults, records
from orchestrator.az import Az
from orchestrator.exits import DONE, REFUSED, USAGE, Halt
from orchestrator.failures import failure_of
from orchestrator.sources import git
from orchestrator.voice import Voice

_SECONDS = 60.0


def history(
    voice: Voice, folder: Path, *, group: str | None, limit: int, as_json: bool, verify: bool
) -> int:
    """List the runs, newest first. With `verify`, an audit that was tampered with is REFUSED."""
    found = [it for it in records(folder) if group in {None, it.get("resource_group")}]
    newest = found[::-1][:limit]
    if as_json:
        voice.say(json.dumps(newest, indent=2))
    else:
        for record in newest:
            voice.say(line_of(record))
        voice.say(f"{len(newest)} of {len(found)} runs in {folder}")
    wrong = faults(folder) if verify else []
    for fault in wrong:
        voice.say(f"audit: {fault}")
    if verify and not wrong:
        voice.say("audit: the chain of hashes is whole")
    return REFUSED if wrong else DONE


def azure_history(voice: Voice, group: str, *, limit: int) -> int:
    """List what Azure remembers of a group, without the deployments of modules."""
    answer = Az.found().ask("deployment", "group", "list", "-g", group, "-o", "json")
    if not answer.ok:
        failure = failure_of(answer)
        raise Halt(USAGE, failure.reason, failure.advice)
    for it in whole_deployments(answer.value())[:limit]:
        properties = it["properties"]
        voice.say(f"{properties['timestamp']}  {properties['provisioningState']:<10} {it['name']}")
    return DONE


def whole_deployments(listed: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The deployments of the main template, newest first: only it has these outputs."""
    whole = [
        it
        for it in listed
        if "functionAppUrls" in ((it.get("properties") or {}).get("outputs") or {})
    ]
    return sorted(whole, key=lambda it: str(it["properties"].get("timestamp")), reverse=True)


def line_of(record: Mapping[str, Any]) -> str:
    """One run on one line. A run that was killed has no end and stays RUNNING or in its phase."""
    return (
        f"{record['deployment_id']}  {record['state']:<21} {record.get('environment') or '?':<8}"
        f"{record.get('resource_group')}  {str(record.get('git_sha') or '?')[:12]}"
        f"{' (rollback)' if record.get('action') == 'rollback' else ''}"
    )


def to_go_back_to(folder: Path, wanted: str, group: str | None) -> dict[str, Any]:
    """The completed run that `--to` means: an id or its start, a commit, or `last`.

    `last` is the last one that completed before whatever was deployed last. Raises Halt.
    """
    ours = [it for it in records(folder) if group in {None, it.get("resource_group")}]
    done = [it for it in ours if it["state"] == "COMPLETED"]
    if wanted == "last":
        return _last_good(folder, ours)
    named = [it for it in done if it["deployment_id"].startswith(wanted)]
    of_commit = [it for it in done if str(it.get("git_sha", "")).startswith(wanted)]
    if len(named) > 1:
        raise Halt(USAGE, f"{wanted!r} begins the id of {len(named)} runs", "give more of it")
    if not named and not of_commit:
        raise Halt(USAGE, f"no completed run is {wanted!r} in {folder}", "deploy.py history")
    return (named or of_commit)[-1]


def _last_good(folder: Path, ours: list[dict[str, Any]]) -> dict[str, Any]:
    if len({it.get("resource_group") for it in ours}) > 1:
        raise Halt(USAGE, "the audit knows several resource groups", "say which: --resource-group")
    deployed = [it for it in ours if any(_deploys(phase) for phase in it["phases"])]
    before = [it for it in deployed[:-1] if it["state"] == "COMPLETED"]
    if not before:
        raise Halt(USAGE, f"{folder} holds no completed run before the last", "deploy.py history")
    return before[-1]


def _deploys(phase: Mapping[str, Any]) -> bool:
    return bool(phase["phase"] == "DEPLOYING" and phase["result"] != "skipped")


def template_at(repository: Path, template: Path, sha: str, into: Path) -> Path:
    """The template's folder as a commit holds it, laid into a folder. Raises Halt.

    Parameters of an old deployment with the templates of today are half a way back.
    """
    top = git(repository, "rev-parse", "--show-toplevel")
    if top is None:
        raise Halt(USAGE, f"{repository} is in no git repository", "go back within a clone of it")
    folder = template.resolve().parent
    if not folder.is_relative_to(Path(top).resolve()):
        raise Halt(USAGE, f"{template} is not in the repository {top}", "pass --template")
    inside = folder.relative_to(Path(top).resolve())
    done = subprocess.run(
        ["git", "-C", top, "archive", "--format=tar", sha, "--", str(inside)],
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise Halt(USAGE, f"the commit {sha} does not hold {inside}: {said}", "git fetch --all")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # `git archive` made it, so that no name in it leads out of the folder.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(into)
    return into / inside / template.name


def parameters_of(record: Mapping[str, Any], into: Path) -> Path:
    """A parameter file with the values of a recorded run. Raises Halt."""
    values = record.get("parameter_values")
    if not values:
        raise Halt(USAGE, f"{record['deployment_id']} recorded no parameters", "pass --parameters")
    path = into / "recorded-parameters.json"
    path.write_text(parameters.as_file(values), encoding="utf-8")
    return path
