"""Checks the function keys of requests. Entry point: `Keys.allow`."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from pathlib import Path

from devhost.functions.errors import HostError

MASTER = "admin"


class Keys:
    """Function keys by name. The key named `admin` is the master key.

    A function of level FUNCTION accepts any of them, one of level ADMIN only the master key.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys)

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read `{"default": key, "second": key, "admin": key}` from a file. Raises HostError."""
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise HostError(f"the key file {path} cannot be read: {error}") from error
        if not isinstance(document, dict) or not all(
            isinstance(value, str) and value for value in document.values()
        ):
            raise HostError(f"the key file {path} must map names to keys, none of them empty")
        return cls(document)

    def allow(self, level: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether the key in `x-functions-key`, or else in `?code=`, is enough for the level."""
        if level == "ANONYMOUS":
            return True
        text = headers.get("x-functions-key") or query.get("code") or ""
        given = text.encode("utf-8", "backslashreplace")  # bytes that are not UTF-8 match no key
        fitting = (
            key for name, key in self._keys.items() if level != "ADMIN" or name.lower() == MASTER
        )
        return any([hmac.compare_digest(given, key.encode()) for key in fitting])
