"""Defines what can go wrong between the host and a Service Bus. Entry point: `BusError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devhost.amqp.errors import CONNECTION_FORCED

if TYPE_CHECKING:
    # At load only addresses are read, and the protocol under them costs 30 ms.
    from devhost.amqp.performatives import Error


class BusError(Exception):
    """The broker refused something, or is away; `condition` is AMQP's name for the reason."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}" if description else condition)
        self.condition = condition

    @classmethod
    def of(cls, error: Error | None, otherwise: str) -> BusError:
        """Make the error from that of a frame, or from `otherwise` if the frame has none."""
        if error is None:
            return cls(CONNECTION_FORCED, otherwise)
        return cls(error.condition, error.description or "")


class ConnectionLost(BusError):
    """The connection is gone: what was under way on it will not be answered."""

    def __init__(self, reason: str) -> None:
        super().__init__("connection lost", reason)

    @classmethod
    def because(cls, error: Error | None) -> ConnectionLost:
        """Make the error from the one with which the connection ended."""
        return cls(str(BusError.of(error, "the broker ended it")))
