"""Hides the secrets of an MCP server in what it says. Entry points: `Masker`, `secrets_in`.

A secret is masked as it is and as programs write it: escaped for JSON, Python or HTML, encoded for
URLs, in base64 (also as a part of a longer text) and in hex. What a server prints is masked more
strictly than the results of its tools: pieces of a secret too, and a whole line where a secret is
too short to be told from other text.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
HIDDEN_LINE = "(a line that holds a secret)"
SHORT = 4
"""A secret with fewer characters is masked only where it is a word of its own."""
PIECE = 10
"""Any so many characters of a secret are masked in what a server prints."""
MOST_SECRET = 64 * 1024
_SECRET_NAME = re.compile(
    r"token|secret|passw|pwd|api[-_]?key|[-_]key$|^key$|credential|auth|bearer|connection[-_]?string"
    r"|dsn|cookie|session|signature|^sig$|[-_]pat$|^pat$|headers|private",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(
    r"author|tokens$|tokeni[sz]|max[-_]token|tokens?[-_](?:limit|count|url)|keyboard"
    r"|auth[-_]?(?:type|mode|method|enabled|url|server|domain|provider|host|port)$",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"true", "false", "on", "off", "yes", "no", "none", "null"})
_PLAIN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "user-agent"}
)


class Masker:
    """Hides the values of secrets in what a server says."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if secret.strip()}
        forms = {form for secret in known for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        short = {word for s in known if len(s.strip()) < SHORT for word in _short(s.strip())}
        words = "|".join(map(re.escape, sorted(short, key=len, reverse=True)))
        self._short = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if short else None

    @cached_property
    def _pieces(self) -> frozenset[str]:
        """Made by the first server that prints: a long secret has many."""
        lowered = [_lower(form) for form in self._forms if len(form) > PIECE]
        return frozenset(
            form[at : at + PIECE] for form in lowered for at in range(len(form) - PIECE + 1)
        )

    @cached_property
    def _edges(self) -> tuple[frozenset[str], frozenset[str]]:
        """The beginnings and the ends of secrets, shorter than a piece."""
        sizes = [(_lower(f), n) for f in self._forms for n in range(SHORT, min(PIECE, len(f)))]
        return frozenset(f[:n] for f, n in sizes), frozenset(f[-n:] for f, n in sizes)

    def text(self, text: str) -> str:
        """The text with `***` in the place of each secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text if self._short is None else self._short.sub(HIDDEN, text)

    def value(self, value: Any) -> Any:
        """The same in every text of a JSON value."""
        if not self._forms and self._short is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        return value

    def printed(self, text: str) -> str:
        """What a server printed, with no piece of a secret in it."""
        return "\n".join(self._line(line) for line in text.split("\n"))

    def _line(self, line: str) -> str:
        if self._short is not None and self._short.search(line):
            return HIDDEN_LINE
        return self._without_edges(self._without_pieces(self.text(line)))

    def _without_pieces(self, line: str) -> str:
        lowered = _lower(line)
        hidden = bytearray(len(line))
        for at in range(len(line) - PIECE + 1):
            if lowered[at : at + PIECE] in self._pieces:
                hidden[at : at + PIECE] = b"\1" * PIECE
        if not any(hidden):
            return line
        marked = "".join("\0" if hidden[at] else line[at] for at in range(len(line)))
        return re.sub("\0+", HIDDEN, marked)

    def _without_edges(self, line: str) -> str:
        """Lines are cut somewhere: at their ends stand pieces that are shorter."""
        lowered, (heads, ends) = _lower(line), self._edges
        for size in range(min(PIECE, len(line)), SHORT - 1, -1):
            if lowered[:size] in ends:
                line, lowered = HIDDEN + line[size:], HIDDEN + lowered[size:]
            if lowered[-size:] in heads:
                line, lowered = line[:-size] + HIDDEN, lowered[:-size] + HIDDEN
        return line


def secrets_in(
    values: Mapping[str, str], *, of_headers: bool, args: Sequence[str] = (), url: str | None = None
) -> frozenset[str]:
    """What a card says in plain text and nobody should read: headers, variables, arguments and
    query fields whose names are those of secrets, and passwords in URLs."""
    found: set[str] = set()
    for name, value in values.items():
        unnamed = of_headers and len(value) >= 2 * SHORT and name.lower() not in _PLAIN_HEADERS
        if unnamed or _is_secret(name):
            found.update(parts_of(value))
        else:
            found.update(_passwords(value))
    for option, following in zip(args, [*args[1:], ""], strict=False):
        name, equals, value = option.partition("=")
        found.update(_passwords(option))
        if name.startswith("-") and _is_secret(name.lstrip("-")):
            found.update(parts_of(value if equals else following))
    for name, value in parse_qsl(urlsplit(url or "").query):
        if _is_secret(name):
            found.add(value)
    return frozenset(part for part in found if part.strip().lower() not in _NO_SECRETS)


def parts_of(secret: str) -> Iterator[str]:
    """A secret, and what of it is one by itself: a token behind its scheme, a password in a URL, a
    text in JSON."""
    yield secret
    scheme, _, token = secret.strip().partition(" ")
    if token and scheme.isalpha():
        yield token.strip()
    yield from _passwords(secret)
    try:
        document = json.loads(secret) if secret.lstrip().startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return
    yield from _texts(document)


def _texts(document: Any) -> Iterator[str]:
    items = document.values() if isinstance(document, dict) else document
    if not isinstance(document, dict | list):
        return
    for item in items:
        if isinstance(item, str) and len(item) >= 2 * SHORT:
            yield item
            yield from item.split(" ")[1:]
        yield from _texts(item)


def _passwords(text: str) -> Iterator[str]:
    for match in re.finditer(r"://[^\s/?#@:]{0,256}:([^\s/?#@]{1,512})@", text):
        yield match[1]
        yield unquote(match[1])


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


def _forms(secret: str) -> Iterator[str]:
    """The secret as programs write it."""
    for text in {secret, secret.strip(), *secret.splitlines()}:
        if len(text) < SHORT or len(text) > MOST_SECRET:
            continue
        yield text
        for form in {*_escaped(text), *_encoded(text.encode("utf-8", "replace"))}:
            if len(form) >= SHORT:
                yield form


def _short(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode("utf-8", "replace")).decode()


def _escaped(text: str) -> Iterator[str]:
    for escape in (encode_basestring_ascii, encode_basestring):
        once = escape(text)[1:-1]
        yield once
        yield once.replace("/", "\\/")
        yield escape(once)[1:-1]
    yield repr(text)[1:-1]
    yield text.replace("\\", "\\\\").replace("'", "\\'")
    yield html.escape(text)
    yield html.escape(text, quote=False)
    for percent in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield percent
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), percent)


def _encoded(data: bytes) -> Iterator[str]:
    yield data.hex()
    yield data.hex().upper()
    for alphabet in (None, b"-_"):
        yield base64.b64encode(data, alphabet).decode()
        yield base64.b64encode(data, alphabet).decode().rstrip("=")
        for before in range(3):
            text = base64.b64encode(bytes(before) + data, alphabet).decode()
            cut = (0, -3, -2)[(before + len(data)) % 3]
            yield text[(0, 2, 3)[before] : cut or None]


def _lower(text: str) -> str:
    """Lower case of ASCII, which changes no length."""
    return text.translate(_LOWER)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
