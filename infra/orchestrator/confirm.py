"""Has somebody said yes to what would be lost?"""

from __future__ import annotations

from orchestrator.exits import CANCELLED, UNCONFIRMED, Halt
from orchestrator.kit import Kit
from orchestrator.plan import Plan
from orchestrator.request import Request


def confirm(kit: Kit, request: Request, plan: Plan) -> None:
    """Raise Halt unless a person, or --yes, agrees. Nobody is asked where nobody can answer."""
    if request.yes:
        kit.voice.item(f"{len(plan.losses)} destructive changes confirmed by --yes")
        kit.journal.set(confirmed_by="--yes")
        return
    if not kit.terminal.interactive():
        raise Halt(
            UNCONFIRMED,
            f"{len(plan.losses)} destructive changes need a yes, and there is no terminal",
            "review the saved plan, then run again with --yes",
        )
    answer = kit.terminal.ask(f"   Apply {len(plan.losses)} destructive changes? [y/N] ")
    if answer not in {"y", "yes"}:
        raise Halt(CANCELLED, "not confirmed", "nothing was changed")
    kit.journal.set(confirmed_by="terminal")
