"""Compares docs/contracts/ with the code: fields, codes, routes, entities and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aos.bounds import Bounds
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind
from aos.domain.cards.schema import get_card_model
from aos.domain.codec import encode
from aos.domain.json_reader import MAX_DEPTH, MAX_VALUES
from aos.domain.row_kinds import ROW_KINDS
from aos.domain.runs.run import Run, RunStatus
from aos.entrypoints.http.queries import DEFAULT_LIMIT, LARGEST_LIMIT
from aos.entrypoints.message_parts import MAX_ATTACHED, MAX_PARTS
from aos.entrypoints.requests import MAX_METADATA_BYTES
from aos.entrypoints.routes import MAIN_ROUTES
from aos.errors import CODES
from devhost.provision import CONTAINERS, QUEUES, TABLES
from tests.docs.pages import ROOT, links

PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "contracts").glob("*.md")}
ENTITIES = json.loads((ROOT / "infra" / "servicebus.json").read_text("utf-8"))["UserConfig"][
    "Namespaces"
][0]


def section(page: str, heading: str) -> str:
    """The text below a heading of a page, up to the next heading."""
    return PAGES[page].split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables in a text, without their heads."""
    for line in text.splitlines():
        if line.startswith("| ") and not re.fullmatch(r"[|\- ]+", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "CONTRACTS.md"
    listed = [target for target in links(index) if target.startswith("contracts/")]
    assert sorted(listed) == sorted(f"contracts/{name}.md" for name in PAGES)


def test_the_contract_names_every_error_code_and_no_other() -> None:
    codes = [row[1] for row in rows(section("errors", "HTTP codes"))]
    codes += [row[1] for row in rows(section("errors", "Codes of runs"))]
    assert {word for cell in codes for word in quoted(cell)} == set(CODES)


def test_the_contract_says_the_http_status_of_each_code() -> None:
    said: dict[str, int | None] = {}
    for status, codes, *_ in rows(section("errors", "HTTP codes")):
        for code in quoted(codes):
            said[code] = int(status) if status.isdigit() else None
    assert said == {code: CODES[code].http_status for code in said}
    assert {code for code, kind in CODES.items() if kind.http_status} <= said.keys()


def test_the_contract_says_who_must_act_on_each_code() -> None:
    said = dict.fromkeys(CODES, "caller")
    for kind, codes in rows(section("errors", "Types")):
        said |= dict.fromkeys(quoted(codes), kind.strip("`"))
    assert said == {code: kind.type for code, kind in CODES.items()}


@pytest.mark.parametrize(
    ("kind", "heading"),
    [(CardKind.AGENT, "Agent card"), (CardKind.MCP_SERVER, "MCP server card")],
)
def test_the_contract_names_every_field_of_a_card_and_no_other(
    kind: CardKind, heading: str
) -> None:
    named = {word for row in rows(section("cards", heading)) for word in quoted(row[0])}
    fields = get_card_model(kind).model_fields
    assert named == {field.alias or name for name, field in fields.items()}


def test_the_contract_names_every_field_and_status_of_a_run_in_order() -> None:
    text = section("requests-and-replies", "The run object")
    fields, statuses = text.split("`status`: ", 1)
    run = Run(
        run_id="r",
        agent_id="a",
        conversation_id="c",
        status=RunStatus.QUEUED,
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    assert quoted(fields)[-1].split() == list(encode(run))
    assert quoted(statuses)[0].split() == [status.value for status in RunStatus]


def test_the_contract_names_every_route_and_no_other() -> None:
    built = {route.title for route in MAIN_ROUTES.values() if route.name != "z_not_found"}
    assert _routes(section("http", "Routes of main")) == built


def _routes(text: str) -> set[str]:
    table = "\n".join(row[0] for row in rows(text))
    return {text for text in quoted(table) if re.match(r"[A-Z]+ /api/", text)}


def test_the_contract_and_the_list_of_entities_say_the_same() -> None:
    entities = section("service-bus", "Entities")
    said: dict[str, tuple[str, bool, bool]] = {}
    for names, kind, sessions, duplicates, *_ in rows(entities):
        for name in quoted(names):
            said[name] = (kind, sessions.startswith("**yes"), duplicates == "10 min")
    listed: dict[str, tuple[str, bool, bool]] = {}
    for kind in ("queue", "topic"):
        for entity in ENTITIES[f"{kind.title()}s"]:
            rules: dict[str, Any] = entity["Properties"]
            listed[entity["Name"]] = (
                kind,
                rules.get("RequiresSession", False),
                rules["RequiresDuplicateDetection"],
            )
    assert said == listed
    for topic in ENTITIES["Topics"]:
        for subscription in topic["Subscriptions"]:
            assert f"subscription `{subscription['Name']}`" in entities


def test_the_contract_names_every_table_container_and_queue_of_the_storage_account() -> None:
    tables = section("storage", "Tables")
    assert {name for row in rows(tables) for name in quoted(row[0])} == set(TABLES)
    others = section("storage", "Containers and queues")
    assert {name for row in rows(others) for name in quoted(row[0])} == {*CONTAINERS, *QUEUES}


def test_the_contract_lists_every_kind_of_row_with_its_end() -> None:
    said = [(row[0], row[1], row[3]) for row in rows(section("storage", "Tables"))][1:]
    assert said == [
        (f"`{kind.table}`", f"`{kind.partition}` / `{kind.row}`", kind.ends) for kind in ROW_KINDS
    ]


def test_the_contract_says_the_sizes_that_the_doors_hold() -> None:
    table = "\n".join(row[1] for row in rows(section("http", "Sizes")))
    said = [int(number) for number in re.findall(r"\d+", table)]
    bounds = Bounds()
    assert said == [
        bounds.http_body_bytes // 1024**2,
        bounds.message_bytes // 1024,
        MAX_METADATA_BYTES // 1024,
        MAX_DEPTH,
        MAX_VALUES,
        MAX_PARTS,
        MAX_ATTACHED,
        bounds.part_bytes // 1024**2,
        1,
        256,
        MAX_CARD_BYTES // 1024,
        1,
        LARGEST_LIMIT,
        DEFAULT_LIMIT,
    ]
