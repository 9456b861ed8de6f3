"""Answers the node `$management` of an entity. Entry point: `Management.answer`.

`operations` has the operations. A BusError becomes an answer with a status and a condition.
"""

from __future__ import annotations

from typing import Any

from devhost.amqp.errors import DecodeError
from devhost.amqp.types import Int, Symbol
from devhost.servicebus.broker import Broker
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.errors import (
    ARGUMENT_ERROR,
    ENTITY_ALREADY_EXISTS,
    INTERNAL_ERROR,
    MESSAGE_LOCK_LOST,
    MESSAGE_NOT_FOUND,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    SESSION_CANNOT_BE_LOCKED,
    SESSION_LOCK_LOST,
    UNAUTHORIZED,
    BusError,
)
from devhost.servicebus.grants import Grants
from devhost.servicebus.operations import OPERATIONS, Call
from devhost.servicebus.requests import Answer, Request

PREFIX = "com.microsoft:"
_STATUS = {
    MESSAGE_NOT_FOUND: 404,
    NOT_FOUND: 404,
    MESSAGE_LOCK_LOST: 410,
    SESSION_LOCK_LOST: 410,
    SESSION_CANNOT_BE_LOCKED: 410,
    UNAUTHORIZED: 401,
    ENTITY_ALREADY_EXISTS: 409,
    NOT_IMPLEMENTED: 501,
    INTERNAL_ERROR: 500,
}


class Management:
    """The `$management` node of one entity."""

    def __init__(self, broker: Broker, grants: Grants, place: Place, path: str) -> None:
        self._broker = broker
        self._grants = grants
        self._place = place
        self._path = path

    def answer(self, request: Request) -> Answer:
        """See Node."""
        name = str(request.properties.get("operation", "")).removeprefix(PREFIX)
        link_name = request.properties.get("associated-link-name")
        body = request.body if isinstance(request.body, dict) else {}
        call = Call(self._broker, self._place, body, link_name if link_name else None)
        try:
            if name not in OPERATIONS:
                raise BusError(NOT_IMPLEMENTED, f"The operation {name!r} is not supported.")
            right, operation = OPERATIONS[name]
            self._grants.check(self._path, right)
            return self._make_status(*operation(call))
        except BusError as refusal:
            return self._make_refusal(refusal)
        except DecodeError as error:
            return self._make_refusal(BusError(ARGUMENT_ERROR, f"The request is wrong: {error}."))

    def not_stored(self) -> Answer:
        """See Node."""
        return self._make_refusal(BusError(INTERNAL_ERROR, "The change could not be stored."))

    def _make_refusal(self, refusal: BusError) -> Answer:
        error = self._broker.error(refusal)
        answer = self._make_status(_STATUS.get(refusal.condition, 400), None)
        properties = {
            **answer.properties,
            "statusDescription": error.description,
            "errorCondition": Symbol(refusal.condition),
        }
        return Answer(properties)

    def _make_status(self, code: int, body: Any) -> Answer:
        description = {200: "OK", 204: "No content"}.get(code, "")
        return Answer(
            {
                "statusCode": Int(code),
                "statusDescription": description,
                "com.microsoft:tracking-id": self._broker.next_tracking_id(),
            },
            body,
        )
