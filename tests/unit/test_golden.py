"""Holds the code of today to the bytes that were recorded under tests/fixtures/golden."""

from __future__ import annotations

import pytest

from tests.golden.every import KINDS
from tests.golden.kinds import FOLDER, Kind, recorded, text_of

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@every_kind
async def test_what_is_written_today_are_the_recorded_bytes(kind: Kind) -> None:
    assert (await text_of(kind)) == kind.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [k for k in KINDS if k.read], ids=lambda kind: kind.name)
async def test_the_recorded_bytes_are_read_as_the_values_they_were_made_of(kind: Kind) -> None:
    assert kind.read is not None
    read = {name: await kind.read(written) for name, written in recorded(kind).items()}
    assert read == dict(kind.examples)


def test_every_recorded_file_belongs_to_a_kind() -> None:
    assert set(FOLDER.rglob("*.json")) == {kind.path for kind in KINDS}
