"""Documents with many large texts, as rows that Azure takes and that are read again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aos.adapters.tables.rows import SPILLED, document, list_spilled, pack, restore
from aos.domain.codec import decode, encode
from aos.domain.row_kinds import LARGEST_PROPERTY
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_options import RunOptions, SaidBefore
from tests.samples import a_head, a_request

UNITS_OF_A_ROW = 512 * 1024


def a_request_with_history(texts: int, *, size: int) -> AdmittedRequest:
    said = tuple(SaidBefore(role="user", content=f"{n}".rjust(size)) for n in range(texts))
    return replace(a_request(), options=RunOptions(history=said))


@pytest.mark.parametrize("size", [100, 500, 2_500])
@pytest.mark.parametrize("queued", [1, 8, 32])
def test_a_head_takes_the_requests_of_a_full_queue_whatever_their_sizes(
    queued: int, size: int
) -> None:
    waiting = tuple(a_request_with_history(64, size=size) for _ in range(queued))
    head = replace(a_head(a_request()), queued=waiting)
    assert decode(Conversation, write_and_read(encode(head))) == head


@pytest.mark.parametrize("texts", [64, 512, 2_000])
def test_places_of_payloads_that_are_too_many_for_one_property_take_several(texts: int) -> None:
    written = {"texts": [f"{n}".rjust(2_500) for n in range(texts)]}
    assert write_and_read(written) == written


def write_and_read(written: dict[str, Any]) -> dict[str, Any]:
    """Azure refuses a property with more than 32 Ki UTF-16 units, and a row over 1 MiB."""
    (packed,) = pack([written])
    row = packed.entity("c", "head")
    units = {name: len(str(value).encode("utf-16-le")) // 2 for name, value in row.items()}
    assert max(units.values()) < LARGEST_PROPERTY
    assert sum(units.values()) < UNITS_OF_A_ROW
    assert {name for name in row if name.startswith("spilled")} <= set(SPILLED)
    read = document({**dict.fromkeys(SPILLED), **row})
    for item in list_spilled(row):
        restore(read, item, packed.payloads[item.digest])
    return read
