"""Which frames agree on a security mechanism before the connection opens?

AMQP 1.0, part 5. They travel in frames of type `frames.SASL_FRAME`, after `SASL_HEADER`.
"""

from __future__ import annotations

from typing import NamedTuple

from devhost.amqp.composites import define
from devhost.amqp.types import Value

OK = 0
"""The outcome's code for success."""
AUTHENTICATION_FAILED = 1
"""The outcome's code for wrong credentials."""


class SaslMechanisms(NamedTuple):
    """What the server offers."""

    mechanisms: Value


class SaslInit(NamedTuple):
    """What the client chose."""

    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


class SaslChallenge(NamedTuple):
    """The server asks."""

    challenge: bytes


class SaslResponse(NamedTuple):
    """The client answers."""

    response: bytes


class SaslOutcome(NamedTuple):
    """How it ended: `code` 0 is success."""

    code: int
    additional_data: bytes | None = None


define(0x40, "amqp:sasl-mechanisms:list", SaslMechanisms, "symbols!")
define(0x41, "amqp:sasl-init:list", SaslInit, "symbol! binary string")
define(0x42, "amqp:sasl-challenge:list", SaslChallenge, "binary!")
define(0x43, "amqp:sasl-response:list", SaslResponse, "binary!")
define(0x44, "amqp:sasl-outcome:list", SaslOutcome, "ubyte! binary")
