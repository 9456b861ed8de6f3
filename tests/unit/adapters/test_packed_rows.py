"""Documents with many large texts, as rows that Azure takes and that are read again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aos.adapters.tables.rows import SPILLED, document, list_spilled, pack, restore
from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_options import RunOptions, SaidBefore
from tests.samples import a_head, a_request

UNITS_OF_A_PROPERTY = 32 * 1024
UNITS_OF_A_ROW = 512 * 1024


def a_request_with_history(texts: int, *, size: int) -> AdmittedRequest:
    said = tuple(SaidBefore(role="user", content=f"{n}".rjust(size)) for n in range(texts))
    return replace(a_request(), options=RunOptions(history=said))


@pytest.mark.parametrize("queued", [1, 8, 32])
def test_places_of_payloads_that_are_too_many_for_one_property_take_several(queued: int) -> None:
    """Azure refuses a property with more than 32 Ki UTF-16 units, and a row over 1 MiB."""
    waiting = tuple(a_request_with_history(64, size=2_500) for _ in range(queued))
    head = replace(a_head(a_request()), queued=waiting)
    (packed,) = pack([encode(head)])
    row = packed.entity("c", "head")
    units = {name: len(str(value).encode("utf-16-le")) // 2 for name, value in row.items()}
    assert max(units.values()) < UNITS_OF_A_PROPERTY
    assert sum(units.values()) < UNITS_OF_A_ROW
    assert {name for name in row if name.startswith("spilled")} <= set(SPILLED)
    read = document({**dict.fromkeys(SPILLED), **row})
    for item in list_spilled(row):
        restore(read, item, packed.payloads[item.digest])
    assert decode(Conversation, read) == head
