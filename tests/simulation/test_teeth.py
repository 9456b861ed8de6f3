"""The simulation has teeth: each bug that is planted is found, and soon."""

from __future__ import annotations

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate

FOUND_WITHIN = 500


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_bug_is_found(name: str) -> None:
    with PLANTED[name]():
        for seed in range(1, FOUND_WITHIN + 1):
            if simulate(seed).failure is not None:
                return
    pytest.fail(f"{name} was not found within {FOUND_WITHIN} seeds")
