"""Reads the address and the key that a client uses. Entry point: `find_address`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aos.errors import ConfigurationError

DEFAULT_URL = "http://127.0.0.1:7071"
URL_SETTING = "AOS_URL"
KEY_SETTING = "AOS_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The main app's base URL (without `/api`), and a function key or None if keys are off."""

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ConfigurationError(
                f"{_hide(self.url)!r} is not an address of AOS; write one like {DEFAULT_URL},"
                f" without a name, a query or blanks (--url or {URL_SETTING})"
            )
        if self.key and not re.fullmatch("[!-~]+", self.key):
            raise ConfigurationError(
                "the key has blanks, line ends or non-ASCII characters; no function key has any"
                f" (--key or {KEY_SETTING})"
            )


def find_address(
    *, url: str | None = None, key: str | None = None, environ: Mapping[str, str] | None = None
) -> Address:
    """Return the given values, else `AOS_URL` and `AOS_KEY` of the environment, else the laptop's.

    These two settings belong to the caller, on any machine; `aos.settings` reads those of the apps.
    Raises ConfigurationError.
    """
    environ = os.environ if environ is None else environ
    found = (url or environ.get(URL_SETTING) or DEFAULT_URL).strip().rstrip("/")
    # a key read from a file may end with a line end
    given = (key or environ.get(KEY_SETTING) or "").strip()
    return Address(url=found.removesuffix("/api"), key=given or None)


def _hide(url: str) -> str:
    """Leave out what may be a secret: what stands before an @, and after a question mark."""
    before = re.sub("//[^/]*@", "//…@", url)
    return before.partition("?")[0]


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
        has_more = "@" in parts.netloc or "?" in url or "#" in url
        is_plain = re.fullmatch("[!-~]+", url) is not None
        return parts.scheme in ("http", "https") and has_host and is_plain and not has_more
    except ValueError:
        return False
