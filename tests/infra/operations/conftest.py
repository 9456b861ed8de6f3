"""Fixtures of the tests of operating: storage of the test's own in a real Azurite, vaults.

infra/ is no package: `python infra/backup.py` puts its own folder on the path, and so does this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.azurite import Azurite, azurite, running_azurite
from tests.infra.operations.vaults import StandInVaults

sys.path.insert(0, str(Path(__file__).parents[3] / "infra"))

__all__ = ["azurite"]


@pytest.fixture(scope="session")
def second_region() -> Iterator[Azurite]:
    """Another storage account, empty at first."""
    with running_azurite() as running:
        yield running


@pytest.fixture
def vaults(tmp_path: Path) -> StandInVaults:
    """The stand-in for Key Vault."""
    return StandInVaults(tmp_path / "vaults")
