"""Refreshes settings that refer to the vault until they are resolved. Entry point: `settle`.

A new site looks a reference up while its role may not hold yet, keeps the failure, and by itself
looks again only after hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.failures import failure_of
from orchestrator.kit import Kit
from orchestrator.request import Request

ROUNDS = 6
_MISSING = frozenset({"SecretNotFound", "SecretVersionNotFound"})
_VERSION = "2025-03-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A setting of a site, or of its slot, that the platform has not resolved."""

    site: str
    setting: str
    status: str
    secret: str

    def __str__(self) -> str:
        """For people, with what to do."""
        said = f"{self.site}: the setting {self.setting} is not resolved ({self.status})"
        if self.status not in _MISSING:
            return f"{said}; look at the site's identity and its role on the vault"
        return f"{said}; put {self.secret} into the vault, then deploy again"


def settle(kit: Kit, request: Request, outputs: Mapping[str, Any]) -> None:
    """Refresh each site with references that are not resolved; what stays so is a warning."""
    left = _look(kit, request, _sites(outputs))
    refreshed: set[str] = set()
    for _ in range(ROUNDS):
        # A secret that is missing does not come by waiting: one refresh is enough.
        sites = {it.site for it in left if it.status not in _MISSING or it.site not in refreshed}
        if not sites:
            break
        for site in sorted(sites):
            _refresh(kit, request, site)
        refreshed |= sites
        kit.clock.sleep(kit.patience.health_poll_seconds)
        left = _look(kit, request, sorted({it.site for it in left}))
    if refreshed:
        kit.journal.set(refreshed_references=sorted(refreshed))
        kit.voice.item(f"references to the vault refreshed: {', '.join(sorted(refreshed))}")
    for reference in left:
        kit.voice.warn(str(reference))


def _sites(outputs: Mapping[str, Any]) -> list[str]:
    names = [str(name) for name in (outputs.get("functionAppNames") or {}).values()]
    slot = str(outputs.get("stagingSlotName") or "")
    return [*names, *(f"{name}/slots/{slot}" for name in names if slot)]


def _look(kit: Kit, request: Request, sites: list[str]) -> list[Reference]:
    return [reference for site in sites for reference in _unresolved(kit, request, site)]


def _unresolved(kit: Kit, request: Request, site: str) -> list[Reference]:
    answer = kit.az.ask("rest", "--method", "get", "--uri", _uri(request, site), "-o", "json")
    if not answer.ok:
        reason = failure_of(answer).reason
        kit.voice.warn(f"{site}: its references to the vault could not be read: {reason}")
        return []
    return [
        Reference(
            site=site,
            setting=str(it.get("name") or str(it.get("id", "")).rpartition("/")[2]),
            status=str(it["properties"].get("status") or "unknown"),
            secret=str(it["properties"].get("secretName") or "the secret"),
        )
        for it in answer.value().get("value", [])
        if it["properties"].get("status") != "Resolved"
    ]


def _refresh(kit: Kit, request: Request, site: str) -> None:
    uri = _uri(request, site, "/refresh")
    answer = kit.az.ask("rest", "--method", "post", "--uri", uri, "-o", "none")
    if not answer.ok:
        reason = failure_of(answer).reason
        kit.voice.warn(f"{site}: its references to the vault were not refreshed: {reason}")


def _uri(request: Request, site: str, action: str = "") -> str:
    # az fills in {subscriptionId} and puts the cloud's own address before it.
    return (
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{request.resource_group}"
        f"/providers/Microsoft.Web/sites/{site}/config/configreferences/appsettings{action}"
        f"?api-version={_VERSION}"
    )
