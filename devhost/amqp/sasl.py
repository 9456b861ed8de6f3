"""Defines the SASL frames. Entry points: `SaslInit`, `SaslOutcome`.

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
    """The server's mechanisms."""

    mechanisms: Value


class SaslInit(NamedTuple):
    """The client's choice."""

    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


class SaslChallenge(NamedTuple):
    """The server's question."""

    challenge: bytes


class SaslResponse(NamedTuple):
    """The client's answer."""

    response: bytes


class SaslOutcome(NamedTuple):
    """The result; `code` 0 is success."""

    code: int
    additional_data: bytes | None = None


define(0x40, "amqp:sasl-mechanisms:list", SaslMechanisms, "symbols!")
define(0x41, "amqp:sasl-init:list", SaslInit, "symbol! binary string")
define(0x42, "amqp:sasl-challenge:list", SaslChallenge, "binary!")
define(0x43, "amqp:sasl-response:list", SaslResponse, "binary!")
define(0x44, "amqp:sasl-outcome:list", SaslOutcome, "ubyte! binary")
