"""Lists earlier runs and prepares a rollback. Entry points: `list_runs`, `find_rollback_target`."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.orchestrator.audit import find_faults, read_records
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.console import Console
from infra.orchestrator.exit_codes import DONE, ENVIRONMENT, REFUSED, USAGE, Halt
from infra.orchestrator.parameters import format_parameter_file
from infra.orchestrator.sources import run_git

_SECONDS = 60.0


def list_runs(
    console: Console, folder: Path, *, group: str | None, limit: int, as_json: bool, verify: bool
) -> int:
    """List the runs, newest first, and return the exit code. `verify` checks the audit database."""
    found = [it for it in read_records(folder) if group in {None, it.get("resource_group")}]
    newest = found[::-1][:limit]
    if as_json:
        console.write(json.dumps(newest, indent=2))
    else:
        for record in newest:
            console.write(format_run(record))
        console.write(f"{len(newest)} of {len(found)} runs in {folder}")
    wrong = find_faults(folder) if verify else []
    for fault in wrong:
        console.write(f"audit: {fault}")
    if verify and not wrong:
        console.write("audit: the hashes of all entries are correct")
    return REFUSED if wrong else DONE


def list_azure_deployments(console: Console, group: str, *, limit: int) -> int:
    """List the deployments that Azure has stored for a group, without those of modules."""
    answer = Az.find().run("deployment", "group", "list", "-g", group, "-o", "json")
    if not answer.succeeded:
        failure = classify_answer(answer)
        raise Halt(USAGE, failure.reason, failure.advice)
    for it in select_main_deployments(answer.parse_json())[:limit]:
        properties = it["properties"]
        console.write(
            f"{properties['timestamp']}  {properties['provisioningState']:<10} {it['name']}"
        )
    return DONE


def select_main_deployments(listed: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Select the deployments of the main template, newest first, by their outputs."""
    whole = [
        it
        for it in listed
        if "functionAppUrls" in ((it.get("properties") or {}).get("outputs") or {})
    ]
    return sorted(whole, key=lambda it: str(it["properties"].get("timestamp")), reverse=True)


def read_outputs(az: Az, group: str) -> dict[str, Any]:
    """Read the outputs of the newest successful deployment of the main template to a group.

    The names of the resources are taken from them, because a name may have a suffix. Raises Halt
    (USAGE, ENVIRONMENT).
    """
    answer = az.run("deployment", "group", "list", "--resource-group", group, "-o", "json")
    if not answer.succeeded:
        failure = classify_answer(answer)
        code = ENVIRONMENT if failure.environmental else USAGE
        raise Halt(code, failure.reason, failure.advice)
    for it in select_main_deployments(answer.parse_json()):
        if it["properties"].get("provisioningState") == "Succeeded":
            outputs = it["properties"]["outputs"]
            return {name: output.get("value") for name, output in outputs.items()}
    raise Halt(
        USAGE, f"AOS was not deployed to the resource group {group}", "check --resource-group"
    )


def format_run(record: Mapping[str, Any]) -> str:
    """Format one run on one line. The state of a killed run stays RUNNING or its last phase."""
    return (
        f"{record['deployment_id']}  {record['state']:<21} {record.get('environment') or '?':<8}"
        f"{record.get('resource_group')}  {str(record.get('git_sha') or '?')[:12]}"
        f"{' (rollback)' if record.get('action') == 'rollback' else ''}"
    )


def find_rollback_target(folder: Path, wanted: str, group: str | None) -> dict[str, Any]:
    """Find the completed run that `--to` names: an id or its beginning, a commit, or `last`.

    `last` is the newest completed run before the newest run that deployed. Raises Halt.
    """
    ours = [it for it in read_records(folder) if group in {None, it.get("resource_group")}]
    done = [it for it in ours if it["state"] == "COMPLETED"]
    if wanted == "last":
        return _find_last_completed(folder, ours)
    named = [it for it in done if it["deployment_id"].startswith(wanted)]
    of_commit = [it for it in done if str(it.get("git_sha", "")).startswith(wanted)]
    if len(named) > 1:
        raise Halt(
            USAGE,
            f"the ids of {len(named)} runs begin with {wanted!r}",
            "give more characters of the id",
        )
    if not named and not of_commit:
        raise Halt(
            USAGE,
            f"there is no completed run {wanted!r} in {folder}",
            "deploy.py history lists the runs",
        )
    return (named or of_commit)[-1]


def _find_last_completed(folder: Path, ours: list[dict[str, Any]]) -> dict[str, Any]:
    if len({it.get("resource_group") for it in ours}) > 1:
        raise Halt(
            USAGE, "the audit folder has runs of several resource groups", "pass --resource-group"
        )
    deployed = [it for it in ours if _has_deployed(it)]
    before = [it for it in deployed[:-1] if it["state"] == "COMPLETED"]
    if not before:
        raise Halt(
            USAGE,
            f"{folder} has no completed run before the last one",
            "deploy.py history lists the runs",
        )
    return before[-1]


def _has_deployed(record: Mapping[str, Any]) -> bool:
    results = {it["phase"]: it["result"] for it in record["phases"]}
    return bool(results.get("DEPLOYING", "skipped") != "skipped")


def extract_template(repository: Path, template: Path, sha: str, into: Path) -> Path:
    """Write the template's folder of a commit into `into` and return the template. Raises Halt.

    A rollback needs the templates of the commit, not only the parameters of the run.
    """
    top = run_git(repository, "rev-parse", "--show-toplevel")
    if top is None:
        raise Halt(USAGE, f"{repository} is not in a git repository", "run rollback in a clone")
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
        reason = done.stderr.decode(errors="replace").strip()
        raise Halt(
            USAGE, f"the commit {sha} does not contain {inside}: {reason}", "git fetch --all"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        # `git archive` made the file, so no name in it leads out of the folder.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(into)
    return into / inside / template.name


def write_recorded_parameters(record: Mapping[str, Any], into: Path) -> Path:
    """Write a parameter file with the values of a recorded run. Raises Halt."""
    values = record.get("parameter_values")
    if not values:
        raise Halt(
            USAGE, f"the record of {record['deployment_id']} has no parameters", "pass --parameters"
        )
    path = into / "recorded-parameters.json"
    path.write_text(format_parameter_file(values), encoding="utf-8")
    return path
