"""How admins change cards: PUT, If-Match, dry run, versions, rollback."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from aos.adapters.memory.blobs import Hook, Moment, Operation
from aos.domain.cards.identity import CardKind, digest_of
from aos.errors import OutcomeUnknown, Refused, StaleWrite
from aos.services.catalog.editor import CardEditor
from tests.unit.catalog.cards import Cards, card

AGENT = CardKind.AGENT


async def test_a_put_card_is_live_when_the_call_returns() -> None:
    cards = Cards()
    result = await cards.editor().put(AGENT, "ceo", card())
    assert result.created
    assert result.make_answer() == {"agent_id": "ceo", **await cards.status("ceo")}
    assert (await cards.reader().find("ceo")).digest == result.digest
    again = await cards.editor().put(AGENT, "ceo", card(purpose="Lead well"))
    assert (again.created, again.status["state"]) == (False, "active")


async def test_a_put_of_a_broken_card_changes_nothing_and_tells_all() -> None:
    cards = Cards()
    await cards.editor().put(AGENT, "ceo", card())
    with pytest.raises(Refused) as refusal:
        await cards.editor().put(AGENT, "ceo", card(purpos="x", enabled="no"))
    assert refusal.value.code == "invalid_card"
    assert [error["path"] for error in refusal.value.info.details["errors"]] == [
        "enabled",
        "purpos",
    ]
    assert str(refusal.value) == (
        "'agents/ceo.json': enabled: must be true or false, not the string \"no\"; write true or"
        " false, without quotes (and 1 more)"
    )
    assert (await cards.status("ceo"))["state"] == "active"


async def test_a_stale_if_match_is_refused_and_a_current_one_holds() -> None:
    cards = Cards()
    editor = cards.editor()
    first = await editor.put(AGENT, "ceo", card())
    second = await editor.put(AGENT, "ceo", card(purpose="Two"), if_match=first.etag)
    with pytest.raises(StaleWrite, match="read it again and repeat your change"):
        await editor.put(AGENT, "ceo", card(purpose="Three"), if_match=first.etag)
    with pytest.raises(StaleWrite):
        await editor.put(AGENT, "ceo", card(), if_match=first.etag, dry_run=True)
    assert (await editor.get(AGENT, "ceo")).etag == second.etag
    assert await editor.put(AGENT, "ceo", card(), if_match="*")
    with pytest.raises(StaleWrite):
        await editor.put(AGENT, "cfo", card("cfo"), if_match="*")
    with pytest.raises(StaleWrite):
        await editor.put(AGENT, "ceo", card(), create_only=True)


async def test_of_two_editors_with_the_same_etag_one_wins() -> None:
    cards = Cards()
    first = await cards.editor().put(AGENT, "ceo", card())

    async def race(operation: Operation, name: str, moment: Moment) -> None:
        if (operation, name, moment) == ("write", "agents/ceo.json", "before"):
            await cards.upload("ceo", card(purpose="Theirs"))

    with pytest.raises(StaleWrite, match="read it again and repeat your change"):
        await _hooked_editor(cards, race).put(
            AGENT, "ceo", card(purpose="Mine"), if_match=first.etag
        )
    shown = await cards.editor().get(AGENT, "ceo")
    assert shown.card == {"agent_id": "ceo", "purpose": "Theirs"}


async def test_a_dry_run_says_the_status_and_writes_nothing() -> None:
    cards = Cards()
    await cards.editor().put(AGENT, "ceo", card())
    cards.calls()
    leader = card(agent_type="LeadershipAgent", team=["cfo"])
    result = await cards.editor().put(AGENT, "ceo", leader, dry_run=True)
    assert (result.etag, result.outcome) == (None, None)
    assert result.status == {
        "state": "active",
        "digest": digest_of(leader),
        "source_etag": None,
        "catalog_version": 2,
        "activated_at": "2030-01-01T00:00:00.000Z",
        "errors": [],
        "warnings": [
            {
                "path": "team[0]",
                "message": "the agent 'cfo' does not exist (yet)",
                "hint": "upload agents/cfo.json, or correct the name",
            }
        ],
        "serving_digest": digest_of(leader),
    }
    assert not [name for name in cards.calls() if "write" in name]
    assert (await cards.reader().find("ceo")).digest == digest_of(card())


async def test_a_card_is_shown_with_its_status_and_with_what_serves_instead() -> None:
    cards = Cards()
    editor = cards.editor()
    await editor.put(AGENT, "ceo", card())
    shown = (await editor.get(AGENT, "ceo")).make_answer()
    assert shown == {
        "agent_id": "ceo",
        **await cards.status("ceo"),
        "card": json.loads(card()),
        "serving": None,
    }
    etag = await cards.upload("ceo", b"{broken")
    await cards.publisher().publish()
    broken = (await editor.get(AGENT, "ceo")).make_answer()
    assert (broken["state"], broken["card"], broken["source_etag"]) == ("rejected", None, etag)
    assert broken["serving"] == json.loads(card())


async def test_an_upload_that_is_not_listed_yet_is_shown_without_a_state() -> None:
    cards = Cards()
    etag = await cards.upload("ceo", card())
    shown = (await cards.editor().get(AGENT, "ceo")).make_answer()
    assert shown == {
        "agent_id": "ceo",
        "state": None,
        "errors": [],
        "warnings": [],
        "digest": digest_of(card()),
        "source_etag": etag,
        "card": json.loads(card()),
        "serving": None,
    }


async def test_absent_cards_are_refused_each_with_its_code() -> None:
    cards = Cards()
    editor = cards.editor()
    await editor.put(AGENT, "ceo", card())
    await cards.remove("ceo")
    await cards.publisher().publish()
    found = []
    for kind, name in ((AGENT, "ceo"), (AGENT, "No One"), (CardKind.MCP_SERVER, "github")):
        with pytest.raises(Refused) as refusal:
            await editor.get(kind, name)
        found.append(refusal.value.code)
    assert found == ["agent_removed", "agent_not_found", "server_not_found"]


async def test_the_list_has_every_card_but_the_removed() -> None:
    cards = Cards()
    for name in ("b", "a", "c"):
        await cards.upload(name, card(name) if name != "b" else b"{")
    await cards.publisher().publish()
    await cards.remove("c")
    await cards.publisher().publish()
    rows = [summary.make_answer() for summary in await cards.editor().list(AGENT)]
    assert [(row["agent_id"], row["state"], row["enabled"]) for row in rows] == [
        ("a", "active", True),
        ("b", "rejected", False),
    ]


async def test_versions_are_what_served_newest_first_and_can_be_rolled_back_to() -> None:
    cards = Cards()
    editor = cards.editor()
    digests = [
        (await editor.put(AGENT, "ceo", card(purpose=purpose))).digest
        for purpose in ("One", "Two", "Three")
    ]
    assert [v.digest for v in await editor.list_versions(AGENT, "ceo")] == digests[::-1]
    back = await editor.rollback(AGENT, "ceo", digests[0])
    assert (back.digest, back.status["serving_digest"]) == (digests[0], digests[0])
    assert (await cards.reader().find("ceo")).card.purpose == "One"
    blob = await cards.config.read("agents/ceo.json")
    assert blob is not None
    assert blob.body == card(purpose="One")
    assert [v.digest for v in await editor.list_versions(AGENT, "ceo")] == [
        digests[0],
        *digests[::-1],
    ]


async def test_a_removed_agent_can_be_rolled_back_into_being() -> None:
    cards = Cards()
    editor = cards.editor()
    digest = (await editor.put(AGENT, "ceo", card())).digest
    await cards.remove("ceo")
    await cards.publisher().publish()
    await editor.rollback(AGENT, "ceo", digest)
    assert (await cards.status("ceo"))["state"] == "active"


async def test_a_version_that_never_served_is_refused() -> None:
    cards = Cards()
    editor = cards.editor()
    await editor.put(AGENT, "ceo", card())
    with pytest.raises(Refused) as refusal:
        await editor.rollback(AGENT, "ceo", "0" * 64)
    assert refusal.value.code == "card_version_not_found"


async def test_at_most_twenty_versions_are_kept() -> None:
    cards = Cards()
    editor = cards.editor()
    digests = [
        (await editor.put(AGENT, "ceo", card(purpose=f"Lead {number}"))).digest
        for number in range(25)
    ]
    kept = [version.digest for version in await editor.list_versions(AGENT, "ceo")]
    assert kept == digests[:4:-1]


async def test_a_write_that_took_effect_though_the_answer_was_lost_is_live() -> None:
    cards = Cards()
    editor = _hooked_editor(cards, _fail_write("after"))
    assert (await editor.put(AGENT, "ceo", card())).status["state"] == "active"


async def test_a_write_that_took_no_effect_is_told_as_unknown() -> None:
    cards = Cards()
    with pytest.raises(OutcomeUnknown):
        await _hooked_editor(cards, _fail_write("before")).put(AGENT, "ceo", card())
    assert await cards.config.list("agents/") == []


def _hooked_editor(cards: Cards, hook: Hook) -> CardEditor:
    """An editor whose calls to `aos-config` pass the hook."""
    return CardEditor(
        config=replace(cards.config, hook=hook),
        data=cards.data,
        publisher=cards.publisher(),
        clock=cards.clock,
        policy=cards.policy,
    )


def _fail_write(at: Moment) -> Hook:
    async def hook(operation: Operation, name: str, moment: Moment) -> None:
        if (operation, moment) == ("write", at):
            raise OutcomeUnknown("no answer")

    return hook
