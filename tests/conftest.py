"""Ends each module of tests without leftovers for the next one."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from tests.sdk_sockets import collect_sdk_sockets


def pytest_collection_finish() -> None:
    """Take what is imported out of garbage collection, which then has little to look at."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Collect the SDK's sockets once the fixtures of a module are torn down."""
    yield
    if nextitem is None or nextitem.path != item.path:
        collect_sdk_sockets()
