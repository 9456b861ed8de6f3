"""Which pages are documentation, and what is in them: links, anchors, fenced blocks, marks?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
)
LINKED = sorted([*PAGES, *(ROOT / "infra").glob("*.md")])
"""The pages whose links lead somewhere, those of the deployment too."""
_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its page, the line it begins on, the comment before it, and its text."""

    page: Path
    line: int
    mark: str
    language: str
    text: str

    @property
    def place(self) -> str:
        """`README.md:12`, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            mark=found["mark"] or "",
            language=found["language"],
            text=found["text"],
        )
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, outside of fenced blocks and inline code."""
    without_code = re.sub(r"`[^`\n]*`", "``", prose(page))
    return [found["target"] for found in _LINK.finditer(without_code)]


def find_dead_links(page: Path) -> list[str]:
    """The targets within the repository that do not exist: pages, pictures, headings."""
    dead = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    return dead


def inline_commands(page: Path) -> list[str]:
    """The commands `make …` and `aos …` that stand in a page's sentences."""
    found = re.findall(r"`(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?((?:make|aos) [^`\n]+)`", prose(page))
    return [command for command in found if re.match(r"\w+ [a-z]", command)]


def anchors(page: Path) -> set[str]:
    """What `#…` may name on a page: its headings, in GitHub's form."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        times = found.get(name, 0)
        found[name] = times + 1
        names.add(name if times == 0 else f"{name}-{times}")
    return names
