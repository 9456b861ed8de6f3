"""Is what was deployed healthy: every resource, and every app that has code?"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.az import Az
from orchestrator.clock import Clock
from orchestrator.failures import failure_of

State = Literal["healthy", "unhealthy", "waiting", "no code", "unknown"]
_REQUEST_SECONDS = 15.0
_NOT_OURS = " {}"
_TRANSIENT = frozenset({"accepted", "creating", "updating", "running", "activating", "deleting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at and what was seen."""

    kind: str
    name: str
    state: State
    detail: str = ""

    def __str__(self) -> str:
        """For people."""
        return f"{self.state:<9} {self.kind} {self.name}" + (f": {self.detail}" * bool(self.detail))


def resources(az: Az, group: str) -> list[Check]:
    """The provisioning state of every resource of a group."""
    answer = az.ask("resource", "list", "--resource-group", group, "-o", "json")
    if not answer.ok:
        failure = failure_of(answer)
        state: State = "waiting" if failure.environmental else "unhealthy"
        return [Check(kind="resources of", name=group, state=state, detail=failure.reason)]
    return [
        Check(
            kind=str(it["type"]),
            name=str(it["name"]),
            state=_state(it.get("provisioningState")),
            detail=""
            if _state(it.get("provisioningState")) == "healthy"
            else it["provisioningState"],
        )
        for it in answer.value()
    ]


def platform(az: Az, group: str) -> list[Check]:
    """What Azure Resource Health says of them; only what it calls unavailable is unhealthy."""
    answer = az.ask(
        *("rest", "--method", "get", "--uri"),
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{group}"
        "/providers/Microsoft.ResourceHealth/availabilityStatuses?api-version=2022-10-01",
        *("-o", "json"),
    )
    if not answer.ok:
        detail = failure_of(answer).reason
        return [Check(kind="resource health of", name=group, state="unknown", detail=detail)]
    found = [_availability(it) for it in answer.value().get("value", [])]
    return [it for it in found if it.state != "healthy"]


def app(az: Az, group: str, name: str, url: str, *, made: Collection[str] = ()) -> Check:
    """An app: no code, or what /api/health says.

    `made` names sites that did not stand before: without code their host may not run, and then
    their functions cannot be listed either.
    """
    listed = az.ask(
        *("functionapp", "function", "list"),
        *("--resource-group", group, "--name", name, "-o", "json"),
    )
    if listed.ok and not listed.value():
        return Check(kind="app", name=name, state="no code")
    seen = health(name, url)
    if name in made and not listed.ok and seen.detail.endswith(_NOT_OURS):
        return Check(kind="app", name=name, state="no code")
    return seen


def health(name: str, url: str) -> Check:
    """What an app says of itself. `waiting` is whatever may still become well."""
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=_REQUEST_SECONDS) as reply:
            status, body = reply.status, reply.read(65536)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(65536)
    except (OSError, http.client.HTTPException) as error:
        return Check(
            kind="app", name=name, state="waiting", detail=f"{url} does not answer: {error}"
        )
    if status in {401, 403}:
        detail = f"{url} answers {status}: not to be reached from here (access restrictions?)"
        return Check(kind="app", name=name, state="unknown", detail=detail)
    said = _said(body)
    if status == 200 and said.get("status") == "healthy":
        return Check(
            kind="app", name=name, state="healthy", detail="paused" * bool(said.get("paused"))
        )
    detail = f"/api/health answers {status} {json.dumps(said)[:400]}"
    return Check(kind="app", name=name, state="waiting", detail=detail)


def until_settled(clock: Clock, seconds: float, poll_seconds: float, look: Any) -> list[Check]:
    """Look again while something is `waiting`; at the deadline that is unhealthy."""
    deadline = clock.seconds() + seconds
    seen: list[Check] = look()
    while any(it.state == "waiting" for it in seen) and clock.seconds() < deadline:
        clock.sleep(poll_seconds)
        seen = look()
    return [_late(it) if it.state == "waiting" else it for it in seen]


def _late(check: Check) -> Check:
    return Check(kind=check.kind, name=check.name, state="unhealthy", detail=check.detail)


def _state(provisioning: object) -> State:
    # Some types have no such state: nothing is known against them.
    state = str(provisioning or "Succeeded").lower()
    if state == "succeeded":
        return "healthy"
    return "waiting" if state in _TRANSIENT else "unhealthy"


def _availability(item: Mapping[str, Any]) -> Check:
    properties = item.get("properties", {})
    said = str(properties.get("availabilityState", "Unknown"))
    states: dict[str, State] = {"Available": "healthy", "Unavailable": "unhealthy"}
    identity = str(item.get("id", "")).partition("/providers/Microsoft.ResourceHealth")[0]
    detail = f"{said}: {properties.get('summary', '')}"
    name = identity.rpartition("/providers/")[2]
    return Check(kind="platform", name=name, state=states.get(said, "unknown"), detail=detail)


def _said(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
