"""Uploads go live, are rejected, changed and removed; each says so in its status file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aos.domain.cards.catalog import CardKey
from aos.domain.cards.catalog_json import head_from_json
from aos.domain.cards.identity import CardKind, digest_of
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.publication import CardChange
from aos.errors import Refused
from aos.services.catalog import storage
from aos.services.catalog.publisher import PublishOutcome
from tests.unit.catalog.cards import Cards, card

PLAN = Path(__file__).resolve().parents[2] / "fixtures" / "plan"
CEO = (CardKind.AGENT, "ceo")


def changes_by_key(outcome: PublishOutcome) -> dict[CardKey, CardChange]:
    """The changes of a publication, by card."""
    return {(change.kind, change.card_id): change for change in outcome.changes}


async def test_the_plans_two_cards_go_live_and_say_so() -> None:
    cards = Cards()
    ceo, github = (PLAN / "ceo.json").read_bytes(), (PLAN / "github.json").read_bytes()
    etag = await cards.upload("ceo", ceo)
    await cards.upload("github", github, kind=CardKind.MCP_SERVER)
    outcome = await cards.publisher().publish()
    assert (outcome.published, outcome.version, outcome.statuses_complete) == (True, 1, True)
    assert await cards.status("ceo") == {
        "state": "active",
        "digest": digest_of(ceo),
        "source_etag": etag,
        "catalog_version": 1,
        "activated_at": "2030-01-01T00:00:00.000Z",
        "errors": [],
        "warnings": [],
        "serving_digest": digest_of(ceo),
    }
    github_status = await cards.status("github", kind=CardKind.MCP_SERVER)
    assert (github_status["state"], len(github_status["warnings"])) == ("active", 1)
    live = await cards.reader().find("ceo")
    assert (live.card.adapter_name, live.digest) == ("ceo", digest_of(ceo))
    assert (await cards.reader().server("github")).command == "npx"
    kept = await cards.data.read(storage.card_body(digest_of(ceo)))
    assert kept is not None
    assert kept.body == ceo


async def test_a_broken_upload_leaves_its_predecessor_serving_and_says_what_is_wrong() -> None:
    cards = Cards()
    publisher = cards.publisher()
    good = card(purpose="Lead")
    await cards.upload("ceo", good)
    await publisher.publish()
    etag = await cards.upload("ceo", card(purpos="Lead well"))
    outcome = await publisher.publish()
    status = await cards.status("ceo")
    assert status["state"] == "rejected"
    assert status["errors"] == [
        {
            "path": "purpos",
            "message": "unknown field 'purpos'; the nearest known field is 'purpose'",
            "hint": "write 'purpose', or remove it",
        }
    ]
    assert (status["source_etag"], status["serving_digest"]) == (etag, digest_of(good))
    assert status["activated_at"] == "2030-01-01T00:00:00.000Z"
    assert (await cards.reader().find("ceo")).digest == digest_of(good)
    change = changes_by_key(outcome)[CEO]
    assert (change.has_new_version, change.has_started, change.has_stopped) == (False, False, False)


async def test_a_broken_first_upload_serves_nothing() -> None:
    cards = Cards()
    await cards.upload("ceo", b"{")
    await cards.publisher().publish()
    status = await cards.status("ceo")
    assert (status["state"], status["serving_digest"]) == ("rejected", None)
    assert status["activated_at"] is None
    with pytest.raises(Refused, match=r"status/agents/ceo\.json in aos-config says why") as refusal:
        await cards.reader().find("ceo")
    assert refusal.value.code == "agent_not_found"


async def test_a_rejected_upload_that_is_put_right_serves_anew() -> None:
    cards = Cards()
    publisher = cards.publisher()
    for body in (card(purpose="One"), b"{", card(purpose="Two")):
        await cards.upload("ceo", body)
        outcome = await publisher.publish()
    assert (await cards.status("ceo"))["state"] == "active"
    assert changes_by_key(outcome)[CEO].has_new_version
    assert (await cards.reader().find("ceo")).card.purpose == "Two"


async def test_a_disabled_agent_stops_and_starts_again() -> None:
    cards = Cards()
    publisher = cards.publisher()
    seen = []
    for enabled in (True, False, True):
        await cards.upload("ceo", card(enabled=enabled))
        change = changes_by_key(await publisher.publish())[CEO]
        state = (await cards.status("ceo"))["state"]
        seen.append(
            (
                state,
                (await cards.reader().find("ceo")).state,
                change.has_started,
                change.has_stopped,
            )
        )
    assert seen == [
        ("active", "active", True, False),
        ("disabled", "disabled", False, True),
        ("active", "active", True, False),
    ]


async def test_a_broken_upload_over_a_disabled_agent_does_not_wake_it() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await cards.upload("ceo", card(enabled=False))
    await publisher.publish()
    await cards.upload("ceo", b"{")
    outcome = await publisher.publish()
    assert not changes_by_key(outcome)[CEO].has_started
    assert (await cards.reader().find("ceo")).state == "disabled"


async def test_a_card_that_is_gone_is_removed_and_its_return_serves_again() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await cards.upload("ceo", card())
    await publisher.publish()
    await cards.remove("ceo")
    outcome = await publisher.publish()
    status = await cards.status("ceo")
    assert (status["state"], status["source_etag"], status["serving_digest"]) == (
        "removed",
        None,
        None,
    )
    assert changes_by_key(outcome)[CEO].has_stopped
    with pytest.raises(Refused) as refusal:
        await cards.reader().find("ceo")
    assert refusal.value.code == "agent_removed"
    assert (await cards.reader().card(digest_of(card()))).purpose == "Lead"  # pinned runs
    await cards.upload("ceo", card())
    assert changes_by_key(await publisher.publish())[CEO].has_started
    assert (await cards.status("ceo"))["state"] == "active"


async def test_a_missing_reference_is_a_warning_until_it_is_there() -> None:
    cards = Cards()
    publisher = cards.publisher()
    leader = card(agent_type="LeadershipAgent", mcp_tools=["github"], team=["cfo"])
    await cards.upload("ceo", leader)
    await publisher.publish()
    assert (await cards.status("ceo"))["warnings"] == [
        {
            "path": "mcp_tools[0]",
            "message": "the MCP server 'github' does not exist (yet)",
            "hint": "upload mcp-servers/github.json, or correct the name",
        },
        {
            "path": "team[0]",
            "message": "the agent 'cfo' does not exist (yet)",
            "hint": "upload agents/cfo.json, or correct the name",
        },
    ]
    await cards.upload("cfo", card("cfo"))
    outcome = await publisher.publish()
    status = await cards.status("ceo")
    assert (status["state"], [w["path"] for w in status["warnings"]]) == (
        "active",
        ["mcp_tools[0]"],
    )
    assert not changes_by_key(outcome)[CEO].has_new_version
    await cards.remove("cfo")
    await publisher.publish()
    assert len((await cards.status("ceo"))["warnings"]) == 2


async def test_the_same_bytes_under_a_new_etag_say_nothing_anew() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await cards.upload("ceo", card())
    await publisher.publish()
    cards.clock.advance(60)
    etag = await cards.upload("ceo", card())
    outcome = await publisher.publish()
    assert (outcome.version, outcome.index.revision, outcome.changes) == (1, 2, ())
    status = await cards.status("ceo")
    assert (status["source_etag"], status["catalog_version"]) == (etag, 1)
    assert status["activated_at"] == "2030-01-01T00:00:00.000Z"


async def test_nothing_new_publishes_nothing() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await cards.upload("ceo", card())
    await publisher.publish()
    cards.calls()
    outcome = await publisher.publish()
    assert (outcome.published, outcome.version, outcome.changes) == (False, 1, ())
    assert cards.calls() == {"config list": 2, "data read": 1}


async def test_an_empty_container_publishes_an_empty_catalog_once() -> None:
    cards = Cards()
    publisher = cards.publisher()
    outcomes = [await publisher.publish() for _ in range(2)]
    assert [(o.published, o.version, o.statuses_complete) for o in outcomes] == [
        (True, 0, True),
        (False, 0, True),
    ]
    with pytest.raises(Refused, match="there is no agent 'ceo'"):
        await cards.reader().find("ceo")


async def test_indexes_are_a_chain_of_digests_back_to_the_first() -> None:
    cards = Cards()
    publisher = cards.publisher()
    for number in range(4):
        await cards.upload("ceo", card(purpose=f"Lead {number}"))
        await publisher.publish()
    blob = await cards.data.read(storage.HEAD)
    assert blob is not None
    digest: str | None = head_from_json(blob.body).index
    versions = []
    while digest is not None:
        found = await cards.data.read(storage.index(digest))
        assert found is not None
        assert digest_of(found.body) == digest
        raw = json.loads(found.body)
        versions.append(raw["version"])
        digest = raw["previous"]
    assert versions == [4, 3, 2, 1]


async def test_a_changed_policy_judges_every_card_anew() -> None:
    cards = Cards(policy=CardPolicy(allowed_models=frozenset({"smol"})))
    await cards.upload("ceo", card(model="smol"))
    await cards.upload("cfo", card("cfo"))
    await cards.publisher().publish()
    stricter = CardPolicy(allowed_models=frozenset({"big"}))
    outcome = await cards.publisher(policy=stricter).publish()
    assert [change.card_id for change in outcome.changes] == ["ceo"]
    status = await cards.status("ceo")
    assert (status["state"], status["errors"][0]["path"]) == ("rejected", "model")
    assert status["serving_digest"] == digest_of(card(model="smol"))
    again = await cards.publisher(policy=stricter).publish()
    assert again.published is False


@pytest.mark.parametrize("name", ["The CEO", "größe", "a b", "ceo.v1", "", "x" * 300])
async def test_a_blob_with_an_impossible_name_gets_a_status_under_that_name(name: str) -> None:
    cards = Cards()
    await cards.upload(name, card(name))
    await cards.publisher().publish()
    status = await cards.status(name)
    assert (status["state"], status["errors"][0]["path"]) == ("rejected", "agent_id")


async def test_other_blobs_are_nobodys() -> None:
    cards = Cards()
    for name in ("agents/readme.md", "agents/x.json.bak", "other/ceo.json", "agents.json"):
        await cards.config.write(name, b"hello")
    await cards.config.write(f"agents/{'x' * 600}.json", b"{}")
    assert (await cards.publisher().publish()).index.entries == {}


async def test_a_card_of_a_megabyte_is_rejected_without_being_read() -> None:
    cards = Cards()
    await cards.upload("ceo", b"x" * 1024 * 1024)
    await cards.publisher().publish()
    assert cards.calls().get("config read") is None
    status = await cards.status("ceo")
    assert (status["state"], status["digest"]) == ("rejected", None)
    assert status["errors"][0]["message"] == "the card has 1,048,576 bytes, the limit is 65,536"


async def test_callers_at_once_share_a_listing_and_one_of_them_gets_the_changes() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await cards.upload("ceo", card())
    outcomes = await asyncio.gather(*(publisher.publish() for _ in range(20)))
    assert cards.calls()["config list"] == 4
    assert [len(outcome.changes) for outcome in outcomes if outcome.changes] == [1]
    assert {outcome.version for outcome in outcomes} == {1}


async def test_an_upload_before_the_call_is_in_what_the_call_publishes() -> None:
    cards = Cards()
    publisher = cards.publisher()

    async def upload_and_publish(agent_id: str) -> None:
        await cards.upload(agent_id, card(agent_id))
        outcome = await publisher.publish()
        assert outcome.index.entry(CardKind.AGENT, agent_id) is not None

    await asyncio.gather(*(upload_and_publish(f"a{n}") for n in range(10)))
