"""What main, realm and mcp see of the catalog, and what seeing it costs."""

from __future__ import annotations

import asyncio

import pytest

from aos.adapters.memory.blobs import Moment, Operation
from aos.domain.cards.identity import digest_of
from aos.domain.cards.policy import LimitBounds
from aos.errors import Refused, TransientError
from aos.services.catalog import storage
from aos.services.catalog.reader import CatalogReader
from tests.unit.catalog.cards import Cards, card


async def _published() -> Cards:
    cards = Cards()
    await cards.upload("ceo", card())
    await cards.publisher().publish()
    cards.calls()
    return cards


async def test_the_head_is_checked_at_most_every_two_seconds() -> None:
    cards = await _published()
    reader = cards.reader(check_every_seconds=2.0)
    for _ in range(10):
        await reader.find("ceo")
        cards.clock.advance(0.19)
    assert cards.calls() == {"data read": 3}  # head, index, card
    cards.clock.advance(1)
    await reader.find("ceo")
    assert cards.calls() == {"data read": 1}  # the head, unchanged


async def test_a_newer_version_that_a_command_names_is_read_at_once() -> None:
    cards = await _published()
    reader = cards.reader(check_every_seconds=2.0)
    assert (await reader.find("ceo")).card.purpose == "Lead"
    await cards.upload("ceo", card(purpose="Lead well"))
    await cards.publisher().publish()
    assert (await reader.find("ceo")).card.purpose == "Lead"
    assert (await reader.find("ceo", at_least=2)).card.purpose == "Lead well"
    assert await reader.version() == 2


async def test_a_catalog_that_was_begun_anew_serves_though_its_version_is_lower() -> None:
    cards = await _published()
    reader = cards.reader()
    await reader.version()
    await cards.data.delete(storage.HEAD)
    await cards.publisher().publish()
    assert (await reader.find("ceo", at_least=7)).card.purpose == "Lead"


async def test_while_storage_is_away_what_is_known_goes_on_serving() -> None:
    cards = await _published()
    away = False

    async def hook(operation: Operation, name: str, moment: Moment) -> None:
        if away:
            raise TransientError("storage is away")

    cards.data.hook = hook
    reader = cards.reader(check_every_seconds=2.0)
    await reader.find("ceo")
    away = True
    cards.clock.advance(60)
    assert (await reader.find("ceo")).card.purpose == "Lead"
    with pytest.raises(TransientError):
        await reader.find("ceo", at_least=2)
    with pytest.raises(TransientError):
        await cards.reader().find("ceo")


async def test_many_callers_at_once_make_one_check() -> None:
    cards = await _published()
    reader = cards.reader(check_every_seconds=2.0)
    await asyncio.gather(*(reader.read() for _ in range(50)))
    assert cards.calls() == {"data read": 2}


async def test_cards_that_are_not_used_are_forgotten_and_read_again() -> None:
    cards = Cards()
    for number in range(3):
        await cards.upload(f"a{number}", card(f"a{number}"))
    await cards.publisher().publish()
    reader = CatalogReader(cards.data, cards.clock, max_cards_cached=2)
    for number in (0, 1, 2):
        await reader.find(f"a{number}")
    cards.calls()
    await reader.find("a2")
    await reader.find("a0")
    assert cards.calls() == {"data read": 1}


async def test_the_operators_bounds_are_what_a_silent_card_gets() -> None:
    cards = await _published()
    reader = CatalogReader(cards.data, cards.clock, bounds=LimitBounds(max_turns=7))
    assert (await reader.find("ceo")).card.limits.max_turns == 7


async def test_a_card_with_a_bom_is_read() -> None:
    cards = Cards()
    body = b"\xef\xbb\xbf" + card()
    await cards.upload("ceo", body)
    await cards.publisher().publish()
    assert (await cards.reader().find("ceo")).digest == digest_of(body)


async def test_an_unknown_server_is_refused_with_the_place_to_upload_it() -> None:
    cards = await _published()
    with pytest.raises(Refused, match=r"upload mcp-servers/github\.json") as refusal:
        await cards.reader().server("github")
    assert refusal.value.code == "server_not_found"


async def test_a_check_that_failed_before_anything_was_known_is_made_again() -> None:
    cards = await _published()
    faults = [TransientError("storage is away"), TransientError("storage is away")]

    async def hook(operation: Operation, name: str, moment: Moment) -> None:
        await asyncio.sleep(0)
        if faults:
            raise faults.pop()

    cards.data.hook = hook
    reader = cards.reader()
    done = await asyncio.gather(*(reader.read_again() for _ in range(3)), return_exceptions=True)
    assert [isinstance(one, TransientError) for one in done] == [True, True, False]
    assert done[2] == reader.known
