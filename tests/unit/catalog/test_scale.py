"""What a catalog of many cards costs, in storage calls and in bytes."""

from __future__ import annotations

from aos.domain.cards.identity import CardKind
from aos.services.catalog import storage
from tests.unit.catalog.cards import Cards, card

MANY = 10_000


async def test_ten_thousand_cards_cost_one_small_read_to_check_and_one_download_to_change() -> None:
    cards = Cards()
    for number in range(MANY):
        name = f"a{number:05}"
        await cards.upload(name, card(name))
    cards.calls()

    publisher = cards.publisher()
    first = await publisher.publish()
    assert (len(first.changes), first.statuses_complete) == (MANY, True)
    writes = {"config write": MANY, "data write": MANY + 3}  # bodies; index, head, marker
    assert {k: v for k, v in cards.calls().items() if "write" in k} == writes

    reader = cards.reader()
    await reader.find("a00007")
    assert cards.calls() == {"data read": 3}
    await reader.version()
    assert cards.calls() == {"data read": 1}

    await cards.upload("a00007", card("a00007", purpose="Lead well"))
    cards.calls()
    edit = await publisher.publish()
    assert [change.card_id for change in edit.changes] == ["a00007"]
    assert cards.calls() == {
        "config list": 2,
        "config read": 2,  # the card, and its status file before it is replaced
        "config write": 1,
        "data read": 2,  # the head, before and after
        "data write": 4,  # body, index, head, marker
    }
    index = await cards.data.read(storage.index(str(edit.digest)))
    assert index is not None
    assert len(index.body) < 600 * MANY
    assert (await cards.status("a00007"))["catalog_version"] == 2
    entry = edit.index.entry(CardKind.AGENT, "a09999")
    assert entry is not None
    assert entry.catalog_version == 1
