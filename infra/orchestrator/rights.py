"""May whoever is logged in deploy here?"""

from __future__ import annotations

from typing import Any

from orchestrator.exits import USAGE, Halt
from orchestrator.failures import failure_of
from orchestrator.kit import Kit

_ALL = "Owner"
_DEPLOYS = "Contributor"
_ASSIGNS = ("User Access Administrator", "Role Based Access Control Administrator")


def check(kit: Kit, account: dict[str, Any], scope: str) -> None:
    """Raise Halt that names the missing role; only warn where roles cannot be read."""
    who = str(account.get("user", {}).get("name", ""))
    answer = kit.az.ask(
        *("role", "assignment", "list", "--assignee", who, "--scope", scope),
        *("--include-inherited", "--include-groups", "-o", "json"),
    )
    if not answer.ok:
        kit.voice.warn(f"your roles could not be read: {failure_of(answer).reason}")
        return
    roles = {str(it.get("roleDefinitionName")) for it in answer.value()}
    missing = _missing(roles)
    if missing:
        raise Halt(
            USAGE,
            f"{who} lacks {' and '.join(missing)} on {scope}",
            "have it assigned; with custom roles that allow the same: --skip-rights",
        )
    kit.voice.item(f"rights: {', '.join(sorted(roles))}")


def _missing(roles: set[str]) -> list[str]:
    if _ALL in roles:
        return []
    missing = [] if _DEPLOYS in roles else [_DEPLOYS]
    return missing if roles & set(_ASSIGNS) else [*missing, _ASSIGNS[0]]
