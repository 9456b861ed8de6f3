"""Does Bicep find anything wrong with what is to be deployed?"""

from __future__ import annotations

from orchestrator.diagnostics import found_in
from orchestrator.exits import ENVIRONMENT, REFUSED, Halt
from orchestrator.kit import Kit
from orchestrator.request import Request, Target


def lint(kit: Kit, request: Request, target: Target) -> None:
    """Build the template. Errors always stop; warnings do unless they are allowed.

    Raises Halt. az ends with 0 on warnings, so the lines decide, not the exit code alone.
    """
    answer = kit.az.ask("bicep", "build", "--file", str(request.template), "--stdout")
    found = found_in(f"{answer.err}\n{target.diagnostics}")
    errors = [str(it) for it in found if it.level == "Error"]
    warnings = [str(it) for it in found if it.level == "Warning"]
    kit.journal.set(lint={"errors": errors, "warnings": warnings})
    kit.voice.items([*errors, *warnings])
    if answer.timed_out:
        raise Halt(ENVIRONMENT, "az bicep build did not end in time", "try again")
    if errors or not answer.ok:
        said = "" if errors else f": {answer.err.strip() or 'az said nothing'}"
        raise Halt(REFUSED, f"lint found {len(errors)} errors{said}", "correct the template")
    if warnings and not request.allow_warnings:
        raise Halt(
            REFUSED,
            f"lint found {len(warnings)} warnings",
            "correct them; outside prod --allow-warnings goes on in spite of them",
        )
    kit.voice.item("no errors" + (f", {len(warnings)} warnings allowed" if warnings else ""))
