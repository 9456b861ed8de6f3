"""Runs the operations of an entity's `$management` node. Entry point: `OPERATIONS`.

Each operation is a function that takes a `Call` and returns a status and the answer's body.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from devhost.amqp.types import Array, Int, Timestamp
from devhost.servicebus.broker import Broker
from devhost.servicebus.entities import browse
from devhost.servicebus.entities.message import read_content
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.settlement import (
    DESCRIPTION,
    REASON,
    Abandoned,
    Completed,
    DeadLettered,
    Deferred,
    Outcome,
)
from devhost.servicebus.entities.topic import Subscription
from devhost.servicebus.errors import ARGUMENT_ERROR, NOT_ALLOWED, BusError
from devhost.servicebus.filters.rules import describe_rule, read_rule
from devhost.servicebus.policies import Right
from devhost.servicebus.wire import encode_seen

ALL_SESSIONS_MS = 253_402_300_800_000
"""This `last-updated-time` asks for all sessions with messages or state."""


class Call(NamedTuple):
    """One request to one entity."""

    broker: Broker
    place: Place
    body: Mapping[Any, Any]
    link_name: str | None
    """The name of the receiver that the request is about."""

    @property
    def queue(self) -> Queue:
        """The entity, which must be a queue or subscription. Raises BusError."""
        if not isinstance(self.place.entity, Queue):
            raise BusError(NOT_ALLOWED, "A topic has no messages to receive.")
        return self.place.entity

    @property
    def subscription(self) -> Subscription:
        """The entity, which must be a subscription. Raises BusError."""
        if self.place.subscription is None:
            raise BusError(NOT_ALLOWED, "Only a subscription has rules.")
        return self.place.subscription

    def get(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """Read a required field of this type. Raises BusError."""
        value = self.body.get(name)
        if not isinstance(value, kind):
            raise BusError(ARGUMENT_ERROR, f"The request lacks {name!r}, or it has another type.")
        return value

    def get_optional(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """Read an optional field. Raises BusError for one of another type."""
        return None if self.body.get(name) is None else self.get(name, kind)

    def read_tags(self) -> list[bytes]:
        """Read the lock tokens as delivery tags. Raises BusError."""
        tokens = self.get("lock-tokens", list)
        if not all(isinstance(token, uuid.UUID) for token in tokens):
            raise BusError(ARGUMENT_ERROR, "Lock tokens must be UUIDs.")
        return [token.bytes_le for token in tokens]

    def read_numbers(self) -> list[int]:
        """Read the sequence numbers. Raises BusError."""
        numbers = self.get("sequence-numbers", list)
        if not all(isinstance(number, int) for number in numbers):
            raise BusError(ARGUMENT_ERROR, "Sequence numbers must be integers.")
        return list(numbers)


Operation = Callable[[Call], tuple[int, Any]]


def _peek(call: Call) -> tuple[int, Any]:
    seen = browse.peek(
        call.place.entity,
        from_sequence=call.get("from-sequence-number", int),
        limit=call.get("message-count", int),
        session_id=call.get_optional("session-id", str),
    )
    if not seen:
        return 204, None
    return 200, {"messages": [{"message": encode_seen(*each)} for each in seen]}


def _receive_by_number(call: Call) -> tuple[int, Any]:
    received = browse.receive_deferred(
        call.queue,
        call.read_numbers(),
        delete=call.get("receiver-settle-mode", int) == 0,
        session_id=call.get_optional("session-id", str),
        receiver_name=call.link_name,
    )
    entries = []
    for message, lock in received:
        entry: dict[str, Any] = {"message": encode_seen(message, lock)}
        if lock is not None:
            entry["lock-token"] = lock.token
        entries.append(entry)
    return 200, {"messages": entries}


def _update_disposition(call: Call) -> tuple[int, Any]:
    browse.settle_by_token(call.queue, call.read_tags(), _outcome(call))
    return 200, None


def _outcome(call: Call) -> Outcome:
    properties = call.get_optional("properties-to-modify", dict) or {}
    match call.get("disposition-status", str):
        case "completed":
            return Completed()
        case "abandoned":
            return Abandoned(properties)
        case "defered":
            return Deferred(properties)
        case "suspended":
            named = {
                REASON: call.get_optional("deadletter-reason", str),
                DESCRIPTION: call.get_optional("deadletter-description", str),
            }
            reason = {key: value for key, value in named.items() if value is not None}
            return DeadLettered({**properties, **reason})
        case other:
            raise BusError(ARGUMENT_ERROR, f"The disposition {other!r} is not known.")


def _renew_locks(call: Call) -> tuple[int, Any]:
    ends = browse.renew_locks(call.queue, call.read_tags())
    return 200, {"expirations": Array(map(Timestamp, ends), of=Timestamp)}


def _renew_session_lock(call: Call) -> tuple[int, Any]:
    end_ms = call.queue.sessions.renew(call.get("session-id", str), call.link_name)
    return 200, {"expiration": Timestamp(end_ms)}


def _schedule(call: Call) -> tuple[int, Any]:
    contents = []
    for entry in call.get("messages", list):
        message = entry.get("message") if isinstance(entry, dict) else None
        if not isinstance(message, bytes):
            raise BusError(ARGUMENT_ERROR, "Each of the messages must have a binary 'message'.")
        contents.append(read_content(message))
    return 200, {"sequence-numbers": Array(call.place.entity.send(contents), of=int)}


def _cancel_scheduled(call: Call) -> tuple[int, Any]:
    call.place.entity.cancel_scheduled(call.read_numbers())
    return 200, None


def _get_session_state(call: Call) -> tuple[int, Any]:
    backlog = call.queue.sessions.find_owned(call.get("session-id", str), call.link_name)
    return 200, {"session-state": backlog.state}


def _set_session_state(call: Call) -> tuple[int, Any]:
    session_id, state = call.get("session-id", str), call.get_optional("session-state", bytes)
    call.queue.sessions.set_state(session_id, state, call.link_name)
    return 200, None


def _list_sessions(call: Call) -> tuple[int, Any]:
    updated_ms = call.get("last-updated-time", int)
    skip, top = call.get("skip", int), call.get("top", int)
    everything = updated_ms >= ALL_SESSIONS_MS
    sessions = call.queue.sessions.list_sessions(None if everything else updated_ms)
    page = sessions[max(skip, 0) :][: max(top, 0)]
    if not page:
        return 204, None
    return 200, {"skip": Int(skip + len(page)), "sessions-ids": Array(page, of=str)}


def _add_rule(call: Call) -> tuple[int, Any]:
    rule = read_rule(
        call.get("rule-name", str),
        call.get("rule-description", dict),
        created_ms=call.broker.agenda.now_ms(),
    )
    call.subscription.add_rule(rule)
    return 200, None


def _remove_rule(call: Call) -> tuple[int, Any]:
    call.subscription.remove_rule(call.get("rule-name", str))
    return 200, None


def _list_rules(call: Call) -> tuple[int, Any]:
    skip, top = call.get_optional("skip", int) or 0, call.get_optional("top", int)
    rules = list(call.subscription.rules.values())[max(skip, 0) :][:top]
    if not rules:
        return 204, None
    return 200, {"rules": [{"rule-description": describe_rule(rule)} for rule in rules]}


OPERATIONS: dict[str, tuple[Right, Operation]] = {
    "peek-message": (Right.LISTEN, _peek),
    "receive-by-sequence-number": (Right.LISTEN, _receive_by_number),
    "update-disposition": (Right.LISTEN, _update_disposition),
    "renew-lock": (Right.LISTEN, _renew_locks),
    "renew-session-lock": (Right.LISTEN, _renew_session_lock),
    "schedule-message": (Right.SEND, _schedule),
    "cancel-scheduled-message": (Right.SEND, _cancel_scheduled),
    "get-session-state": (Right.LISTEN, _get_session_state),
    "set-session-state": (Right.LISTEN, _set_session_state),
    "get-message-sessions": (Right.LISTEN, _list_sessions),
    "add-rule": (Right.LISTEN, _add_rule),
    "remove-rule": (Right.LISTEN, _remove_rule),
    "enumerate-rules": (Right.LISTEN, _list_rules),
}
"""By name; with the right that Azure asks for. Rules of a subscription need Listen only."""
