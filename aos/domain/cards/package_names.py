"""Checks that a word names one published package, with or without a version. Entry points:
`is_name`, `is_rest`, `is_pinned`.

Package managers also accept files, folders, archives, git, URLs, aliases and ranges. The grammars
here match none of these. `is_rest` checks the word that completes an operator's prefix ending with
`/`.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Source: TypeAlias = Literal["npm", "pypi", "image", "script"]
"""The naming authority: npm, PyPI, a container registry, or a file that an interpreter runs."""

MOST_CHARACTERS = 512
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_NPM_TAG = r"(?:@[A-Za-z0-9][A-Za-z0-9._+-]*)?"
_PEP440 = (
    r"(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:alpha|a|beta|b|preview|pre|rc|c|post|rev|r|dev)[-_.]?\d*){0,3}"
    r"(?:\+[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*)?"
)
_PYPI_VERSION = rf"(?:==v?{_PEP440}|@(?:{_PEP440}|latest))?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?"
_IMAGE_VERSION = r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
_RESTS: dict[Source, re.Pattern[str]] = {
    "npm": re.compile(rf"{_WORD}{_NPM_TAG}"),
    "pypi": re.compile(rf"{_WORD}{_PYPI_VERSION}"),
    "image": re.compile(rf"{_PATH_PART}{_IMAGE_VERSION}"),
    "script": re.compile(rf"{_WORD}{_NPM_TAG}"),
}
_NAMES: dict[Source, re.Pattern[str]] = {
    "npm": re.compile(rf"(?:@{_WORD}/)?{_WORD}{_NPM_TAG}"),
    "pypi": _RESTS["pypi"],
    "image": re.compile(rf"(?:{_HOST}/)?(?:{_PATH_PART}/)*{_PATH_PART}{_IMAGE_VERSION}"),
    "script": re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]+:|/+(?:\./+)*(?:dev|proc)/|-).+", re.DOTALL),
}
_ARCHIVES: dict[Source, re.Pattern[str]] = {
    "npm": re.compile(r"\.(?:tgz|tar|tar\.gz)(?:@|$)", re.IGNORECASE),
    "pypi": re.compile(
        r"\.(?:pyz?w?|whl|zip|egg|tgz|tbz|txz|tar|(?:tar\.)?(?:gz|bz2|xz|lzma|zst))(?:@|=|$)",
        re.IGNORECASE,
    ),
    "image": re.compile(  # podman reads these as a file, a folder or another store
        r"^(?:atomic|containers-storage|dir|docker|docker-archive|docker-daemon|oci|oci-archive"
        r"|ostree|sif|tarball):"
    ),
}
_NO_NAMES = frozenset({"true", "false", "null", "undefined"})
"""npm reads such a word as the value of the option before it."""
_PINNED: dict[Source, re.Pattern[str]] = {
    "npm": re.compile(r".+@v?\d+\.\d+\.\d+(?:[-+][A-Za-z0-9.+-]*)?"),
    "pypi": re.compile(rf".+(?:==v?|@){_PEP440}"),
    "image": re.compile(r".+(?::v?\d[^/:]*|@sha256:[0-9a-f]{64})"),
}


def is_name(text: str, source: Source) -> bool:
    """Whether this is the name of one published package or script, with or without a version."""
    return _is_match(text, source, _NAMES[source])


def is_rest(text: str, source: Source) -> bool:
    """Whether this completes a prefix that ends with `/` to one name, with or without a version."""
    return _is_match(text, source, _RESTS[source])


def is_pinned(text: str, source: Source) -> bool:
    """Whether the name contains one exact version."""
    pinned = _PINNED.get(source)
    return pinned is None or pinned.fullmatch(text) is not None


def guess_program(package: str, source: Source) -> str | None:
    """Return the program that a package without a scope probably is, such as Python in `uvx
    python`.

    Returns None for an image, because its programs are its own.
    """
    if source == "image" or "/" in package:
        return None
    return parse_program_name(re.split(r"[@:=\[]", package, maxsplit=1)[0])


def parse_program_name(command: str) -> str:
    """Return the name of the program that a command starts, without folder, suffix and version."""
    name = re.split(r"[/\\]", command)[-1].lower()
    name = re.sub(r"\.(?:exe|cmd|bat|ps1)$", "", name)
    # builds such as python3.13t
    name = re.sub(r"(?<=\d)t$|-(?:dbg|debug|static)$|\.distrib$", "", name)
    return re.sub(r"(?<=[a-z])[-.]?\d[\d.]*$", "", name) or name


def _is_match(text: str, source: Source, grammar: re.Pattern[str]) -> bool:
    if len(text) > MOST_CHARACTERS or grammar.fullmatch(text) is None or text in _NO_NAMES:
        return False
    archives = _ARCHIVES.get(source)
    return archives is None or archives.search(text) is None
