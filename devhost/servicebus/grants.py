"""Keeps what one connection may do, by the tokens it has put. Entry point: `Grants.check`."""

from __future__ import annotations

from collections.abc import Callable

from devhost.servicebus.errors import UNAUTHORIZED, BusError
from devhost.servicebus.policies import Grant, Right

MAX_GRANTS = 1_000
"""Addresses for which one connection may hold a token."""


class Grants:
    """The grants of one connection, the last one for each address."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._by_path: dict[str, Grant] = {}

    def __len__(self) -> int:
        return len(self._by_path)

    def put(self, grant: Grant) -> None:
        """Take a grant instead of an earlier one for the same address. Raises BusError."""
        if grant.path not in self._by_path and len(self._by_path) >= MAX_GRANTS:
            raise BusError(UNAUTHORIZED, f"A connection holds at most {MAX_GRANTS} tokens.")
        self._by_path[grant.path] = grant

    def check(self, path: str, *rights: Right) -> None:
        """Raise BusError unless one of the rights is granted on the path, and still is."""
        allowing = [each for each in self._by_path.values() if each.allows(path, rights)]
        now_ms = self._now_ms()
        if any(each.until_ms is None or each.until_ms > now_ms for each in allowing):
            return
        claims = " or ".join(f"'{right}'" for right in rights)
        reason = "ExpiredToken: The token is expired. " if allowing else "Unauthorized access. "
        raise BusError(
            UNAUTHORIZED,
            f"{reason}{claims} claim(s) are required to perform this operation. "
            f"Resource: 'sb://local/{path}'.",
        )
