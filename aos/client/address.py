"""Where is AOS, and with which key does a client knock?"""

from __future__ import annotations

import os
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
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{self.url!r} is no address of AOS; write one like {DEFAULT_URL}"
                f" (--url or {URL_SETTING})"
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
    return Address(url=found.removesuffix("/api"), key=key or environ.get(KEY_SETTING) or None)
