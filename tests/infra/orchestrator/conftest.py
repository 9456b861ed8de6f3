"""Fixtures of the orchestrator's tests: a repository with a recording az, and a server of apps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.orchestrator.site import Site
from tests.infra.orchestrator.world import World

INFRA = Path(__file__).parents[3] / "infra"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A repository with templates, and a recording az on PATH that answers as after `az login`."""
    made = World(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    monkeypatch.setenv("RECORDING_AZ", str(made.az.folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return made


@pytest.fixture
def site() -> Iterator[Site]:
    """A server that answers /api/health of apps."""
    with Site() as made:
        yield made
