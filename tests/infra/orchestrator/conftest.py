"""What do the tests of the orchestrator start from?

infra/ is no package: `python3 deploy.py` puts its own folder on the path, and so does this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

INFRA = Path(__file__).parents[3] / "infra"
sys.path.insert(0, str(INFRA))

from tests.infra.orchestrator.site import Site  # noqa: E402 - needs the path
from tests.infra.orchestrator.world import World  # noqa: E402 - needs the path


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
