"""Refreshes app settings that refer to Key Vault. Entry point: `refresh_references`.

A new site resolves its references before its role on the vault is effective. It caches the failure
and resolves them again only after hours, unless it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.run_context import Request, RunContext

ROUNDS = 6
_MISSING = frozenset({"SecretNotFound", "SecretVersionNotFound"})
_VERSION = "2025-03-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An app setting of a site or a slot that refers to the vault and is not resolved."""

    site: str
    setting: str
    status: str
    secret: str

    def __str__(self) -> str:
        """What is not resolved, and what to do."""
        problem = f"{self.site}: the setting {self.setting} is not resolved ({self.status})"
        if self.status not in _MISSING:
            return f"{problem}; check the site's identity and its role on the vault"
        return f"{problem}; put {self.secret} into the vault, then deploy again"


def refresh_references(context: RunContext, request: Request, outputs: Mapping[str, Any]) -> None:
    """Refresh the sites that have unresolved references. Warn about those that stay unresolved."""
    left = _find_unresolved(context, request, _list_sites(outputs))
    refreshed: set[str] = set()
    for _ in range(ROUNDS):
        # Waiting does not create a missing secret, so its site is refreshed only once.
        sites = {it.site for it in left if it.status not in _MISSING or it.site not in refreshed}
        if not sites:
            break
        for site in sorted(sites):
            _refresh(context, request, site)
        refreshed |= sites
        context.clock.sleep(context.waits.health_poll_seconds)
        left = _find_unresolved(context, request, sorted({it.site for it in left}))
    if refreshed:
        context.journal.set(refreshed_references=sorted(refreshed))
        context.console.write_item(
            f"references to the vault were refreshed: {', '.join(sorted(refreshed))}"
        )
    for reference in left:
        context.console.warn(str(reference))


def _list_sites(outputs: Mapping[str, Any]) -> list[str]:
    names = [str(name) for name in (outputs.get("functionAppNames") or {}).values()]
    slot = str(outputs.get("stagingSlotName") or "")
    return [*names, *(f"{name}/slots/{slot}" for name in names if slot)]


def _find_unresolved(context: RunContext, request: Request, sites: list[str]) -> list[Reference]:
    return [reference for site in sites for reference in _read_unresolved(context, request, site)]


def _read_unresolved(context: RunContext, request: Request, site: str) -> list[Reference]:
    answer = context.az.run(
        "rest", "--method", "get", "--uri", _make_uri(request, site), "-o", "json"
    )
    if not answer.succeeded:
        reason = classify_answer(answer).reason
        context.console.warn(f"{site}: its references to the vault could not be read: {reason}")
        return []
    return [
        Reference(
            site=site,
            setting=str(it.get("name") or str(it.get("id", "")).rpartition("/")[2]),
            status=str(it["properties"].get("status") or "unknown"),
            secret=str(it["properties"].get("secretName") or "the secret"),
        )
        for it in answer.parse_json().get("value", [])
        if it["properties"].get("status") != "Resolved"
    ]


def _refresh(context: RunContext, request: Request, site: str) -> None:
    uri = _make_uri(request, site, "/refresh")
    answer = context.az.run("rest", "--method", "post", "--uri", uri, "-o", "none")
    if not answer.succeeded:
        reason = classify_answer(answer).reason
        context.console.warn(f"{site}: its references to the vault were not refreshed: {reason}")


def _make_uri(request: Request, site: str, action: str = "") -> str:
    # az replaces {subscriptionId} and puts the address of the cloud before the path.
    return (
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{request.resource_group}"
        f"/providers/Microsoft.Web/sites/{site}/config/configreferences/appsettings{action}"
        f"?api-version={_VERSION}"
    )
