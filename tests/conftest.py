"""Sets up the test run as a whole."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

# How long a draw or an example takes says more of what else the machine does than of the test.
settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("without a clock")


def pytest_collection_finish() -> None:
    """Take what is imported out of garbage collection, which then has little to look at."""
    gc.collect()
    gc.freeze()
