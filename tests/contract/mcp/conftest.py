"""Each test of MCP servers cleans up behind itself, so that none hears of another's leftovers."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves behind is collected while it is still this test's."""
    yield
    gc.collect()
