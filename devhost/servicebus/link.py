"""What does a session ask of each of its links?"""

from __future__ import annotations

from typing import Any, Protocol

from devhost.amqp import performatives as p


class Link(Protocol):
    """One end of a link; inbound, outbound, request and reply links are such."""

    def on_flow(self, flow: p.Flow) -> None:
        """The peer's credit or drain."""
        ...

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """A delivery or a piece of one."""
        ...

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """The peer settles a delivery that `Session.deliver` was given."""
        ...

    def on_detached(self) -> None:
        """The link is no more: detached, or its session or connection ended."""
        ...
