"""Card files on disk are judged as uploads are, in the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.services.card_files import validate_path
from tests.unit.catalog.cards import Cards, card

PLAN = Path(__file__).resolve().parents[1] / "fixtures" / "plan"


def test_the_plans_files_are_valid_wherever_they_lie() -> None:
    reports = validate_path(PLAN)
    assert [(r.path.name, r.kind, r.card_id, r.is_valid) for r in reports] == [
        ("ceo.json", CardKind.AGENT, "ceo", True),
        ("github.json", CardKind.MCP_SERVER, "github", True),
    ]


async def test_a_broken_file_is_told_as_its_status_file_would(tmp_path: Path) -> None:
    bodies = {"ceo": card(purpos="x", enabled="no"), "cfo": b"{", "A b": card("A b")}
    cards = Cards()
    for name, body in bodies.items():
        await cards.upload(name, body)
    await cards.publisher().publish()
    folder = tmp_path / "agents"
    folder.mkdir()
    for name, body in bodies.items():
        (folder / f"{name}.json").write_bytes(body)
        [report] = validate_path(folder / f"{name}.json")
        told = await cards.status(name)
        assert report.status["errors"] == told["errors"]
        assert (report.status["state"], report.is_valid) == (told["state"], False)


def test_cards_of_one_folder_know_each_other(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "mcp-servers").mkdir()
    leader = card(agent_type="LeadershipAgent", mcp_tools=["github"], team=["cfo"])
    (tmp_path / "agents" / "ceo.json").write_bytes(leader)
    (tmp_path / "mcp-servers" / "github.json").write_bytes((PLAN / "github.json").read_bytes())
    ceo, _ = validate_path(tmp_path)
    assert [warning["path"] for warning in ceo.status["warnings"]] == ["team[0]"]


def test_two_files_of_one_id_are_both_reported(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ceo.json").write_bytes(card() if folder == "a" else b"{")
    assert [report.is_valid for report in validate_path(tmp_path)] == [True, False]


def test_the_operators_policy_holds_for_files_too(tmp_path: Path) -> None:
    (tmp_path / "ceo.json").write_bytes(card(model="big"))
    policy = CardPolicy(allowed_models=frozenset({"small"}))
    [report] = validate_path(tmp_path / "ceo.json", policy=policy)
    assert [error["path"] for error in report.status["errors"]] == ["model"]


def test_a_file_of_a_megabyte_is_told_its_size(tmp_path: Path) -> None:
    (tmp_path / "ceo.json").write_bytes(b"x" * 1024 * 1024)
    [report] = validate_path(tmp_path / "ceo.json")
    assert report.status["errors"][0]["message"] == (
        "the card has 1,048,576 bytes, the limit is 65,536"
    )


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        validate_path(tmp_path / "nothing.json")
