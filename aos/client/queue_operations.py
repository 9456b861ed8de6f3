"""Says how a client asks by the queue and finds its reply. Entry point: `QueueOperations`.

The correlation id identifies the reply. In a shared reply queue the client looks for it without
locks (peek), so that it does not delay other readers, and takes it once it is there. The flows do
no I/O: `QueueClient` and `AsyncQueueClient` perform their effects.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.flows import Flow, Json, Operation, Pause
from aos.domain.envelope import RESPONSES_QUEUE
from aos.domain.json_writer import write_json

REPLY_SECONDS = 120.0
FIRST_NUMBER = 1
LOOK_EVERY_SECONDS = 0.2
PAGE = 100
TAKE_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An effect: send a message to the queue of the requests."""

    body: str
    message_id: str
    correlation_id: str
    reply_to: str | None
    reply_to_session_id: str | None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True)
class Peek:
    """An effect: answer the next replies from this sequence number on, without a lock."""

    start: int


@dataclass(frozen=True, slots=True)
class Take:
    """An effect: lock replies, and answer them."""


@dataclass(frozen=True, slots=True)
class Complete:
    """An effect: remove a locked reply."""

    message: Any


@dataclass(frozen=True, slots=True)
class Abandon:
    """An effect: give a locked reply back."""

    message: Any


@dataclass(frozen=True, slots=True)
class Alone:
    """An effect: carry a flow out while no other flow of the client receives."""

    flow: Flow[None]


class QueueOperations:
    """Asking by the queue."""

    def __init__(self, *, replies: str, session_id: str | None) -> None:
        self._replies = replies
        self._session_id = session_id
        self._awaited: dict[str, Json | None] = {}
        """The replies that this client awaits, by correlation id; None: not taken yet."""

    @Operation
    def ask(
        self,
        agent_id: str,
        message: str | list[Json],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        on_behalf_of: str | None = None,
        timeout_seconds: float = REPLY_SECONDS,
    ) -> Flow[Json]:
        """Ask an agent and wait for the reply: the run object, with `type` and `version`.

        `key` is the message id, for example a business key; the default is a new one.
        `on_behalf_of` is the owner that the request acts for, if the operator lists it in
        `AOS_QUEUE_MAY_ACT_FOR`. Raises AosClientError if the request was refused, and
        AosUnreachable if no reply came in time (the run continues).
        """
        request = self._make_request(
            agent_id, message, conversation_id, metadata, key, on_behalf_of
        )
        end = time.monotonic() + timeout_seconds
        start = FIRST_NUMBER if self._session_id else (yield from _find_first_number(end))
        self._awaited[request.correlation_id] = None
        try:
            yield request
            reply = yield from self._await_reply(request.correlation_id, start, end)
        finally:
            del self._awaited[request.correlation_id]
        if reply is None:
            raise AosUnreachable(
                f"no reply came on {self._replies!r} within {timeout_seconds:g} s; does AOS run?"
            )
        if reply.get("type") == "run.refused":
            raise AosClientError(reply.get("error") or {})
        return reply

    @Operation
    def send(
        self,
        agent_id: str,
        message: str | list[Json],
        *,
        conversation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        key: str | None = None,
        on_behalf_of: str | None = None,
    ) -> Flow[str]:
        """Ask an agent without waiting for the reply; return the correlation id."""
        request = self._make_request(
            agent_id, message, conversation_id, metadata, key, on_behalf_of
        )
        yield request
        return request.correlation_id

    def _make_request(
        self,
        agent_id: str,
        message: str | list[Json],
        conversation_id: str | None,
        metadata: Mapping[str, Any] | None,
        key: str | None,
        on_behalf_of: str | None,
    ) -> Request:
        body = {
            "version": 1,
            "agent_id": agent_id,
            "message": message,
            "conversation_id": conversation_id,
            "metadata": dict(metadata or {}),
        }
        correlation_id = str(uuid.uuid4())
        addressed = self._session_id is not None or self._replies != RESPONSES_QUEUE
        return Request(
            body=write_json(body),
            message_id=key or correlation_id,
            correlation_id=correlation_id,
            reply_to=self._replies if addressed else None,
            reply_to_session_id=self._session_id,
            on_behalf_of=on_behalf_of,
        )

    def _await_reply(self, correlation_id: str, start: int, end: float) -> Flow[Json | None]:
        """Wait for the reply until `end` and take it off the queue; return None if it has not
        come."""
        while time.monotonic() < end:
            if self._session_id is not None:
                yield Alone(self._take(correlation_id, rounds=1))
            else:
                found, start = yield from _peek(correlation_id, start)
                if found is not None:
                    yield Alone(self._take(correlation_id, rounds=TAKE_ROUNDS))
                    return found
            if (taken := self._awaited[correlation_id]) is not None:
                return taken
            yield Pause(LOOK_EVERY_SECONDS)
        return None

    def _take(self, correlation_id: str, *, rounds: int) -> Flow[None]:
        """Complete the reply, unless another reader took it or it is too far behind.

        Replies to other asks of this client are completed and kept for them. Those to other clients
        are locked until then and given back, so each is delivered only once more.
        """
        others = []
        for _ in range(rounds):
            if self._awaited[correlation_id] is not None:
                break
            found = yield Take()
            for message in found:
                if message.correlation_id in self._awaited:
                    self._awaited[message.correlation_id] = _read(message)
                    yield Complete(message)
                else:
                    others.append(message)
            if not found:
                break
        for message in others:
            yield Abandon(message)


def _find_first_number(end: float) -> Flow[int]:
    """Return the first sequence number that the reply can have; present messages are not it."""
    start = FIRST_NUMBER
    while (found := (yield Peek(start))) and time.monotonic() < end:
        start = _read_number(found[-1]) + 1
    return start


def _peek(correlation_id: str, start: int) -> Flow[tuple[Json | None, int]]:
    """Look for the reply without taking it; return it, and where to look next."""
    for message in (yield Peek(start)):
        start = _read_number(message) + 1
        if message.correlation_id == correlation_id:
            return _read(message), start
    return None, start


def _read_number(message: Any) -> int:
    return message.sequence_number or 0


def _read(message: Any) -> Json:
    body = message.body
    reply = json.loads(body if isinstance(body, bytes) else b"".join(body))
    return reply if isinstance(reply, dict) else {}
