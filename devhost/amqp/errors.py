"""Defines the errors of this package. Entry point: `AmqpError`."""

from __future__ import annotations

NOT_ALLOWED = "amqp:not-allowed"
CONNECTION_FORCED = "amqp:connection:forced"
FRAMING_ERROR = "amqp:connection:framing-error"


class AmqpError(Exception):
    """The base of all errors that this package raises."""


class DecodeError(AmqpError):
    """The peer sent bytes that are not AMQP 1.0, or that exceed a bound."""


class EncodeError(AmqpError):
    """A value of ours cannot be encoded: AMQP has no such type, or the number is out of range."""
