"""Sets up the test run as a whole."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.scheduling import Lanes

# Half a million objects come to stay; to look through them again and again costs a second.
gc.disable()

# How long a draw or an example takes says more of what else the machine does than of the test.
settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("without a clock")


def pytest_collection_finish() -> None:
    """Take what is imported out of garbage collection, which then has little to look at."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    """Give each process files of one kind first, so that waiting and computing go side by side."""
    return Lanes(config, log)
