"""docs/CONTRACTS.md against the code: fields, codes, routes, entities and tables, one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aos.domain.card import MAX_CARD_BYTES, CardKind
from aos.domain.card_effects import NOT_BUILT
from aos.domain.card_schema import card_model
from aos.domain.json_text import MAX_DEPTH, MAX_VALUES
from aos.domain.run import Run, RunStatus
from aos.entrypoints.http.queries import DEFAULT_LIMIT, LARGEST_LIMIT
from aos.entrypoints.requests import MAX_METADATA_BYTES, MAX_PARTS
from aos.entrypoints.routes import MAIN_ROUTES
from aos.errors import CODES
from aos.settings import Bounds
from devhost.provision import CONTAINERS, QUEUES, TABLES
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "CONTRACTS.md").read_text("utf-8")
ENTITIES = json.loads((ROOT / "infra" / "servicebus.json").read_text("utf-8"))["UserConfig"][
    "Namespaces"
][0]
ROUTES_NOT_YET = {
    "DELETE /api/conversations/{conversation_id}",
    "GET /api/dead-letters",
    "POST /api/dead-letters/replay",
    "POST /api/ops/pause",
    "POST /api/ops/resume",
}
"""Written down and not built; the page says so in one place, "Not yet"."""


def section(begins: str, ends: str) -> str:
    """The text between two texts of the page."""
    return PAGE.split(begins, 1)[1].split(ends, 1)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables in a text, without their heads."""
    for line in text.splitlines():
        if line.startswith("| ") and not re.fullmatch(r"[|\- ]+", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def test_the_contract_names_every_error_code_and_no_other() -> None:
    words = " ".join(quoted(section("**HTTP codes.**", "**Lists.**"))).split()
    named = {word for word in words if re.fullmatch(r"[a-z]+(_[a-z]+)*", word)}
    statuses = {"failed", "timed_out", "cancelled", "model", "operator", "retry", "caller"}
    assert named - statuses - {"wait_seconds", "type"} == set(CODES)


def test_the_contract_says_the_http_status_of_each_code() -> None:
    text = section("**HTTP codes.**", "Cancel is 202")
    said: dict[str, int | None] = {}
    for part in text.split(" · "):
        found = re.match(r"\s*(\d{3}) ", part)
        codes = re.sub(r"\([^)]*\)", "", part)
        for code in " ".join(quoted(codes)).split():
            if code in CODES:
                said[code] = int(found[1]) if found else None
    assert said == {code: CODES[code].http_status for code in said}
    assert {code for code, kind in CODES.items() if kind.http_status} <= said.keys()


@pytest.mark.parametrize(
    ("kind", "begins", "ends"),
    [
        (CardKind.AGENT, "**Agent**:", "<!-- parsed"),
        (CardKind.MCP_SERVER, "**MCP server**:", "References"),
    ],
)
def test_the_contract_names_every_field_of_a_card_and_no_other(
    kind: CardKind, begins: str, ends: str
) -> None:
    text = section(begins, ends)
    if kind is CardKind.AGENT:
        text = "\n".join(row[0] for row in rows(text))
    else:
        text = text.split(".json`:", 1)[1]
    named = {word for word in quoted(text) if re.fullmatch(r"\$?[a-z_]+", word)}
    fields = card_model(kind).model_fields
    assert named == {field.alias or name for name, field in fields.items()}


def test_the_contract_names_every_field_and_status_of_a_run_in_order() -> None:
    text = section("## The run object", "`error`: `{")
    fields, statuses = text.split("`status`: ")
    run = Run(
        run_id="r",
        agent_id="a",
        conversation_id="c",
        status=RunStatus.QUEUED,
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    assert quoted(fields)[0].split() == list(run.to_dict())
    assert quoted(statuses)[0].split() == [status.value for status in RunStatus]


def test_what_a_cards_warning_calls_not_built_is_in_not_yet() -> None:
    not_yet = " ".join(quoted(section("## Not yet", "JSON everywhere")))
    missing = [path for path in NOT_BUILT if not _named(path, not_yet)]
    assert missing == []


def _named(path: str, text: str) -> bool:
    """By its whole path, its group or its own name."""
    group, _, name = path.partition(".")
    return any(re.search(rf"(^| ){word}( |$)", text) for word in (path, group, name))


def test_the_contract_names_every_route_and_what_is_not_built_is_known() -> None:
    table = "\n".join(row[0] for row in rows(section("## HTTP (main)", "## Tables")))
    named = {text for text in quoted(table) if re.match(r"[A-Z]+ /api/", text)}
    built = {route.title for route in MAIN_ROUTES.values() if route.documented}
    assert named == built | ROUTES_NOT_YET
    assert not built & ROUTES_NOT_YET


def test_the_contract_and_the_list_of_entities_say_the_same() -> None:
    said: dict[str, tuple[str, bool, bool]] = {}
    for names, kind, sessions, duplicates, *_ in rows(section("| entity |", "lockDuration 1 min")):
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
            assert f"subscription `{subscription['Name']}`" in PAGE


def test_the_contract_names_every_table_container_and_queue_of_the_storage_account() -> None:
    tables = section("## Tables", "Texts over 32 KiB")
    assert {name for row in rows(tables) for name in quoted(row[0])} == set(TABLES)
    for name in (*CONTAINERS, *QUEUES):
        assert f"`{name}" in PAGE or f"{name}/" in PAGE


def test_the_contract_says_the_sizes_that_the_doors_hold() -> None:
    said = [int(number) for number in re.findall(r"\d+", section("**Sizes.**", " Settings move"))]
    bounds = Bounds()
    assert said == [
        bounds.http_body_bytes // 1024**2,
        bounds.message_bytes // 1024,
        MAX_METADATA_BYTES // 1024,
        MAX_DEPTH,
        MAX_VALUES,
        MAX_PARTS,
        1,
        256,
        MAX_CARD_BYTES // 1024,
        1,
        LARGEST_LIMIT,
        DEFAULT_LIMIT,
    ]
