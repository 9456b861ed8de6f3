"""Masks the secrets of an MCP server in its output. Entry points: `Masker`, `find_secrets`.

A secret is masked as it is and in the forms that programs write: escaped for JSON, Python or HTML,
encoded for URLs, in base64 (also within a longer text) and in hex. Printed output is masked more
strictly than tool results: pieces of a secret are masked too, and a whole line if the secret is too
short to be told apart from other text.
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
HIDDEN_LINE = "(a line that contains a secret)"
SHORT = 4
"""A secret with fewer characters is masked only where it is a whole word."""
PIECE = 10
"""In printed output, any piece of a secret with this many characters is masked."""
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
    """Masks the values of secrets in the output of a server."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if secret.strip()}
        forms = {form for secret in known for form in _list_forms(secret)}
        self._list_forms = sorted(forms, key=len, reverse=True)
        short = {
            word for s in known if len(s.strip()) < SHORT for word in _list_short_forms(s.strip())
        }
        words = "|".join(map(re.escape, sorted(short, key=len, reverse=True)))
        self._list_short_forms = (
            re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if short else None
        )

    @cached_property
    def _pieces(self) -> frozenset[str]:
        """The pieces of all secrets. Computed when a server first prints, because a long secret has
        many."""
        lowered = [_lower_ascii(form) for form in self._list_forms if len(form) > PIECE]
        return frozenset(
            form[at : at + PIECE] for form in lowered for at in range(len(form) - PIECE + 1)
        )

    @cached_property
    def _edges(self) -> tuple[frozenset[str], frozenset[str]]:
        """The beginnings and the ends of secrets that are shorter than a piece."""
        sizes = [
            (_lower_ascii(f), n) for f in self._list_forms for n in range(SHORT, min(PIECE, len(f)))
        ]
        return frozenset(f[:n] for f, n in sizes), frozenset(f[-n:] for f, n in sizes)

    def text(self, text: str) -> str:
        """Replace each secret in the text by `***`."""
        for form in self._list_forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text if self._list_short_forms is None else self._list_short_forms.sub(HIDDEN, text)

    def value(self, value: Any) -> Any:
        """Mask every text in a JSON value."""
        if not self._list_forms and self._list_short_forms is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(name): self.value(item) for name, item in value.items()}
        return value

    def mask_printed(self, text: str) -> str:
        """Mask a server's printed output, including pieces of secrets."""
        return "\n".join(self._mask_line(line) for line in text.split("\n"))

    def _mask_line(self, line: str) -> str:
        if self._list_short_forms is not None and self._list_short_forms.search(line):
            return HIDDEN_LINE
        return self._mask_edges(self._mask_pieces(self.text(line)))

    def _mask_pieces(self, line: str) -> str:
        lowered = _lower_ascii(line)
        hidden = bytearray(len(line))
        for at in range(len(line) - PIECE + 1):
            if lowered[at : at + PIECE] in self._pieces:
                hidden[at : at + PIECE] = b"\1" * PIECE
        if not any(hidden):
            return line
        marked = "".join("\0" if hidden[at] else line[at] for at in range(len(line)))
        return re.sub("\0+", HIDDEN, marked)

    def _mask_edges(self, line: str) -> str:
        """Mask short pieces at both ends of a line, because long lines are cut."""
        lowered, (heads, ends) = _lower_ascii(line), self._edges
        for size in range(min(PIECE, len(line)), SHORT - 1, -1):
            if lowered[:size] in ends:
                line, lowered = HIDDEN + line[size:], HIDDEN + lowered[size:]
            if lowered[-size:] in heads:
                line, lowered = line[:-size] + HIDDEN, lowered[:-size] + HIDDEN
        return line


def find_secrets(
    values: Mapping[str, str], *, of_headers: bool, args: Sequence[str] = (), url: str | None = None
) -> frozenset[str]:
    """Find secrets that a card contains in plain text.

    They are headers, variables, arguments and query fields whose names mean secrets, and passwords
    in URLs.
    """
    found: set[str] = set()
    for name, value in values.items():
        unnamed = of_headers and len(value) >= 2 * SHORT and name.lower() not in _PLAIN_HEADERS
        if unnamed or _is_secret(name):
            found.update(find_parts(value))
        else:
            found.update(_find_passwords(value))
    for option, following in zip(args, [*args[1:], ""], strict=False):
        name, equals, value = option.partition("=")
        found.update(_find_passwords(option))
        if name.startswith("-") and _is_secret(name.lstrip("-")):
            found.update(find_parts(value if equals else following))
    for name, value in parse_qsl(urlsplit(url or "").query):
        if _is_secret(name):
            found.add(value)
    return frozenset(part for part in found if part.strip().lower() not in _NO_SECRETS)


def find_parts(secret: str) -> Iterator[str]:
    """Yield a secret and the secrets inside it: a token after its scheme, a password in a URL, a
    text in JSON."""
    yield secret
    scheme, _, token = secret.strip().partition(" ")
    if token and scheme.isalpha():
        yield token.strip()
    yield from _find_passwords(secret)
    try:
        document = json.loads(secret) if secret.lstrip().startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return
    yield from _find_texts(document)


def _find_texts(document: Any) -> Iterator[str]:
    items = document.values() if isinstance(document, dict) else document
    if not isinstance(document, dict | list):
        return
    for item in items:
        if isinstance(item, str) and len(item) >= 2 * SHORT:
            yield item
            yield from item.split(" ")[1:]
        yield from _find_texts(item)


def _find_passwords(text: str) -> Iterator[str]:
    for match in re.finditer(r"://[^\s/?#@:]{0,256}:([^\s/?#@]{1,512})@", text):
        yield match[1]
        yield unquote(match[1])


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


def _list_forms(secret: str) -> Iterator[str]:
    """Yield the secret in the forms that programs write."""
    for text in {secret, secret.strip(), *secret.splitlines()}:
        if len(text) < SHORT or len(text) > MOST_SECRET:
            continue
        yield text
        for form in {
            *_list_escaped_forms(text),
            *_list_encoded_forms(text.encode("utf-8", "replace")),
        }:
            if len(form) >= SHORT:
                yield form


def _list_short_forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode("utf-8", "replace")).decode()


def _list_escaped_forms(text: str) -> Iterator[str]:
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


def _list_encoded_forms(data: bytes) -> Iterator[str]:
    yield data.hex()
    yield data.hex().upper()
    for alphabet in (None, b"-_"):
        yield base64.b64encode(data, alphabet).decode()
        yield base64.b64encode(data, alphabet).decode().rstrip("=")
        for before in range(3):
            text = base64.b64encode(bytes(before) + data, alphabet).decode()
            cut = (0, -3, -2)[(before + len(data)) % 3]
            yield text[(0, 2, 3)[before] : cut or None]


def _lower_ascii(text: str) -> str:
    """Lower ASCII letters only, which keeps the length."""
    return text.translate(_LOWER)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
