"""Who may come in?

The node `$cbs`, where clients put a token for each address. Any key is taken, as by Microsoft's
emulator, so a token's signature is not looked at; but it must be one, be valid still, and name an
entity that exists, for the SDK learns from this answer that there is none.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from devhost.amqp.types import Int
from devhost.servicebus.address import parse_address
from devhost.servicebus.broker import Broker
from devhost.servicebus.requests import Answer, Request

_SAS = "SharedAccessSignature "


class Claims:
    """Answers `put-token`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def answer(self, request: Request) -> Answer:
        """See Node."""
        if request.properties.get("operation") != "put-token":
            return _status(501, "Only put-token is supported.")
        path = parse_address(request.properties.get("name")).path
        if path and self._broker.namespace.find(path) is None:
            return _status(404, f"The messaging entity {path!r} could not be found.")
        if not self._is_valid(request.properties.get("type"), request.body):
            return _status(401, "InvalidSignature: The token is malformed or has expired.")
        return _status(202, "Accepted")

    def not_kept(self) -> Answer:
        """See Node."""
        return _status(500, "Internal error.")

    def _is_valid(self, kind: Any, token: Any) -> bool:
        if not isinstance(token, str) or not token:
            return False
        if not isinstance(kind, str) or not kind.endswith("sastoken"):
            return True
        fields = dict(parse_qsl(token.removeprefix(_SAS)))
        expiry = fields.get("se", "")
        return (
            token.startswith(_SAS)
            and all(fields.get(name) for name in ("sr", "sig", "skn"))
            and expiry.isdigit()
            and int(expiry) * 1_000 > self._broker.agenda.now_ms()
        )


def _status(code: int, description: str) -> Answer:
    return Answer({"status-code": Int(code), "status-description": description})
