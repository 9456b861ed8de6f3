"""Checks the resources of a group. Entry points: `resources`, `platform`, `until_settled`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.az import Az
from orchestrator.clock import Clock
from orchestrator.failures import failure_of

State = Literal["healthy", "unhealthy", "waiting", "no code", "mismatch", "unknown"]
"""`mismatch`: an app that runs another version than the one expected."""
NOT_REQUIRED: frozenset[State] = frozenset({"no code", "mismatch", "unknown"})
"""What an app may be where apps need not run."""
_WAITING: frozenset[State] = frozenset({"waiting"})
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


def until_settled(
    clock: Clock,
    seconds: float,
    poll_seconds: float,
    look: Callable[[], list[Check]],
    *,
    unsettled: Collection[State] = _WAITING,
) -> list[Check]:
    """Look again while something is in an unsettled state; at the deadline `waiting` becomes
    unhealthy."""
    deadline = clock.seconds() + seconds
    seen = look()
    while any(it.state in unsettled for it in seen) and clock.seconds() < deadline:
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
