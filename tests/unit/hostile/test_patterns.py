"""Every regular expression of the product takes linear time, whatever text it meets.

The patterns are read out of the source, so that one added tomorrow is tried as well. Each meets
texts made of what it knows itself: its characters and pairs of them, many times over, after each
of its literal beginnings, with an end that does not fit.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import pytest

ROOT = Path(__file__).parents[3]
FUNCTIONS = {"compile", "match", "fullmatch", "search", "split", "sub", "findall", "finditer"}
SIZES = (24, 200, 800, 16_000)
"""Exponential time shows at the first, cubic at the third; at the last, quadratic is 250 million
steps for a start."""
SECONDS = 0.05
CLEARLY_SECONDS = 1.0
"""What takes so long is not tried again: no disturbance of the machine explains it."""


def _patterns() -> Iterator[tuple[str, str | bytes, int, str]]:
    """The place, the pattern, its flags and the method that it is used by, for each use."""
    for folder in ("aos", "devhost"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text("utf-8")
            if not re.search(r"\bre\.", source):
                continue  # parsing all of it takes a second in each process of the run
            for node in ast.walk(ast.parse(source)):
                if not isinstance(node, ast.Call) or not _is_re(node.func):
                    continue
                pattern = node.args[0]
                if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str | bytes):
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    flags = sum(_flag(a) for a in ast.walk(node) if isinstance(a, ast.Attribute))
                    for method in _methods(node.func, source, node.lineno):
                        yield place, pattern.value, flags, method


def _is_re(function: ast.expr) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in FUNCTIONS
    )


def _flag(attribute: ast.Attribute) -> int:
    value = getattr(re, attribute.attr, None)
    return value.value if isinstance(value, re.RegexFlag) else 0


def _methods(function: ast.Attribute, source: str, line: int) -> list[str]:
    """How a compiled pattern is used in its module."""
    if function.attr != "compile":
        return [function.attr]
    name = source.splitlines()[line - 1].partition("=")[0].strip()
    return sorted(set(re.findall(rf"\b{re.escape(name)}\.(\w+)\(", source)) & FUNCTIONS)


PATTERNS = list(_patterns())


def _letters(pattern: str) -> list[str]:
    """A character of every kind that the pattern names, and one that it does not."""
    plain = re.sub(r"\\[dDwWsSbBZA]", "", pattern)
    named = {c for c in plain if c not in "()?:*+|^$.{}[]\\"}
    escaped = set(re.findall(r"\\([^A-Za-z0-9])", pattern))
    kinds = {c for c in "a0 \n" if any(k in pattern for k in (r"\w", r"\d", r"\s", ".", "-", "^"))}
    order = sorted(named | escaped | kinds)
    return order[:: max(1, len(order) // 14)] if len(order) > 20 else order


def _beginnings(pattern: str) -> list[str]:
    words = re.findall(r"[A-Za-z0-9_@/\"'<\[{=:. -]{2,}", pattern.replace("\\", ""))
    return ["", *sorted(set(words), key=len)[-4:]]


def _texts(pattern: str, size: int) -> Iterator[str]:
    letters = _letters(pattern)
    pumps = [*letters, *(a + b for a in letters for b in letters if a != b)]
    for pump in pumps:
        for beginning in _beginnings(pattern):
            yield beginning + pump * (size // len(pump)) + "\x00"


def _seconds(run: Any) -> float:
    taken = []
    for _ in range(3):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
        if not SECONDS <= taken[-1] < CLEARLY_SECONDS:
            break
    return min(taken)


@pytest.mark.parametrize(
    ("place", "pattern", "flags", "method"), PATTERNS, ids=[f"{p[0]}-{p[3]}" for p in PATTERNS]
)
def test_a_pattern_takes_linear_time(
    place: str, pattern: str | bytes, flags: int, method: str
) -> None:
    compiled: re.Pattern[Any] = re.compile(pattern, flags)
    shown = pattern.decode() if isinstance(pattern, bytes) else pattern
    for size in SIZES:
        for text in _texts(shown, size):
            given: Any = text.encode() if isinstance(pattern, bytes) else text
            took = _seconds(lambda given=given: _use(compiled, method, given))
            assert took < SECONDS, f"{place}: {took:.2f} s for {size} of {text[:30]!r}…"


def _use(pattern: re.Pattern[Any], method: str, text: Any) -> None:
    if method in ("match", "fullmatch"):
        getattr(pattern, method)(text)
    else:  # all the others look at every place
        for _ in pattern.finditer(text):
            pass


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) > 45
    assert all(method for _, _, _, method in PATTERNS)


@pytest.mark.parametrize(
    ("bad", "flags", "method"),
    [
        (r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL, "finditer"),
        (r"(a+)+b", 0, "fullmatch"),
        (r"\s+$", 0, "search"),
        (r"(.*)=(.*);(.*)x", 0, "match"),
        (r"a.*b.*c", re.DOTALL, "fullmatch"),
    ],
)
def test_a_pattern_that_is_not_linear_is_noticed(bad: str, flags: int, method: str) -> None:
    with pytest.raises(AssertionError, match="s for"):
        test_a_pattern_takes_linear_time("here", bad, int(flags), method)
