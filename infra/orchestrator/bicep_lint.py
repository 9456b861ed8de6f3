"""Builds the template with Bicep and stops on errors. Entry points: `lint`, `find_diagnostics`.

The exit code is not enough, because Bicep exits with 0 when it has warnings. Standard error is not
enough either, because az writes its own notices there. So the diagnostic lines are parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.orchestrator.exit_codes import ENVIRONMENT, REFUSED, Halt
from infra.orchestrator.run_context import Request, RunContext, Target

_LINE = re.compile(
    r"^(?:WARNING: |ERROR: )?(?P<file>\S.*?)\((?P<line>\d+),(?P<column>\d+)\) : "
    r"(?P<level>Error|Warning|Info) (?P<rule>[\w-]+): (?P<text>.*?)(?: \[(?P<url>https?://\S+)\])?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One error, warning or information that Bicep prints about a line of a file."""

    file: str
    line: int
    level: str
    rule: str
    text: str

    def __str__(self) -> str:
        """Level, file, line, rule and text."""
        return f"{self.level} {self.file}:{self.line} {self.rule}: {self.text}"


def lint(context: RunContext, request: Request, target: Target) -> None:
    """Build the template. Raises Halt on errors, and on warnings without --allow-warnings."""
    answer = context.az.run("bicep", "build", "--file", str(request.template), "--stdout")
    found = find_diagnostics(f"{answer.err}\n{target.diagnostics}")
    errors = [str(it) for it in found if it.level == "Error"]
    warnings = [str(it) for it in found if it.level == "Warning"]
    context.journal.set(lint={"errors": errors, "warnings": warnings})
    context.console.write_items([*errors, *warnings])
    if answer.timed_out:
        raise Halt(ENVIRONMENT, "az bicep build did not end in time", "run deploy.py again")
    if errors or not answer.succeeded:
        printed = "" if errors else f": {answer.err.strip() or 'az printed nothing'}"
        raise Halt(REFUSED, f"lint found {len(errors)} errors{printed}", "correct the template")
    if warnings and not request.allow_warnings:
        raise Halt(
            REFUSED,
            f"lint found {len(warnings)} warnings",
            "correct them, or pass --allow-warnings (not for prod)",
        )
    allowed = f", {len(warnings)} warnings allowed" if warnings else ""
    context.console.write_item(f"no errors{allowed}")


def find_diagnostics(text: str) -> list[Diagnostic]:
    """Find every diagnostic in a text, in order and without repeats."""
    found = [
        Diagnostic(
            file=it["file"],
            line=int(it["line"]),
            level=it["level"],
            rule=it["rule"],
            text=it["text"],
        )
        for it in _LINE.finditer(text.replace("\r", ""))
    ]
    return list(dict.fromkeys(found))
