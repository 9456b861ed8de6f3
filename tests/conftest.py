"""Sets up the test run as a whole."""

from __future__ import annotations

import ast
import functools
import gc
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.scheduling import Lanes

# Half a million objects come to stay; to look through them again and again costs a second.
gc.disable()

_parse = ast.parse


@functools.wraps(_parse)
def _parse_undisturbed(*given: Any, **options: Any) -> ast.AST:
    """Parse without garbage collection.

    A destructor that runs in the middle may format a traceback, for which Python 3.11 parses a line
    itself; the outer parse then fails (SystemError, python/cpython#106905).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return _parse(*given, **options)
    finally:
        if was_on:
            gc.enable()


ast.parse = _parse_undisturbed

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
