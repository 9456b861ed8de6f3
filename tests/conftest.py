"""Sets up the test run as a whole."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Take what is imported out of garbage collection, which then has little to look at."""
    gc.collect()
    gc.freeze()
