"""Records and prints how a run ended. Entry points: `end_run`, `describe_interruption`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.orchestrator.audit import Journal
from infra.orchestrator.console import Console
from infra.orchestrator.exit_codes import CANCELLED, CRASHED, DONE, UNCONFIRMED, UNRECORDED, Halt

_STATES = {
    DONE: "COMPLETED",
    UNCONFIRMED: "AWAITING_CONFIRMATION",
    CANCELLED: "CANCELLED",
    129: "INTERRUPTED",
    130: "INTERRUPTED",
    143: "INTERRUPTED",
}


def end_run(journal: Journal, console: Console, end: Halt) -> int:
    """Write the last audit entry and the summary page, and return the exit code."""
    state = _STATES.get(end.code, "FAILED")
    if journal.record.get("dry_run") and end.code == DONE:
        state = "PLANNED"
    console.write_heading(f"AUDIT  {state} (exit code {end.code})")
    reason = end.reason if end.code != CRASHED else "a bug in deploy.py; see the traceback"
    console.write_items(reason.splitlines())
    if end.advice:
        console.write_item(f"next: {end.advice}")
    try:
        journal.end(state, exit_code=end.code, reason=end.reason)
        page = journal.write_file("summary.md", "\n".join(_summarize(journal.record)) + "\n")
    except (Halt, OSError) as error:
        console.write(f"the audit record could not be written: {error}; it was: {journal.record}")
        return end.code or UNRECORDED
    console.write_item(f"recorded in {journal.folder / 'audit.db'}; summary: {page}")
    return end.code


def describe_interruption(journal: Journal) -> tuple[str, str]:
    """The reason and the advice after a signal. A deployment that has begun continues in Azure."""
    phases = journal.record["phases"]
    if not phases or phases[-1]["phase"] != "DEPLOYING":
        return "interrupted", ""
    where = f"-g {journal.record['resource_group']} -n {journal.record.get('deployment_name')}"
    return (
        "interrupted while deploying: Azure continues what it has begun",
        f"az deployment group show {where}; to stop it: az deployment group cancel {where}",
    )


def _summarize(record: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a Markdown page about a run, from its audit record."""
    yield f"# {record['deployment_id']}: {record['state']}"
    yield ""
    yield from _format_table(
        {
            "environment": record.get("environment"),
            "resource group": record.get("resource_group"),
            "region": record.get("location"),
            "commit": record.get("git_sha"),
            "files differ from the commit": (record.get("git") or {}).get("dirty"),
            "subscription": (record.get("subscription") or {}).get("id"),
            "deployed by": record.get("who"),
            "started": record.get("started_at"),
            "ended": record.get("ended_at"),
            "exit code": record.get("exit_code"),
            "reason": str(record.get("reason") or "").partition("\n")[0],
        }
    )
    phases = [f"{it['phase']}: {it['result']}" for it in record.get("phases", [])]
    outputs = [f"`{name}`: {value}" for name, value in (record.get("outputs") or {}).items()]
    resources = [f"{it['state']}: {it['kind']} {it['name']}" for it in record.get("health", [])]
    yield from _format_section("Phases", phases)
    yield from _format_section("Warnings", record.get("warnings", []))
    yield from _format_section(
        "Destructive changes", (record.get("plan") or {}).get("destructive", [])
    )
    yield from _format_section("Outputs", outputs)
    yield from _format_section("Resources", resources)


def _format_table(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in facts.items() if value not in {None, ""})


def _format_section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"## {title}"
        yield ""
        yield from (f"- {line}" for line in lines)
