"""Tests that read the source parse it whatever the tests before them have left behind."""

from __future__ import annotations

import ast
import gc
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest


class Unlucky:
    """Garbage in a circle; its destructor formats a traceback, as that of a lost task does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        try:
            sum([1, 0 / 0])
        except ZeroDivisionError:
            traceback.format_exc()


@pytest.fixture
def often() -> Iterator[None]:
    """Garbage is collected after each few objects."""
    before = gc.get_threshold()
    gc.set_threshold(5)
    yield
    gc.set_threshold(*before)


def test_garbage_that_parses_does_not_break_a_parse(often: None) -> None:
    text = Path(__file__).read_text("utf-8")
    for _ in range(3):
        for _ in range(20):
            Unlucky()
        assert ast.parse(text).body
    assert gc.isenabled()
