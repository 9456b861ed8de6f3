"""Checks the resources of a group. Entry points: `check_resources`, `wait_until_settled`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from infra.orchestrator.azure_cli import Az
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.clock import Clock

State = Literal["healthy", "unhealthy", "waiting", "no code", "mismatch", "unknown"]
"""`mismatch` is an app that runs another version than the expected one."""
NOT_REQUIRED: frozenset[State] = frozenset({"no code", "mismatch", "unknown"})
"""The states that an app may have when apps are not required to run."""
_WAITING: frozenset[State] = frozenset({"waiting"})
_TRANSIENT = frozenset({"accepted", "creating", "updating", "running", "activating", "deleting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    kind: str
    name: str
    state: State
    detail: str = ""

    def __str__(self) -> str:
        """State, kind, name and detail."""
        return f"{self.state:<9} {self.kind} {self.name}" + (f": {self.detail}" * bool(self.detail))


def check_resources(az: Az, group: str) -> list[Check]:
    """Check the provisioning state of every resource of a group."""
    answer = az.run("resource", "list", "--resource-group", group, "-o", "json")
    if not answer.succeeded:
        failure = classify_answer(answer)
        state: State = "waiting" if failure.environmental else "unhealthy"
        return [Check(kind="resources of", name=group, state=state, detail=failure.reason)]
    return [
        Check(
            kind=str(it["type"]),
            name=str(it["name"]),
            state=_read_state(it.get("provisioningState")),
            detail=""
            if _read_state(it.get("provisioningState")) == "healthy"
            else it["provisioningState"],
        )
        for it in answer.parse_json()
    ]


def check_platform_health(az: Az, group: str) -> list[Check]:
    """Check Azure Resource Health. Return only what is unavailable (unhealthy) or unknown."""
    answer = az.run(
        *("rest", "--method", "get", "--uri"),
        f"/subscriptions/{{subscriptionId}}/resourceGroups/{group}"
        "/providers/Microsoft.ResourceHealth/availabilityStatuses?api-version=2022-10-01",
        *("-o", "json"),
    )
    if not answer.succeeded:
        detail = classify_answer(answer).reason
        return [Check(kind="resource health of", name=group, state="unknown", detail=detail)]
    found = [_read_availability(it) for it in answer.parse_json().get("value", [])]
    return [it for it in found if it.state != "healthy"]


def wait_until_settled(
    clock: Clock,
    seconds: float,
    poll_seconds: float,
    check_all: Callable[[], list[Check]],
    *,
    unsettled: Collection[State] = _WAITING,
) -> list[Check]:
    """Repeat the checks while one is in an unsettled state. After `seconds`, `waiting` becomes
    `unhealthy`."""
    deadline = clock.seconds() + seconds
    seen = check_all()
    while any(it.state in unsettled for it in seen) and clock.seconds() < deadline:
        clock.sleep(poll_seconds)
        seen = check_all()
    return [replace(it, state="unhealthy") if it.state == "waiting" else it for it in seen]


def _read_state(provisioning: object) -> State:
    # Some resource types have no provisioning state. They count as healthy.
    state = str(provisioning or "Succeeded").lower()
    if state == "succeeded":
        return "healthy"
    return "waiting" if state in _TRANSIENT else "unhealthy"


def _read_availability(item: Mapping[str, Any]) -> Check:
    properties = item.get("properties", {})
    availability = str(properties.get("availabilityState", "Unknown"))
    states: dict[str, State] = {"Available": "healthy", "Unavailable": "unhealthy"}
    identity = str(item.get("id", "")).partition("/providers/Microsoft.ResourceHealth")[0]
    detail = f"{availability}: {properties.get('summary', '')}"
    name = identity.rpartition("/providers/")[2]
    return Check(
        kind="platform", name=name, state=states.get(availability, "unknown"), detail=detail
    )
