"""Checks and numbers the messages that come in. Entry points: `Intake.check`, `Intake.stamp`.

Queues and topics share these rules: sessions, duplicates, time to live, schedule, numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.message import Content, Message, State
from devhost.servicebus.entities.records import CounterMoved, IdSeen, Journal
from devhost.servicebus.errors import ARGUMENT_ERROR, NOT_ALLOWED, BusError

MAX_TIME_TO_LIVE_MS = 100 * 365 * 86_400_000
MAX_ID = 128
"""Characters of an id, in UTF-16 as .NET counts them."""
MAX_PROPERTY_BYTES = 64 * 1024
MAX_SEEN_IDS = 500_000
"""How many message ids one entity remembers; the oldest are dropped first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeRules:
    """The rules of an entity that takes messages. Times in milliseconds; None: no limit, or off."""

    requires_session: bool = False
    time_to_live_ms: int | None = None
    duplicate_window_ms: int | None = None


class Intake:
    """Gives numbers and times to messages."""

    def __init__(self, path: str, rules: IntakeRules, *, journal: Journal, agenda: Agenda) -> None:
        self.path = path
        self.rules = rules
        self.last_sequence = 0
        self._journal = journal
        self._agenda = agenda
        self._seen: dict[str, int] = {}

    def check(self, content: Content) -> None:
        """Raise BusError if the entity does not accept the message."""
        check_limits(content)
        session_id = content.properties.group_id
        if self.rules.requires_session and not isinstance(session_id, str):
            raise BusError(
                NOT_ALLOWED, f"The entity {self.path!r} requires a session id on each message."
            )

    def is_duplicate(self, content: Content) -> bool:
        """Whether the message's id came within the window; if not, it is remembered."""
        window_ms = self.rules.duplicate_window_ms
        if window_ms is None:
            return False
        now_ms = self._agenda.now_ms()
        self._drop_old_ids(now_ms)
        message_id = str(content.properties.message_id)
        if message_id in self._seen:
            return True
        self._seen[message_id] = now_ms + window_ms
        self._journal.write(IdSeen(self.path, message_id, now_ms + window_ms))
        return False

    def forget(self, contents: Iterable[Content]) -> None:
        """Forget the ids of messages that could not be stored."""
        for content in contents:
            self._seen.pop(str(content.properties.message_id), None)

    def remember(self, message_id: str, until_ms: int) -> None:
        """Remember an id from before the restart."""
        self._seen[message_id] = until_ms

    def stamp(
        self, content: Content, *, origin: int | None = None, expires_ms: int | None = None
    ) -> Message:
        """Make the message that enters: active, or scheduled if its time is in the future.

        `origin` and `expires_ms`: its number and its expiry in the topic that it comes from.
        """
        now_ms = self._agenda.now_ms()
        self.last_sequence += 1
        self._journal.write(CounterMoved(self.path, self.last_sequence))
        due_ms = content.scheduled_ms
        if origin is None and due_ms is not None and due_ms > now_ms:
            return Message(
                content=content,
                sequence=self.last_sequence,
                enqueued_ms=now_ms,
                due_ms=due_ms,
                state=State.SCHEDULED,
            )
        return Message(
            content=content,
            sequence=self.last_sequence,
            enqueued_ms=now_ms,
            expires_ms=_choose_earlier(expires_ms, self._compute_expiry(content, now_ms)),
            origin_sequence=origin,
        )

    def activate(self, message: Message) -> Message:
        """Make the active message of a scheduled one: a new number, enqueued now."""
        now_ms = self._agenda.now_ms()
        self.last_sequence += 1
        self._journal.write(CounterMoved(self.path, self.last_sequence))
        return Message(
            content=message.content,
            sequence=self.last_sequence,
            enqueued_ms=now_ms,
            expires_ms=self._compute_expiry(message.content, now_ms),
        )

    def _compute_expiry(self, content: Content, now_ms: int) -> int | None:
        limits = [ms for ms in (content.ttl_ms, self.rules.time_to_live_ms) if ms is not None]
        return now_ms + min(*limits, MAX_TIME_TO_LIVE_MS) if limits else None

    def _drop_old_ids(self, now_ms: int) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now_ms and len(self._seen) < MAX_SEEN_IDS:
                return
            del self._seen[oldest]


def check_limits(content: Content) -> None:
    """Raise BusError if no entity accepts the message's properties."""
    given = content.properties
    ids = {
        "message id": given.message_id,
        "session id": given.group_id,
        "correlation id": given.correlation_id,
        "reply-to session id": given.reply_to_group_id,
    }
    for name, value in ids.items():
        if isinstance(value, str) and len(value.encode("utf-16-le")) // 2 > MAX_ID:
            text = f"The {name} has {len(value)} characters, the limit is {MAX_ID}."
            raise BusError(ARGUMENT_ERROR, text)
    size = len(content.properties_section) + len(content.application_section)
    if size > MAX_PROPERTY_BYTES:
        text = f"The properties have {size} bytes, the limit is {MAX_PROPERTY_BYTES}."
        raise BusError(ARGUMENT_ERROR, text)


def _choose_earlier(one: int | None, other: int | None) -> int | None:
    return min((ms for ms in (one, other) if ms is not None), default=None)
