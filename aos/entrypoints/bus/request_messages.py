"""Reads the run and the body of a message on `aos-requests`. Entry points: `parse_object`,
`find_asked_run`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aos.domain.json_writer import known_json
from aos.domain.runs.run import run_id_for
from aos.entrypoints.bus.messages import Unreadable
from aos.entrypoints.bus.senders import read_sender, read_sender_or_default
from aos.entrypoints.ids import parse_run_id
from aos.errors import Refused
from aos.ports.bus import ReceivedMessage

LARGEST_LENIENT_AT_ONCE = 32 * 1024
ASKS = "run.request"
"""The type of a request for a run, and of a request without a type."""

_QUOTED = (
    "the body is a text in quotes, not a JSON object; send the object itself. The JavaScript SDK"
    " writes body as JSON: give it { agent_id: ..., message: ... }, not JSON.stringify(...)"
)


def find_asked_run(message: ReceivedMessage) -> str | None:
    """Return the run that a request for a run has, or would have; None for other messages."""
    try:
        body = parse_object(message.body)
        sender = read_sender(message)
    except (Unreadable, Refused):
        return None
    if body.get("type", ASKS) != ASKS:
        return None
    return run_id_for(scope=sender.scope, key=message.key)


def find_answered_run(message: ReceivedMessage, body: dict[str, Any]) -> str:
    """Return the run that a refusal names: the one that a cancellation or decision was about, or
    the one that the request would have had."""
    scope = read_sender_or_default(message).scope
    return _read_run(body) or run_id_for(scope=scope, key=message.key)


class RequestSenders:
    """Who sent a message on `aos-requests`, and which run it is about. Implements `Senders`."""

    def find_run_id(self, message: ReceivedMessage) -> str | None:
        """Return the run that a message is about, or would start; None if it cannot be read."""
        try:
            return find_answered_run(message, parse_object(message.body))
        except Unreadable:
            return None

    def read_owner(self, message: ReceivedMessage) -> str:
        """Return the owner that the message acts for."""
        return read_sender_or_default(message).owner


def _read_run(body: dict[str, Any]) -> str | None:
    named = body.get("run_id")
    about = ("run.cancel", "approval.decide", "question.answer")
    if body.get("type") not in about or not isinstance(named, str):
        return None
    return parse_run_id(named)


async def parse_leniently(body: bytes) -> dict[str, Any]:
    """Parse the body's JSON object; parse a large body in a thread, so that the event loop can go
    on."""
    if len(body) <= LARGEST_LENIENT_AT_ONCE:
        return parse_object(body)
    return await asyncio.to_thread(parse_object, body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse the body's JSON object leniently, to answer what can be answered. Raises
    Unreadable."""
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body is not JSON in UTF-8: {error}") from error
    if isinstance(value, str):
        raise Unreadable(_QUOTED)
    if not isinstance(value, dict):
        raise Unreadable('the body is not a JSON object; send one, such as {"agent_id": "ceo"}')
    return {name: item for name, item in value.items() if _is_encodable(item)}


def _is_encodable(value: Any) -> bool:
    """Whether this can be sent back as JSON in UTF-8."""
    try:
        return bool(known_json(value) == value)
    except RecursionError:
        return False
