"""One row of a test table: what az answers, how deploy.py is called, and how it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from infra.orchestrator.audit import find_faults
from tests.infra.orchestrator.world import FakeTerminal, World

# The state that the audit record must end in, by exit code.
STATES = {0: "COMPLETED", 3: "AWAITING_CONFIRMATION", 4: "CANCELLED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row. `creates` is how often `az deployment group create` must have been called."""

    given: Callable[[World], Any] = lambda _: None
    flags: tuple[str, ...] = ()
    changed: dict[str, str] = field(default_factory=dict)
    answer: str | None = None
    code: int = 0
    last: str = "VERIFYING_HEALTH"
    creates: int = 1
    waits: list[float] | None = None
    says: tuple[str, ...] = ()
    state: str | None = None


def table(rows: dict[str, Scenario]) -> Any:
    """A parametrize mark whose ids are sentences."""
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=name.replace(" ", "_")) for name, row in rows.items()]
    )


def play(world: World, row: Scenario) -> None:
    """Run it and hold everything that a row says, and that the record is whole and says it too."""
    row.given(world)
    world.terminal = FakeTerminal(row.answer)
    code = world.deploy(*row.flags, **row.changed)
    assert code == row.code, world.said
    record = world.record()
    last = [it["phase"] for it in record["phases"] if it["result"] != "skipped"][-1]
    assert last == row.last, world.said
    assert len(world.az.calls("deployment group create")) == row.creates
    assert record["state"] == (row.state or STATES.get(code, "FAILED"))
    assert record["exit_code"] == code
    assert find_faults(world.audit) == []
    for text in row.says:
        assert text in world.said
    if row.waits is not None:
        assert world.clock.waits == row.waits
