"""Every JSON example of the pages is what the product itself reads or writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.codec import decode, encode
from aos.domain.runs.run import Run
from aos.entrypoints.requests import QueueRequest, read_object, validate
from aos.environment import Environment
from aos.errors import ErrorInfo
from aos.spending_settings import SpendingSettings
from aos.testing import MemoryWorld
from devhost.servicebus.config import parse_config
from tests.docs.pages import PAGES, ROOT, Block, blocks

EXAMPLES = [block for page in PAGES for block in blocks(page) if block.language == "json"]
PLAN_CARD = ROOT / "tests" / "fixtures" / "plan" / "ceo.json"
POLICY = CardPolicy(key_vault_uri="https://kv-aosmcp-dev-x.vault.azure.net", signs_webhooks=True)


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.place)
def test_an_example_is_what_the_product_reads_or_writes(block: Block) -> None:
    kind, _, rest = block.mark.removeprefix("parsed: ").partition(" card ")
    if rest and kind in CARD_KINDS:
        _check_card(block.text, CARD_KINDS[kind], rest)
    else:
        assert block.mark.startswith("parsed: "), f"{block.place} needs <!-- parsed: … -->"
        CHECKS[block.mark.removeprefix("parsed: ")](json.loads(block.text))


def _check_card(text: str, kind: CardKind, card_id: str) -> None:
    assessment, _ = assess_card(text.encode(), kind=kind, card_id=card_id, policy=POLICY)
    assert assessment.errors == ()


def _check_request(raw: dict[str, Any]) -> None:
    read = validate(QueueRequest, read_object(json.dumps(raw).encode(), max_bytes=65_536))
    assert set(raw) <= set(QueueRequest.model_fields), "the example has a field that nobody reads"
    assert read.agent_id == raw["agent_id"]


def _check_reply(raw: dict[str, Any]) -> None:
    assert {"version": raw.pop("version"), "type": raw.pop("type")} == {
        "version": 1,
        "type": f"run.{raw['status']}",
    }
    _check_run(raw)


def _check_run(raw: dict[str, Any]) -> None:
    assert list(encode(decode(Run, raw)).items()) == list(raw.items())


def _check_error(raw: dict[str, Any]) -> None:
    assert {"error": encode(decode(ErrorInfo, raw["error"]))} == raw


def _check_policies(raw: dict[str, Any]) -> None:
    found = {(policy.path, policy.name, policy.keys) for policy in parse_config(raw).policies}
    assert found == {
        ("", "RootManageSharedAccessKey", ("SAS_KEY_VALUE",)),
        ("", "reader", ("a-key", "the-next-key")),
        ("orders", "writer", ("another-key",)),
    }


def _check_prices(raw: dict[str, Any]) -> None:
    settings = SpendingSettings.read(Environment({"AOS_MODEL_PRICES": json.dumps(raw)}))
    assert {"currency", *settings.prices.models} == set(raw)


CARD_KINDS = {"agent": CardKind.AGENT, "mcp-server": CardKind.MCP_SERVER}
CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "request": _check_request,
    "reply": _check_reply,
    "run": _check_run,
    "error": _check_error,
    "policies of a local Service Bus": _check_policies,
    "prices": _check_prices,
    "status of a rejected card": lambda raw: None,  # its own test, below
}


async def test_the_example_of_a_status_is_what_a_broken_card_gets() -> None:
    [block] = [one for one in EXAMPLES if one.mark == "parsed: status of a rejected card"]
    world = MemoryWorld()
    await world.put_agent(json.loads(PLAN_CARD.read_text("utf-8")))
    written = await world.put_agent(
        {"agent_id": "ceo", "agent_type": "LeadershipAgent", "purpos": "Lead."}
    )
    changing = {"source_etag": "", "activated_at": ""}
    assert json.loads(block.text) | changing == written | changing


def test_the_card_of_the_readme_is_the_plans() -> None:
    [card] = [one for one in EXAMPLES if one.page.name == "README.md" and " card " in one.mark]
    assert json.loads(card.text) == json.loads(PLAN_CARD.read_text("utf-8"))


def test_the_readme_shows_a_card_a_request_and_a_reply_in_this_order() -> None:
    shown = [one.mark for one in EXAMPLES if one.page.name == "README.md"]
    assert shown == ["parsed: agent card ceo", "parsed: request", "parsed: reply"]
    assert re.search(r"aos-requests.*businessinfinity-responses", _readme(), re.S)


def _readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")
