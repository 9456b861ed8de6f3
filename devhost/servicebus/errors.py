"""Defines AMQP's error conditions and the errors of the Service Bus. Entry point: `BusError`."""

from __future__ import annotations

from devhost.amqp.errors import NOT_ALLOWED as NOT_ALLOWED

NOT_FOUND = "amqp:not-found"
NOT_IMPLEMENTED = "amqp:not-implemented"
UNAUTHORIZED = "amqp:unauthorized-access"
INTERNAL_ERROR = "amqp:internal-error"
DECODE_ERROR = "amqp:decode-error"
MESSAGE_SIZE_EXCEEDED = "amqp:link:message-size-exceeded"
MESSAGE_LOCK_LOST = "com.microsoft:message-lock-lost"
SESSION_LOCK_LOST = "com.microsoft:session-lock-lost"
SESSION_CANNOT_BE_LOCKED = "com.microsoft:session-cannot-be-locked"
MESSAGE_NOT_FOUND = "com.microsoft:message-not-found"
ARGUMENT_ERROR = "com.microsoft:argument-error"
ENTITY_ALREADY_EXISTS = "com.microsoft:entity-already-exists"
TIMEOUT = "com.microsoft:timeout"


class BusError(Exception):
    """A refusal that the client reads; `condition` is one of the names above."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(description)
        self.condition = condition
        self.description = description


class TokenError(Exception):
    """A key or a token is not accepted; the message says why."""


class ActionError(Exception):
    """A rule's action cannot be applied to a message; the message says why."""


class ConfigError(Exception):
    """Config.json cannot be used; the message is one line that says where and why."""


class StoreError(Exception):
    """The database cannot be opened, read or written."""
