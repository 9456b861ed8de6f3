"""What is the deployment, on one page for the team?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def summary_of(record: Mapping[str, Any]) -> str:
    """A page in Markdown, from the audit record."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {record['deployment_id']}: {record['state']}"
    yield ""
    yield from _table(
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
    yield from _section("Phases", [_phase(it) for it in record.get("phases", [])])
    yield from _section("Warnings", record.get("warnings", []))
    yield from _section("Destructive changes", (record.get("plan") or {}).get("destructive", []))
    yield from _section(
        "Outputs", [f"`{name}`: {value}" for name, value in (record.get("outputs") or {}).items()]
    )
    yield from _section(
        "Resources",
        [f"{it['state']}: {it['kind']} {it['name']}" for it in record.get("health", [])],
    )


def _table(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in facts.items() if value not in {None, ""})


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"## {title}"
        yield ""
        yield from (f"- {line}" for line in lines)


def _phase(phase: Mapping[str, Any]) -> str:
    return f"{phase['phase']}: {phase['result']}"
