"""Reads an MCP server's command line as its program would, and says what the card may not write.

A word is the operator's where the prefix of `AOS_MCP_ALLOWED` spells it, and the card's elsewhere.
Entry point: `read_command`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aos.domain.cards.env_rules import is_env_name, refusal_of
from aos.domain.cards.package_names import Source, is_name, is_rest, program_name, program_of
from aos.domain.cards.programs import SHELLS, Runner, find_runner, is_code_module

_CODE_OPTIONS = re.compile(
    r"-[ce]|-[A-Za-z]{0,8}[cep]|--(?:call|eval|exec|print)(?:=.*)?", re.DOTALL
)
_ANYWHERE = re.compile(r"-[ce]|--(?:call|eval|exec|print)(?:=.*)?", re.DOTALL)
CODE_HINT = "start a published server by its name"
SPELL_HINT = "leave it out, or ask the operator to write it into AOS_MCP_ALLOWED"
MOST_NESTED = 4
"""Of programs that run programs, such as `npx tsx server.ts`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is wrong with a command line, and what to write instead. `fatal`: no prefix helps."""

    message: str
    hint: str
    fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a command line runs: the `package`, where one is named, or why it may not be run."""

    package: str | None = None
    source: Source | None = None
    refusal: Refusal | None = None


def begins_with(prefix: str, words: Sequence[str]) -> bool:
    """Does the prefix spell the first words? It ends at a word's end, unless with a `/`."""
    wanted = prefix.split()
    if not wanted or len(words) < len(wanted):
        return False
    last = words[len(wanted) - 1]
    if list(words[: len(wanted) - 1]) != wanted[:-1]:
        return False
    return last.startswith(wanted[-1]) if wanted[-1].endswith("/") else last == wanted[-1]


def read_command(
    words: Sequence[str], *, prefix: str | None, opened: Collection[str] = ()
) -> Reading:
    """Read a command line whose first words the prefix spells; None spells the program alone.
    `opened`: variables that the operator lets cards set."""
    spelled = [] if prefix is None else prefix.split()
    runner = find_runner(words[0])
    if spelled and spelled[-1].endswith("/"):
        source = "npm" if runner is None else runner.source
        rest = words[len(spelled) - 1].removeprefix(spelled[-1])
        if not is_rest(rest, source):
            return _refused(
                f"{rest!r} behind {spelled[-1]!r} is not one name with at most a version",
                "write one name, and behind it at most a version",
            )
    return _read(words, max(1, len(spelled)), opened)


def _read(words: Sequence[str], fixed: int, opened: Collection[str], *, depth: int = 0) -> Reading:
    program = program_name(words[0])
    if program in SHELLS:
        return Reading(
            refusal=Refusal(
                f"the command {words[0]!r} is a shell, or runs what its arguments say",
                "name the server's own program",
                fatal=True,
            )
        )
    runner = find_runner(words[0])
    if runner is None:
        return Reading()
    if depth >= MOST_NESTED:
        return _refused("the command starts too many programs through others", SPELL_HINT)
    return _Reader(words, runner, fixed=fixed, opened=opened, depth=depth).read()


def _refused(message: str, hint: str) -> Reading:
    return Reading(refusal=Refusal(message, hint))


