"""Accepted means done once, whatever process dies when: seeds 1501 to 2000."""

from __future__ import annotations

import pytest

from tests.simulation.seeds import list_chunks, simulate, told


@pytest.mark.parametrize("seeds", list_chunks(1501, 2000), ids=str)
def test_accepted_means_done_once_in_every_simulated_world(seeds: range) -> None:
    for seed in seeds:
        outcome = simulate(seed)
        assert outcome.failure is None, told(outcome)
