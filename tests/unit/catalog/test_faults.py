"""A publisher may die at any call, and any number of them may work at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest

from aos.adapters.memory.blobs import Moment, Operation
from aos.domain.cards.catalog import CatalogIndex
from aos.domain.cards.catalog_json import marker_from_json
from aos.domain.cards.identity import CardKind, digest_of
from aos.errors import AosError, OutcomeUnknown, TransientError
from aos.services.catalog import storage
from tests.unit.catalog.cards import Cards, Crash, FailAt, card

MAX_CALLS = 60
AWAY: tuple[Callable[[], BaseException], ...] = (
    Crash,
    lambda: TransientError("storage is away"),
    lambda: OutcomeUnknown("no answer"),
)


async def _changed() -> Cards:
    """A published catalog, and since then a change, a broken card, a new one and one removed."""
    cards = Cards()
    for name in ("ceo", "cfo", "cto"):
        await cards.upload(name, card(name))
    await cards.publisher().publish()
    await cards.upload("ceo", card("ceo", purpose="Lead well"))
    await cards.upload("cfo", b"{")
    await cards.upload("coo", card("coo"))
    await cards.remove("cto")
    return cards


def _states(index: CatalogIndex) -> dict[str, str]:
    return {card_id: entry.state for (_, card_id), entry in index.entries.items()}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", AWAY, ids=["crash", "away", "unknown"])
async def test_a_publisher_that_fails_at_any_call_leaves_what_was_or_what_will_be(
    fault: Callable[[], BaseException], moment: Moment
) -> None:
    for number in range(1, MAX_CALLS):
        cards = await _changed()
        before = await cards.published()
        hook = FailAt(number, moment, fault())
        failed = False
        try:
            outcome = await cards.hooked_publisher(hook).publish()
            failed = not outcome.statuses_complete
        except (Crash, TransientError):
            failed = True
        now = await cards.published()
        assert now == before or _states(now) == _states_wanted(), f"call {number}"
        reader = cards.reader()
        for name in ("ceo", "cfo"):
            assert (await reader.find(name)).card.purpose in ("Lead", "Lead well")
        final = await cards.publisher().publish()
        assert final.statuses_complete
        assert _states(await cards.published()) == _states_wanted()
        await cards.assert_told()
        if hook.seen < number:
            assert not failed
            break
    else:
        raise AssertionError(f"a publication takes more than {MAX_CALLS} calls")


def _states_wanted() -> dict[str, str]:
    return {"ceo": "active", "cfo": "rejected", "coo": "active", "cto": "removed"}


async def test_the_same_publisher_goes_on_after_a_fault() -> None:
    for number in range(1, MAX_CALLS):
        cards = await _changed()
        hook = FailAt(number, "after", OutcomeUnknown("no answer"))
        publisher = cards.hooked_publisher(hook)
        with contextlib.suppress(TransientError):
            await publisher.publish()
        if hook.seen < number:
            return
        outcome = await publisher.publish()
        assert outcome.statuses_complete
        await cards.assert_told()
    raise AssertionError("never without a fault")


async def test_a_head_whose_answer_was_lost_is_known_as_ours() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    hook = FailAt(1, "after", OutcomeUnknown("no answer"), only=storage.HEAD)
    hook.seen = -1  # the first call on the head is its reading
    outcome = await cards.hooked_publisher(hook).publish()
    assert (outcome.published, outcome.version, len(outcome.changes)) == (True, 1, 1)


async def test_of_two_publishers_the_loser_starts_over_on_the_winners_catalog() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    await cards.publisher().publish()
    await cards.upload("cfo", card("cfo"))
    raced = False

    async def race(operation: Operation, name: str, moment: Moment) -> None:
        nonlocal raced
        if (operation, name, moment, raced) == ("write", storage.HEAD, "before", False):
            raced = True
            await cards.upload("coo", card("coo"))
            await cards.publisher().publish()

    outcome = await cards.hooked_publisher(race).publish()
    assert raced
    assert (outcome.published, outcome.version, outcome.changes) == (False, 2, ())
    assert set(_states(await cards.published())) == {"ceo", "cfo", "coo"}
    await cards.assert_told()


async def test_publishers_that_always_lose_give_up_with_a_transient_error() -> None:
    cards = Cards()
    count = 0

    async def race(operation: Operation, name: str, moment: Moment) -> None:
        nonlocal count
        if (operation, name, moment) == ("write", storage.HEAD, "before"):
            count += 1
            await cards.upload(f"a{count}", card(f"a{count}"))
            await cards.publisher().publish()
            await cards.upload("ceo", card(purpose=f"Lead {count}"))

    await cards.upload("ceo", card())
    with pytest.raises(TransientError, match="other publishers write the catalog at the same time"):
        await cards.hooked_publisher(race).publish()
    assert count == 8


@pytest.mark.parametrize("seed", range(30))
async def test_publishers_and_editors_at_once_lose_nothing_and_tell_everything(seed: int) -> None:
    rng = random.Random(seed)
    cards = Cards()

    async def shuffle(operation: Operation, name: str, moment: Moment) -> None:
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)

    publishers = [cards.hooked_publisher(shuffle) for _ in range(3)]

    async def work(worker: int) -> None:
        for step in range(4):
            name = f"a{rng.randrange(3)}"
            body = rng.choice([card(name, purpose=f"{worker}.{step}"), b"{", None])
            if body is None:
                await cards.remove(name)
            else:
                await cards.upload(name, body)
            await publishers[worker].publish()

    await asyncio.gather(*(work(worker) for worker in range(3)))
    last = await cards.publisher().publish()
    assert last.statuses_complete
    await cards.assert_told()
    listed = {blob.name for blob in await cards.config.list("agents/")}
    states = _states(await cards.published())
    assert {f"agents/{name}.json" for name, s in states.items() if s != "removed"} == listed


async def test_a_marker_that_lags_has_the_status_files_written_again() -> None:
    cards = await _changed()
    hook = FailAt(1, "before", Crash(), only=storage.MARKER)
    with pytest.raises(Crash):
        await cards.hooked_publisher(hook).publish()
    await cards.config.delete(storage.status(CardKind.AGENT, "ceo"))
    outcome = await cards.publisher().publish()
    assert (outcome.published, outcome.statuses_complete) == (False, True)
    await cards.assert_told()
    marker = await cards.data.read(storage.MARKER)
    assert marker is not None
    assert marker_from_json(marker.body) == (await cards.published()).revision


async def test_status_files_that_two_publications_owe_are_all_written_by_the_third() -> None:
    cards = Cards()
    for name in ("ceo", "cfo"):
        await cards.upload(name, card(name))
        hook = FailAt(1, "before", Crash(), only="status/")
        with pytest.raises(Crash):
            await cards.hooked_publisher(hook).publish()
    await cards.upload("coo", card("coo"))
    assert (await cards.publisher().publish()).statuses_complete
    await cards.assert_told()


async def test_an_older_publisher_never_overwrites_what_a_newer_one_told() -> None:
    cards = Cards()
    await cards.upload("ceo", card(purpose="One"))
    raced = False

    async def race(operation: Operation, name: str, moment: Moment) -> None:
        nonlocal raced
        if name.startswith("status/") and operation == "write" and moment == "before" and not raced:
            raced = True
            await cards.upload("ceo", card(purpose="Two"))
            await cards.publisher().publish()

    outcome = await cards.hooked_publisher(race).publish()
    assert raced
    assert outcome.statuses_complete is False
    await cards.assert_told()
    assert (await cards.status("ceo"))["digest"] == digest_of(card(purpose="Two"))


async def test_a_listing_that_fails_removes_nothing() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    await cards.publisher().publish()
    hook = FailAt(1, "before", TransientError("half a listing"), only="mcp-servers/")
    with pytest.raises(TransientError):
        await cards.hooked_publisher(hook).publish()
    assert _states(await cards.published()) == {"ceo": "active"}


async def test_a_card_that_vanishes_while_it_is_read_waits_for_the_next_listing() -> None:
    cards = Cards()
    await cards.upload("ceo", card(purpose="One"))
    publisher_hook_done = False
    await cards.publisher().publish()
    await cards.upload("ceo", card(purpose="Two"))

    async def vanish(operation: Operation, name: str, moment: Moment) -> None:
        nonlocal publisher_hook_done
        if (operation, name, moment) == ("read", "agents/ceo.json", "before"):
            publisher_hook_done = True
            await cards.remove("ceo")

    await cards.hooked_publisher(vanish).publish()
    assert publisher_hook_done
    assert (await cards.reader().find("ceo")).card.purpose == "One"
    await cards.publisher().publish()
    assert (await cards.status("ceo"))["state"] == "removed"


async def test_a_card_that_grows_after_the_listing_is_rejected_and_not_cut() -> None:
    cards = Cards()
    await cards.upload("ceo", card())

    async def grow(operation: Operation, name: str, moment: Moment) -> None:
        if (operation, name, moment) == ("read", "agents/ceo.json", "before"):
            await cards.upload("ceo", card(instructions="x" * 70_000))

    await cards.hooked_publisher(grow).publish()
    status = await cards.status("ceo")
    assert (status["state"], status["errors"][0]["path"]) == ("rejected", "$")


async def test_an_altered_index_is_an_error_that_says_how_to_begin_anew() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    digest = (await cards.publisher().publish()).digest
    assert digest is not None
    await cards.data.write(storage.index(digest), b'{"version": 9}')
    with pytest.raises(AosError, match=r"delete 'catalog/head\.json' in aos-data"):
        await cards.publisher().publish()
    await cards.data.delete(storage.HEAD)
    outcome = await cards.publisher().publish()
    assert (outcome.version, outcome.statuses_complete) == (1, True)
    await cards.assert_told()


async def test_a_lost_card_body_is_an_error_that_says_what_to_do() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    await cards.publisher().publish()
    await cards.data.write(storage.card_body(digest_of(card())), card(purpose="Steal"))
    with pytest.raises(AosError, match="was altered in aos-data; upload the card again"):
        await cards.reader().find("ceo")
    await cards.data.delete(storage.card_body(digest_of(card())))
    with pytest.raises(AosError, match="is missing in aos-data; upload the card again"):
        await cards.reader().find("ceo")


async def test_a_status_file_that_somebody_writes_meanwhile_is_written_once_more() -> None:
    cards = Cards()
    await cards.upload("ceo", card())
    name = storage.status(CardKind.AGENT, "ceo")
    count = 0

    async def meddle(operation: Operation, blob: str, moment: Moment) -> None:
        nonlocal count
        if (operation, blob, moment) == ("write", name, "before") and count < 2:
            count += 1
            await cards.config.write(name, b"mine")

    outcome = await cards.hooked_publisher(meddle).publish()
    assert (count, outcome.statuses_complete) == (2, True)
    await cards.assert_told()