class _Reader:
    """One program's words, read once from left to right."""

    def __init__(
        self,
        words: Sequence[str],
        runner: Runner,
        *,
        fixed: int,
        opened: Collection[str],
        depth: int,
    ) -> None:
        self._words = words
        self._runner = runner
        self._fixed = fixed
        self._opened = opened
        self._depth = depth
        self._at = 1
        self._path: tuple[str, ...] = ()
        self._chosen = False
        self._ended = False

    def read(self) -> Reading:
        """Up to the package or script, and what follows it."""
        if self._runner.interprets:
            for word in self._words[1:]:
                if _ANYWHERE.fullmatch(word):
                    return Reading(refusal=_code_refusal(word))
        while self._at < len(self._words):
            word = self._words[self._at]
            if word == "--" and not self._ended:
                self._ended, found = True, None
                self._at += 1
            elif word.startswith("-") and not self._ended:
                found = self._option(word)
            else:
                found = self._positional(word)
            if found is not None:
                return found
        return _refused(
            f"{' '.join(self._words)!r} names nothing to run", "name the server's package"
        )

    @property
    def _is_spelled(self) -> bool:
        return self._at < self._fixed

    def _option(self, word: str) -> Reading | None:
        name, equals, value = word.partition("=")
        runner = self._runner
        if word in runner.switches or (self._is_spelled and word in runner.other_switches):
            self._at += 1
            return None
        if word in runner.enders:
            self._at += 1
            self._ended = True
            return None
        if self._is_spelled:
            return self._spelled_option(word, name)
        if name not in runner.values | runner.environment:
            return Reading(refusal=_option_refusal(word))
        if not equals:
            self._at += 1
            value = self._words[self._at] if self._at < len(self._words) else ""
        self._at += 1
        if not value:
            return _refused(f"the option {name!r} has no value", "write one, or leave it out")
        return self._variable(value.partition("=")[0]) if name in runner.environment else None

    def _variable(self, name: str) -> Reading | None:
        """What a container gets in its environment is held like the card's `env`."""
        reason = refusal_of(name, opened=self._opened)
        if reason is None and is_env_name(name):
            return None
        return _refused(
            f"the container's variable {name[:80]!r} may not be set",
            f"remove it: {reason or 'it is not a name'}",
        )

    def _spelled_option(self, word: str, name: str) -> Reading | None:
        """The operator's own; one that is not known may take the next word for its value."""
        runner = self._runner
        self._chosen = self._chosen or name in runner.choosers
        if "=" in word:
            self._at += 1
            return None
        self._at += 1
        if self._at >= len(self._words):
            return None
        if not self._is_spelled:
            return _refused(
                f"{self._words[self._at]!r} may be the value of {word!r}",
                "ask the operator to write it into AOS_MCP_ALLOWED",
            )
        self._at += 1
        return Reading() if self._at == len(self._words) else None  # the operator's whole line

    def _positional(self, word: str) -> Reading | None:
        path = (*self._path, word)
        forms = self._runner.forms
        if any(form[: len(path)] == path for form in forms) and not self._ended:
            self._path = path
            self._at += 1
            return None
        source = forms.get(self._path)
        if source is None:
            return self._unknown_form(word)
        if not self._is_spelled:
            if self._chosen:
                return _refused(f"{word!r} chooses the program to run", SPELL_HINT)
            if self._runner.enders and self._ended and is_code_module(word):
                return _refused(f"the module {word!r} runs or fetches other code", SPELL_HINT)
            if self._may_be_a_command(word):
                return _refused(
                    f"{word!r} may be a command of {self._words[0]!r} and not a script",
                    "write the script's file name, such as ./server.js",
                )
            if not is_name(word, source):
                return _refused(
                    f"{word[:200]!r} is not one {_KINDS[source]} with at most a version",
                    "write its published name, and at most a version",
                )
        return self._behind(word, source)

    def _may_be_a_command(self, word: str) -> bool:
        return self._runner.commands and not self._path and not re.search(r"[./]", word)

    def _unknown_form(self, word: str) -> Reading:
        """A subcommand that is not known here: it must be the operator's, and so its options."""
        if not self._is_spelled:
            return _refused(f"{word!r} is not known to start a package", SPELL_HINT)
        for other in self._words[self._fixed :]:
            if other == "--":
                break
            if other.startswith("-"):
                return Reading(refusal=_option_refusal(other))
        return Reading()

    def _behind(self, package: str, source: Source) -> Reading:
        """The package is found: what its arguments may be."""
        first = self._at
        if self._runner.reads_on and not self._ended:
            for word in self._words[max(first + 1, self._fixed) :]:
                if word == "--":
                    break
                if word.startswith("-") and word not in self._runner.switches:
                    return _refused(
                        f"the option {word!r} is {self._words[0]}'s and not the server's",
                        "write -- before the server's own arguments",
                    )
        program = None if source == "script" else program_of(package, source)
        if program is not None and (program in SHELLS or find_runner(program) is not None):
            line = (program, *self._words[first + 1 :])
            fixed = max(1, self._fixed - first)
            inner = _read(line, fixed, self._opened, depth=self._depth + 1)
            if inner.refusal is not None:
                return inner
        return Reading(package=package, source=source)


_KINDS = {
    "npm": "package of npm",
    "pypi": "package of PyPI",
    "image": "container image",
    "script": "script",
}


def _code_refusal(word: str) -> Refusal:
    return Refusal(f"the option {word!r} runs code", CODE_HINT, fatal=True)


def _option_refusal(word: str) -> Refusal:
    if _CODE_OPTIONS.fullmatch(word):
        return _code_refusal(word)
    return Refusal(f"the option {word[:200]!r} may change what is fetched or run", SPELL_HINT)
