"""Declares what a session calls on its links. Entry points: `Link`, `LinkRefused`."""

from __future__ import annotations

from typing import Any

from devhost.amqp import performatives as p
from devhost.amqp.errors import AmqpError


class LinkRefused(AmqpError):
    """The peer's Attach is refused; `error` is what the peer reads."""

    def __init__(self, error: p.Error) -> None:
        super().__init__(error.description)
        self.error = error


class Link:
    """One end of a link. Subclasses override what concerns them; the rest does nothing."""

    def __init__(self, name: str, handle: int = -1) -> None:
        self.name = name
        self.handle = handle
        """What our frames carry. A link that the peer opened has the peer's handle."""
        self.is_ours = False
        """We opened it."""
        self.is_detaching = False
        """We asked the peer to end it."""

    def on_attach(self, attach: p.Attach) -> None:
        """The peer answers our Attach."""

    def on_flow(self, flow: p.Flow) -> None:
        """The peer sends credit, a drain, or a question for our state."""

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """The peer sends a delivery or a part of one."""

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """The peer settles a delivery; `delivery` is the object that was sent with it."""

    def on_ended(self, error: p.Error | None) -> None:
        """The link, its session or its connection has ended."""
