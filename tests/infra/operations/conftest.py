"""Fixtures of the operations tests: storage in a real Azurite, and vaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.azurite import Azurite, azurite, running_azurite
from tests.infra.operations.vaults import StandInVaults

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
