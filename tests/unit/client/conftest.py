"""Fixtures of the client's tests: main's stand-in, and an environment without AOS settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.unit.client.stub_main import StubMain, running_stub


@pytest.fixture
def main() -> Iterator[StubMain]:
    with running_stub() as stub:
        yield stub


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AOS_"):
            monkeypatch.delenv(name)
