"""Fixtures of the contract tests: the same suite on fakes and on real parts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aos.adapters.tables import account
from aos.adapters.tables.account import Entity, TableClients, Write
from aos.domain.row_kinds import find_row_kind
from tests.contract.azurite import azurite

__all__ = ["azurite"]


class DeclaredRows(account.Table):
    """A table that takes no row of a kind that is not declared."""

    def __init__(self, clients: TableClients, name: str) -> None:
        super().__init__(clients, name)
        self.name = name

    def check(self, entity: Entity) -> None:
        """Raise KeyError for a row of no declared kind."""
        if self.name.startswith("aos"):
            find_row_kind(self.name, entity["PartitionKey"], entity["RowKey"])

    async def insert(self, entity: Entity) -> str:
        self.check(entity)
        return await super().insert(entity)

    async def put(self, entity: Entity) -> str:
        self.check(entity)
        return await super().put(entity)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        for write in writes:
            self.check(write.entity)
        return await super().transact(writes)


@pytest.fixture(autouse=True)
def declared_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row that a store writes in these tests is of a declared kind."""
    monkeypatch.setattr("aos.adapters.tables.azure.Table", DeclaredRows)
