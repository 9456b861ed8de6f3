"""What can be wrong with bytes, or with a value that is to become bytes?"""

from __future__ import annotations


class AmqpError(Exception):
    """The base of what this package raises."""


class DecodeError(AmqpError):
    """The peer sent bytes that are not AMQP 1.0, or that are beyond a bound."""


class EncodeError(AmqpError):
    """A value of ours has no AMQP form: a type without one, or a number out of range."""
