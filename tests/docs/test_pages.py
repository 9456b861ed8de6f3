"""The pages: short where they must be, links that lead somewhere, paths and words that are ours."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.cli_page import PAGE, cli_page, list_commands
from tests.docs.module_map import MAP, module_map
from tests.docs.pages import LINKED, PAGES, ROOT, find_dead_links, inline_commands, links, prose

README = ROOT / "README.md"
MAKEFILE = ROOT / "Makefile"
LONGEST_README = 130
GLOSSARY = ROOT / "docs" / "glossary.md"
PLAN = ROOT / "docs" / "CLAUSES.md"
OURS = r"(?:aos|devhost|tests|infra|examples|benchmarks|mcp_app|realm_app)"


def test_the_readme_is_short_and_begins_with_the_promise() -> None:
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) < LONGEST_README
    assert lines[2] == "Put a JSON file in a blob container and you have a durable agent."


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    assert find_dead_links(page) == []


def test_a_link_to_a_page_a_picture_or_a_heading_that_is_gone_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One two\n[a](page.md#one-two) [b](#one-two) [c](https://example.org/none)\n"
        "[d](gone.md) [e](#three) [f](page.md#three) ![g](gone.png) `[h](code.md)`\n"
    )
    assert find_dead_links(page) == ["gone.md", "#three", "page.md#three", "gone.png"]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_in_a_sentence_exists_with_its_options(page: Path) -> None:
    assert [text for text in inline_commands(page) if not _is_command(text)] == []


@pytest.mark.parametrize("text", ["make nothing", "aos nothing", "aos ask ceo --nothing"])
def test_a_command_that_does_not_exist_is_found(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Call `{text}` or `A=1 .venv/bin/aos runs --json`, and `make test`.\n")
    commands = inline_commands(page)
    assert [command for command in commands if not _is_command(command)] == [text]
    assert len(commands) == 3


def _is_command(text: str) -> bool:
    program, name, *rest = re.split(r"[\s,;]+", text)
    if program == "make":
        return re.search(rf"^{re.escape(name)}:", MAKEFILE.read_text("utf-8"), re.M) is not None
    command = dict(list_commands()).get(name)
    if command is None:
        return False
    options = {word.partition("=")[0] for word in rest if word.startswith("--")}
    return options <= set(command.format_help().replace("[", " ").replace("]", " ").split())


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != PLAN], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_path_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    """In backticks, from the root; the plan's clauses speak of files that are still to come."""
    named = re.findall(rf"`({OURS}/[\w./-]+|[\w-]+\.(?:py|toml|txt))`", prose(page))
    gone = [path for path in named if not _exists(path)]
    assert gone == []


def _exists(path: str) -> bool:
    """From the root; a bare file name may be anywhere below the folders that hold code."""
    if "/" in path or (ROOT / path).exists():
        return (ROOT / path).exists()
    return any(
        next((ROOT / folder).rglob(path), None) is not None
        for folder in ("aos", "devhost", "tests", "infra", "mcp_app")
    )


def test_the_module_map_is_current() -> None:
    assert MAP.read_text("utf-8") == module_map(), "run: python -m tests.docs.module_map"


def test_the_page_of_the_command_is_current() -> None:
    assert PAGE.read_text("utf-8") == cli_page(), "run: python -m tests.docs.cli_page"


def test_every_decision_is_in_the_list_of_decisions_and_says_how_it_is_validated() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = sorted(path for path in folder.glob("[0-9]*.md"))
    numbers = [path.name[:4] for path in decisions]
    assert len(set(numbers)) == len(numbers), "two decisions have one number"
    listed = links(folder / "README.md")
    assert [name for name in listed if name.endswith(".md")] == [path.name for path in decisions]
    for path in decisions:
        text = path.read_text("utf-8")
        missing = [
            part for part in ("**Context.**", "**Choice.**", "**Validated by**") if part not in text
        ]
        assert missing == [], path.name
        assert text.count("\n") < 45, f"{path.name} is longer than a page"


def _refused_words() -> list[str]:
    rows = re.findall(r"^\| (.+?) \| .+? \| (.*?) ?\|$", GLOSSARY.read_text("utf-8"), re.M)
    words = [word.strip() for _, refused in rows for word in refused.split(",")]
    return [word for word in words if word and word != "not" and set(word) != {"-"}]


@pytest.mark.parametrize("word", _refused_words())
def test_a_word_that_the_glossary_refuses_is_not_used(word: str) -> None:
    """In the pages and in the docstrings of rules and use cases; plain English may stand."""
    pages = [page for page in PAGES if page not in (GLOSSARY, PLAN)]
    texts = {str(page.relative_to(ROOT)): prose(page) for page in pages}
    for folder in ("domain", "services"):
        for path in (ROOT / "aos" / folder).rglob("*.py"):
            texts[str(path.relative_to(ROOT))] = _docstrings(path)
    found = [
        f"{name}: {line.strip()[:120]}"
        for name, text in texts.items()
        for line in text.splitlines()
        if re.search(rf"\b{word}s?\b", re.sub(r"`[^`]*`", "", line), re.I)
        and not re.search(OTHERS_WORDS, line, re.I)
    ]
    assert found == []


OTHERS_WORDS = (
    r"threads,|thread hand|package registr|container registr|from registries|names registries"
    r"|job of|our job|archive job|snapshot read from"
)
"""Lines in which such a word is somebody else's, or plain English."""


def _docstrings(path: Path) -> str:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return "\n".join(ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds))
