"""Finds the commands in the pages, pipelines and scripts of operations.

A block of shell becomes its simple commands, each a list of words: continued lines joined,
subshells opened, redirections and what follows a pipe left aside.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *(ROOT / "docs" / "runbooks").glob("*.md"),
        *(ROOT / "docs" / name for name in ("COST.md", "SECURITY.md", "DEPLOYMENT_TASKS.md")),
        *(ROOT / name for name in ("README.md", "docs/MODELS.md", "docs/UPGRADING.md")),
        ROOT / "docs" / "MIGRATION.md",
        ROOT / "SUPPORT.md",
        ROOT / "infra" / "README.md",
    ]
)
PIPELINES = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    ROOT / "azure-pipelines.yml",
]
SCRIPTS = [ROOT / "infra" / "publish.sh"]
_BLOCK = re.compile(
    r"^(?!<!-- (?:run|not run): )(?:<!--[^\n]*-->\n|(?<!-->\n))```(?:bash|sh)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
"""Blocks that tests/docs runs, or says why not, are left to it."""
_SEPARATORS = {"&&", "||", ";", "|", "&", "(", ")", "{", "}", "then", "do", "done", "fi", "else"}
_REDIRECTION = re.compile(r"^\d?[<>]+&?\d?$")
_GLOBAL = {"--output", "-o", "--query", "--subscription", "--only-show-errors", "--verbose"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A simple command and where it stands."""

    place: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """`az`, `deploy.py` …: what is run."""
        first = self.words[0]
        if first in ("python", "python3", ".venv/bin/python", "bash") and len(self.words) > 1:
            return Path(self.words[1]).name
        return Path(first).name

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the program gets."""
        return self.words[1 if self.program == Path(self.words[0]).name else 2 :]


def commands() -> list[Command]:
    """All of them."""
    return [command for place, text in _texts() for command in simple_commands(place, text)]


def az_commands() -> dict[str, list[Command]]:
    """The commands of az that are used (`keyvault secret show`), with their uses."""
    found: dict[str, list[Command]] = {}
    for command in commands():
        if command.program == "az":
            found.setdefault(name_of(command), []).append(command)
    return found


def name_of(command: Command) -> str:
    """The words of az before the first option."""
    words = []
    for word in command.arguments:
        if word.startswith("-"):
            break
        words.append(word)
    return " ".join(words)


def options_in(command: Command) -> list[str]:
    """The options that a command is given, those of every command of az left out."""
    options = [word.split("=")[0] for word in command.arguments if re.match(r"^--?[a-z]", word)]
    return [option for option in options if option not in _GLOBAL]


def simple_commands(place: str, text: str) -> Iterator[Command]:
    """The simple commands of a text of shell."""
    text = re.sub(r"\\\n\s*", " ", text)
    # NAME=$(command), with quotes, `export` and a comment or without.
    text = re.sub(r'^(?:export )?\w+="?\$\((.*)\)"?(?: +#.*)?$', r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"\$\(([A-Z]\w*(?:\.\w+)*)\)", r"\1", text)  # variables of Azure Pipelines
    text = re.sub(r"\$\{\{(.*?)\}\}", "EXPRESSION", text)
    text = re.sub(r"\b\w+=\$\(", "; ", text)
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();&|")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:
            continue  # a part of a text that goes over several lines
        yield from _split(place, words)


def _split(place: str, words: list[str]) -> Iterator[Command]:
    current: list[str] = []
    for word in [*words, ";"]:
        if word in _SEPARATORS or not word.strip("();&|"):
            kept = _without_redirections(current)
            if kept:
                yield Command(place=place, words=tuple(kept))
            current = []
        else:
            current.append(word)


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif _REDIRECTION.match(word):
            skip = "&" not in word
        elif not kept and re.match(r"^[A-Z_]+=", word):
            continue
        else:
            kept.append(word)
    return kept


def _texts() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in _BLOCK.findall(text):
            yield str(page.relative_to(ROOT)), block
        if page.name != "MIGRATION.md":  # it names commands that do not exist
            for code in re.findall(r"`(az [^`\n]+)`", _BLOCK.sub("", text)):
                yield str(page.relative_to(ROOT)), code.replace("…", "")
    for pipeline in PIPELINES:
        document = yaml.safe_load(pipeline.read_text("utf-8"))
        for text in _scripts(document):
            yield str(pipeline.relative_to(ROOT)), text
    for script in SCRIPTS:
        yield str(script.relative_to(ROOT)), script.read_text("utf-8")


def _scripts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("run", "script", "inlineScript") and isinstance(value, str):
                yield value
            else:
                yield from _scripts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _scripts(item)
