"""Reads single settings from the environment. Entry point: `Environment`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aos.errors import ConfigurationError


class Environment:
    """Reads one setting at a time. Raises ConfigurationError for a value that it cannot use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def optional(self, name: str) -> str | None:
        """Return the value without surrounding blanks, or None."""
        value = self._environ.get(name)
        value = value.strip() if value else None
        if value and value.startswith("@Microsoft.KeyVault("):
            raise ConfigurationError(
                f"{name} is a Key Vault reference that the platform did not resolve; give the"
                " app's identity the role Key Vault Secrets User and check the secret's name"
            )
        return value or None

    def text(self, name: str, default: str) -> str:
        """Return the value, or the default."""
        return self.optional(name) or default

    def flag(self, name: str) -> bool:
        """Return True for `true` or `1`, and False for everything else."""
        return self.text(name, "").lower() in ("true", "1")

    def list(self, name: str, default: str = "", *, separator: str = ",") -> tuple[str, ...]:
        """Return the items between the separators, without empty ones."""
        items = (item.strip() for item in self.text(name, default).split(separator))
        return tuple(item for item in items if item)

    def choice(self, name: str, words: tuple[str, ...]) -> Any:
        """Return one of `words`, ignoring case, or None if the setting is absent."""
        value = self.optional(name)
        if value is None:
            return None
        known = {word.lower(): word for word in words}
        if value.lower() not in known:
            raise ConfigurationError(
                f"{name}={value!r} is not a known value; write {_join_words(words)}"
            )
        return known[value.lower()]

    def url(self, name: str) -> str | None:
        """Return an http or https URL without the slash at its end."""
        value = self.optional(name)
        if value is not None and not re.match(r"https?://[^/\s]+", value):
            raise ConfigurationError(
                f"{name}={value!r} is not a URL; write one that begins with https://"
            )
        return value.rstrip("/") if value else None

    def count(self, name: str, default: int, *, most: int) -> int:
        """Return a whole number from 1 to `most`."""
        value = self.optional(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= most:
            raise ConfigurationError(
                f"{name}={value!r} is not valid; write a whole number from 1 to {most}"
            )
        return int(value)


def _join_words(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
