"""Reads the command line of an MCP server and refuses words that a card may not write. Entry point:
`read_command`.

Words that a prefix of `AOS_MCP_ALLOWED` contains were written by the operator and are trusted. All
other words were written by the card's author and are checked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aos.domain.cards.env_rules import explain_refusal, is_env_name
from aos.domain.cards.package_names import (
    Source,
    guess_program,
    is_name,
    is_rest,
    parse_program_name,
)
from aos.domain.cards.programs import SHELLS, Runner, find_runner, is_code_module

_CODE_OPTIONS = re.compile(
    r"-[ce]|-[A-Za-z]{0,8}[cep]|--(?:call|eval|exec|print)(?:=.*)?", re.DOTALL
)
_ANYWHERE = re.compile(r"-[ce]|--(?:call|eval|exec|print)(?:=.*)?", re.DOTALL)
CODE_HINT = "start a published server by its package name"
SPELL_HINT = "leave it out, or ask the operator to write it into AOS_MCP_ALLOWED"
MOST_NESTED = 4
"""The most programs that may start each other in one line, such as `npx tsx server.ts`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command line is refused, and what to write instead. If `fatal`, no prefix of
    `AOS_MCP_ALLOWED` can allow it."""

    message: str
    hint: str
    fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The package that a command line runs, if it names one, or the reason for its refusal."""

    package: str | None = None
    source: Source | None = None
    refusal: Refusal | None = None


def is_prefix_of(prefix: str, words: Sequence[str]) -> bool:
    """Whether the command line begins with the words of the prefix.

    The last word must be equal, or may continue if the prefix ends with `/`.
    """
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
    """Read a command line that begins with `prefix`; with None only the program is the operator's.

    `opened` holds variables that the operator lets cards set.
    """
    spelled = [] if prefix is None else prefix.split()
    runner = find_runner(words[0])
    if spelled and spelled[-1].endswith("/"):
        source = "npm" if runner is None else runner.source
        rest = words[len(spelled) - 1].removeprefix(spelled[-1])
        if not is_rest(rest, source):
            return _refuse(
                f"{rest!r} after {spelled[-1]!r} is not one name, with or without a version",
                "write one package name; a version may follow it",
            )
    return _read(words, max(1, len(spelled)), opened)


def _read(words: Sequence[str], fixed: int, opened: Collection[str], *, depth: int = 0) -> Reading:
    program = parse_program_name(words[0])
    if program in SHELLS:
        return Reading(
            refusal=Refusal(
                f"the command {words[0]!r} is a shell, or runs code from its arguments",
                "write the server's own program",
                fatal=True,
            )
        )
    runner = find_runner(words[0])
    if runner is None:
        return Reading()
    if depth >= MOST_NESTED:
        return _refuse(f"more than {MOST_NESTED} programs start each other", SPELL_HINT)
    return _Reader(words, runner, fixed=fixed, opened=opened, depth=depth).read()


def _refuse(message: str, hint: str) -> Reading:
    return Reading(refusal=Refusal(message, hint))


