"""Keeps what one connection may do, by the tokens it has put. Entry point: `Grants.check`."""

from __future__ import annotations

from typing import TypeAlias
from weakref import WeakKeyDictionary

from devhost.amqp.receiver import Receiver
from devhost.amqp.sender import Sender
from devhost.servicebus.broker import Broker
from devhost.servicebus.errors import UNAUTHORIZED, BusError
from devhost.servicebus.policies import Grant, Right

MAX_GRANTS = 1_000
"""Addresses for which one connection may hold a token."""

GrantedLink: TypeAlias = Receiver | Sender


class Grants:
    """The grants of one connection, the last one for each address."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._by_path: dict[str, Grant] = {}
        self._needs: WeakKeyDictionary[GrantedLink, tuple[str, tuple[Right, ...]]] = (
            WeakKeyDictionary()
        )

    def __len__(self) -> int:
        return len(self._by_path)

    def put(self, grant: Grant) -> None:
        """Replace the grant for an address. When it ends, the links that need it end too.

        Raises BusError when the connection has too many.
        """
        if grant.path not in self._by_path and len(self._by_path) >= MAX_GRANTS:
            raise BusError(UNAUTHORIZED, f"A connection holds at most {MAX_GRANTS} tokens.")
        self._by_path[grant.path] = grant
        if grant.until_ms is not None:
            self._broker.agenda.at(grant.until_ms, self._end_refused_links)

    def check(self, path: str, *rights: Right) -> None:
        """Raise BusError unless one of the rights is granted on the path and not expired."""
        allowing = [each for each in self._by_path.values() if each.allows(path, rights)]
        now_ms = self._broker.agenda.now_ms()
        if any(each.until_ms is None or each.until_ms > now_ms for each in allowing):
            return
        claims = " or ".join(f"'{right}'" for right in rights)
        reason = "ExpiredToken: The token is expired. " if allowing else "Unauthorized access. "
        raise BusError(
            UNAUTHORIZED,
            f"{reason}{claims} claim(s) are required to perform this operation. "
            f"Resource: 'sb://local/{path}'.",
        )

    def watch(self, link: GrantedLink, path: str, *rights: Right) -> None:
        """End the link when none of the rights is granted any more."""
        self._needs[link] = (path, rights)

    def _end_refused_links(self) -> None:
        for link, (path, rights) in list(self._needs.items()):
            if not link.session.has_link(link):
                continue
            try:
                self.check(path, *rights)
            except BusError as refusal:
                link.on_ended(None)
                link.session.close_link(link, self._broker.error(refusal))
