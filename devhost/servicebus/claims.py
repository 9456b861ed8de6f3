"""Answers the node `$cbs`, where clients put their tokens. Entry point: `Claims.answer`.

A token is a shared access signature by a policy of Config.json. It must name an entity that
exists, because the SDK learns from this answer that an entity is missing. Some SDKs do not show
the answer's text to their callers, so that a refusal is also a line in the log of this Service
Bus.
"""

from __future__ import annotations

import sys

from devhost.amqp.types import Int
from devhost.servicebus.broker import Broker
from devhost.servicebus.errors import BusError, TokenError
from devhost.servicebus.grants import Grants
from devhost.servicebus.policies import SIGNATURE_PREFIX, Grant
from devhost.servicebus.requests import Answer, Request

KINDS = ("servicebus.windows.net:sastoken", "jwt")
"""Some SDKs announce a shared access signature as `jwt`: its text says what a token is."""
_LINE_LIMIT = 500


class Claims:
    """Answers `put-token` and grants the connection what the token allows."""

    def __init__(self, broker: Broker, grants: Grants) -> None:
        self._broker = broker
        self._grants = grants

    def answer(self, request: Request) -> Answer:
        """See Node."""
        if request.properties.get("operation") != "put-token":
            return _make_status(501, "Only put-token is supported.")
        try:
            grant = self._check(request)
            if grant.path and self._broker.namespace.find(grant.path) is None:
                return _make_refusal(
                    404, f"The messaging entity {grant.path!r} could not be found."
                )
            self._grants.put(grant)
        except TokenError as error:
            return _make_refusal(401, str(error))
        except BusError as refusal:
            return _make_refusal(403, refusal.description)
        return _make_status(202, "Accepted")

    def not_stored(self) -> Answer:
        """See Node."""
        return _make_status(500, "Internal error.")

    def _check(self, request: Request) -> Grant:
        kind, audience = request.properties.get("type"), request.properties.get("name")
        token = request.body
        if not isinstance(token, str) or not isinstance(audience, str):
            raise TokenError("MalformedToken: The token and its address, 'name', must be strings.")
        is_signature = token.startswith(SIGNATURE_PREFIX)
        if kind not in KINDS or (kind == "jwt" and not is_signature):
            raise TokenError(
                f"InvalidToken: A token of type {kind!r} cannot be checked: this Service Bus has "
                "no identity provider. Use a connection string with a key."
            )
        return self._broker.policies.check_token(
            token, audience=audience, now_ms=self._broker.agenda.now_ms()
        )


def log_refusal(code: int, description: str) -> None:
    """Log a refusal; its length is bounded, because it contains what the client wrote."""
    sys.stderr.write(f"a client is refused: {code} {description}"[:_LINE_LIMIT] + "\n")


def _make_refusal(code: int, description: str) -> Answer:
    log_refusal(code, description)
    return _make_status(code, description)


def _make_status(code: int, description: str) -> Answer:
    return Answer({"status-code": Int(code), "status-description": description})