class _Reader:
    """Reads the words of one program once, from left to right."""

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
        """Read up to the package or script, then check the words after it."""
        if self._runner.interprets:
            for word in self._words[1:]:
                if _ANYWHERE.fullmatch(word):
                    return Reading(refusal=_refuse_code(word))
        while self._at < len(self._words):
            word = self._words[self._at]
            if word == "--" and not self._ended:
                self._ended, found = True, None
                self._at += 1
            elif word.startswith("-") and not self._ended:
                found = self._read_option(word)
            else:
                found = self._read_positional(word)
            if found is not None:
                return found
        return _refuse(
            f"{' '.join(self._words)!r} does not name a package or script",
            "write the server's package",
        )

    @property
    def _is_spelled(self) -> bool:
        return self._at < self._fixed

    def _read_option(self, word: str) -> Reading | None:
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
            return self._read_operator_option(word, name)
        if name not in runner.values | runner.environment:
            return Reading(refusal=_refuse_option(word))
        if not equals:
            self._at += 1
            value = self._words[self._at] if self._at < len(self._words) else ""
        self._at += 1
        if not value:
            return _refuse(
                f"the option {name!r} has no value", "write one, or leave the option out"
            )
        return self._check_variable(value.partition("=")[0]) if name in runner.environment else None

    def _check_variable(self, name: str) -> Reading | None:
        """Check a container's environment variable like a variable of the card's `env`."""
        reason = explain_refusal(name, opened=self._opened)
        if reason is None and is_env_name(name):
            return None
        return _refuse(
            f"the container's variable {name[:80]!r} may not be set",
            f"remove it: {reason or 'it is not a valid variable name'}",
        )

    def _read_operator_option(self, word: str, name: str) -> Reading | None:
        """Read an option that the operator wrote. An unknown one may take the next word as its
        value."""
        runner = self._runner
        self._chosen = self._chosen or name in runner.choosers
        if "=" in word:
            self._at += 1
            return None
        self._at += 1
        if self._at >= len(self._words):
            return None
        if not self._is_spelled and name in runner.environment:
            variable = self._words[self._at].partition("=")[0]
            self._at += 1
            return self._check_variable(variable)
        if not self._is_spelled:
            return _refuse(
                f"{self._words[self._at]!r} may be the value of {word!r}",
                "ask the operator to write it into AOS_MCP_ALLOWED",
            )
        self._at += 1
        # the operator wrote the whole line
        return Reading() if self._at == len(self._words) else None

    def _read_positional(self, word: str) -> Reading | None:
        path = (*self._path, word)
        forms = self._runner.forms
        if any(form[: len(path)] == path for form in forms) and not self._ended:
            self._path = path
            self._at += 1
            return None
        source = forms.get(self._path)
        if source is None:
            return self._check_unknown_form(word)
        if not self._is_spelled:
            if self._chosen:
                return _refuse(
                    f"a package is named before {word!r}, which chooses the program", SPELL_HINT
                )
            if self._runner.enders and self._ended and is_code_module(word):
                return _refuse(f"the Python module {word!r} runs or loads other code", SPELL_HINT)
            if self._may_be_a_command(word):
                return _refuse(
                    f"{word!r} may be a subcommand of {self._words[0]!r} instead of a script",
                    "write the script's file name, such as ./server.js",
                )
            if not is_name(word, source):
                return _refuse(
                    f"{word[:200]!r} is not one {_KINDS[source]} with or without a version",
                    "write its published name; a version may follow it",
                )
        return self._check_arguments(word, source)

    def _may_be_a_command(self, word: str) -> bool:
        return self._runner.commands and not self._path and not re.search(r"[./]", word)

    def _check_unknown_form(self, word: str) -> Reading:
        """Check a subcommand that AOS does not know: the operator must have written it and all
        options."""
        if not self._is_spelled:
            return _refuse(f"the subcommand {word!r} is not known to start a package", SPELL_HINT)
        for other in self._words[self._fixed :]:
            if other == "--":
                break
            if other.startswith("-"):
                return Reading(refusal=_refuse_option(other))
        return Reading()

    def _check_arguments(self, package: str, source: Source) -> Reading:
        """Check the arguments after the package."""
        first = self._at
        if self._runner.reads_on and not self._ended:
            for word in self._words[max(first + 1, self._fixed) :]:
                if word == "--":
                    break
                if word.startswith("-") and word not in self._runner.switches:
                    return _refuse(
                        f"{self._words[0]} reads the option {word!r}, not the server",
                        "write -- before the server's own arguments",
                    )
        program = None if source == "script" else guess_program(package, source)
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


def _refuse_code(word: str) -> Refusal:
    return Refusal(f"the option {word!r} runs code", CODE_HINT, fatal=True)


def _refuse_option(word: str) -> Refusal:
    if _CODE_OPTIONS.fullmatch(word):
        return _refuse_code(word)
    return Refusal(f"the option {word[:200]!r} may change what is downloaded or run", SPELL_HINT)
