"""Every example is short, is run by a test, and is listed in the folder's README."""

from __future__ import annotations

import json
import re

import pytest

from aos.entrypoints.requests import QueueRequest, read_object, validate
from tests.docs.pages import ROOT

FOLDER = ROOT / "examples"
MOST_LINES = 30
PROGRAMS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".mjs", ".cs"))
CHECKED_BY_HAND = {"AskOverQueue.cs"}
"""No test has a compiler for these; the JSON in them is read below."""


def test_the_folder_has_nothing_but_cards_programs_and_its_readme() -> None:
    cards = {path.name for path in FOLDER.glob("*.json")}
    found = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert found == {*cards, *PROGRAMS, "README.md"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_short_and_in_the_readme(name: str) -> None:
    assert len((FOLDER / name).read_text("utf-8").splitlines()) <= MOST_LINES
    assert f"[{name}]({name})" in (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_pointed_elsewhere_as_the_readme_says(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    assert re.search(r"AOS_URL|AZURE_(SERVICEBUS|STORAGE)_CONNECTION_STRING", text)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in CHECKED_BY_HAND])
def test_an_example_is_run_by_a_test(name: str) -> None:
    e2e = [path.read_text("utf-8") for path in (ROOT / "tests" / "e2e").glob("test_*.py")]
    run_by_pages = f"examples/{name}" in (ROOT / "README.md").read_text("utf-8").replace(
        f"`examples/{name}`", ""
    )
    assert run_by_pages or any(f'"{name}"' in text for text in e2e)


def test_the_json_of_the_c_sharp_example_is_a_request_of_the_contract() -> None:
    (text,) = re.findall(r'"""(.*?)"""', (FOLDER / "AskOverQueue.cs").read_text("utf-8"), re.S)
    assert set(json.loads(text)) <= set(QueueRequest.model_fields)
    read = validate(QueueRequest, read_object(text.encode(), max_bytes=65_536))
    assert read.agent_id == "ceo"
