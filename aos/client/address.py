"""Where is AOS, and with which key does a client knock?"""

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
    """The main app's base URL (without `/api`) and a function key, or None where keys are off."""

    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ConfigurationError(
                f"{self.url!r} is no address of AOS; write one like {DEFAULT_URL}"
                f" (--url or {URL_SETTING})"
            )
        if self.key and not re.fullmatch("[!-~]+", self.key):
            raise ConfigurationError(
                "the key holds what no function key does: blanks, line ends or other than ASCII"
                f" (--key or {KEY_SETTING})"
            )


def find_address(
    *, url: str | None = None, key: str | None = None, environ: Mapping[str, str] | None = None
) -> Address:
    """What was given, else `AOS_URL` and `AOS_KEY` of the caller's environment, else the laptop.

    These two belong to whoever calls AOS, on any machine; the apps' settings are
    `aos.settings`'s. Raises ConfigurationError.
    """
    environ = os.environ if environ is None else environ
    found = (url or environ.get(URL_SETTING) or DEFAULT_URL).strip().rstrip("/")
    given = (key or environ.get(KEY_SETTING) or "").strip()  # a file's line end comes along
    return Address(url=found.removesuffix("/api"), key=given or None)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
