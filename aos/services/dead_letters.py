"""Lists, replays and purges dead letters, and announces new ones. Entry points:
`DeadLetters.list_page`, `DeadLetters.replay`, `DeadLetters.watch`.

A replay sends first and removes then: a crash between the two leaves the dead letter, and its next
replay sends the same message id again, or finds the same new run. So no message is lost, and no
replay has a second effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from aos.domain.codec import encode
from aos.domain.dead_letters import (
    ADDED,
    ADVICE,
    ENTITIES,
    DeadLetter,
    Failure,
    explain,
    find_entity,
    read_work,
)
from aos.domain.envelope import REQUESTS_QUEUE, SYSTEM_EVENTS, Event
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import Refused, TransientError
from aos.ports.bus import POSTPONED_FROM, Bus, ReceivedMessage
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import DeadLetterQueues, DeadMessage, FailureStore
from aos.ports.paging import Page
from aos.ports.requests import RequestStore
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.forgotten_letters import ForgottenLetters

WATCH_EVERY = timedelta(seconds=15)
"""The shortest time between two looks at the dead-letter queues."""
WATCHED_AT_ONCE = 50
ORPHAN_AGE = timedelta(hours=1)
"""The age at which a row whose dead letter does not exist is deleted. A message whose last
delivery goes on is not a dead letter yet."""

Repeat = Callable[[AdmittedRequest, Run, str], Awaitable[str]]
"""Asks an ended run again under a key; returns the id of the new run."""


class QueueRequests(Protocol):
    """What is known of requests on `aos-requests`."""

    def find_run_id(self, message: ReceivedMessage) -> str | None:
        """Return the run that a request for a run has, or would have; None for other messages."""
        ...

    async def refuse(self, message: ReceivedMessage, failure: Failure) -> None:
        """Answer a request that was given up with `run.refused`, if an answer is owed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay did: sent a message again, or asked an ended run again."""

    entity: str
    sequence_number: int
    message_id: str | None = None
    run_id: str | None = None


class DeadLetters:
    """Main's use case: what lies in the dead-letter queues."""

    def __init__(
        self,
        *,
        queues: DeadLetterQueues,
        failures: FailureStore,
        requests: RequestStore,
        conversations: ConversationStore,
        queue_requests: QueueRequests,
        forgotten: ForgottenLetters,
        repeat: Repeat,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._queues = queues
        self._failures = failures
        self._requests = requests
        self._conversations = conversations
        self._queue_requests = queue_requests
        self._forgotten = forgotten
        self._repeat = repeat
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry
        self._cursors = dict.fromkeys(ENTITIES, 0)
        self._cleaned_at: dict[str, datetime] = {}
        self._watched_at: datetime | None = None

    async def list_page(
        self, *, entity: str | None, after: str | None, limit: int
    ) -> Page[DeadLetter]:
        """List the dead letters of an entity or of all, by entity and sequence number.

        A page may be shorter than `limit`. Raises Refused `entity_not_found`.
        """
        names: tuple[str, ...] = ENTITIES if entity is None else (_require_entity(entity),)
        name, start = _read_token(after, names)
        names = names[names.index(name) :]
        firsts = await asyncio.gather(
            *(self._queues.peek(n, start=start if n == name else 0, limit=limit) for n in names)
        )
        items: list[DeadLetter] = []
        for name, first in zip(names, firsts, strict=True):
            found = first
            while found:
                taken = found[: limit - len(items)]
                items += await self._describe(name, taken)
                start = taken[-1].message.sequence_number + 1
                if len(items) >= limit:
                    return Page(items=items, next=f"{name}|{start}")
                found = await self._queues.peek(name, start=start, limit=limit - len(items))
        return Page(items=items)

    async def replay(self, entity: str, sequence_number: int) -> Replay:
        """Send the message again, or ask its run again if that has ended; remove the dead letter.

        Raises Refused: `entity_not_found`, `dead_letter_not_found`, and what an admission raises.
        """
        dead = await self._find(entity, sequence_number)
        name = dead.message.entity
        replay = Replay(entity=name, sequence_number=sequence_number)
        ended = await self._find_ended(dead.message)
        if ended is None:
            replay = replace(replay, message_id=_make_message_id(dead.message))
            assert replay.message_id is not None
            await self._queues.resend(dead, message_id=replay.message_id)
        else:
            key = f"dead-letter:{name}:{sequence_number}"
            replay = replace(replay, run_id=await self._repeat(*ended, key))
        await self._remove(name, sequence_number)
        self._telemetry.log(
            "dead_letter_replayed",
            entity=name,
            sequence_number=sequence_number,
            message_id=replay.message_id,
            run_id=replay.run_id,
        )
        return replay

    async def purge(self, entity: str, sequence_number: int) -> None:
        """Delete one dead letter. Raises Refused as `replay` does."""
        dead = await self._find(entity, sequence_number)
        await self._remove(dead.message.entity, sequence_number)
        self._telemetry.log(
            "dead_letter_purged", entity=dead.message.entity, sequence_number=sequence_number
        )

    async def watch(self) -> None:
        """Announce dead letters that are new: at most one page of each entity at a time.

        The next call goes on behind that page, and begins again at the end. An entity that cannot
        be read does not stop the others.
        """
        now = self._clock.now()
        if self._watched_at is not None and now - self._watched_at < WATCH_EVERY:
            return
        self._watched_at = now
        for entity in ENTITIES:
            try:
                await self._watch(entity, now)
            except TransientError as error:
                self._telemetry.log(
                    "dead_letters_unseen", level="warning", entity=entity, reason=str(error)
                )

    async def _watch(self, entity: str, now: datetime) -> None:
        start = self._cursors[entity]
        found = await self._queues.peek(entity, start=start, limit=WATCHED_AT_ONCE)
        self._cursors[entity] = found[-1].message.sequence_number + 1 if found else 0
        if not found and now - self._cleaned_at.setdefault(entity, now) < ORPHAN_AGE:
            return
        last = found[-1].message.sequence_number if found else None
        known = await self._failures.list(entity, first=start, last=last)
        failures = {row.sequence_number: row for row in known}
        for dead in found:
            failure = failures.pop(dead.message.sequence_number, None)
            if failure is not None and failure.announced:
                continue
            if not (
                await self._forgotten.is_forgotten(dead) and await self._forgotten.remove(dead)
            ):
                await self._announce(dead, failure or await self._explain(dead))
        for orphan in failures.values():
            if now - orphan.failed_at >= ORPHAN_AGE:
                await self._failures.drop(entity, orphan.sequence_number)
        if not found:
            self._cleaned_at[entity] = now

    async def _announce(self, dead: DeadMessage, failure: Failure) -> None:
        """Publish the event, answer a request that is owed an answer, then write the row."""
        failure = replace(failure, run_id=failure.run_id or await self._find_run_id(dead.message))
        row = _make_row(dead, failure)
        self._telemetry.log(
            "dead_letter_added",
            level="warning",
            entity=row.entity,
            sequence_number=row.sequence_number,
            message_id=row.message_id,
            run_id=row.run_id,
            reason=row.reason,
        )
        if dead.subject != ADDED:  # an event about the event would be next
            await self._bus.publish(_make_event(row, at=failure.failed_at))
        if row.entity == REQUESTS_QUEUE and failure.run_id is None:
            await self._queue_requests.refuse(dead.message, failure)
        await self._failures.put(replace(failure, announced=True))

    async def _describe(self, entity: str, found: Sequence[DeadMessage]) -> list[DeadLetter]:
        first, last = (found[place].message.sequence_number for place in (0, -1))
        rows = await self._failures.list(entity, first=first, last=last)
        failures = {row.sequence_number: row for row in rows}
        return [
            _make_row(dead, failures.get(dead.message.sequence_number) or await self._explain(dead))
            for dead in found
        ]

    async def _explain(self, dead: DeadMessage) -> Failure:
        message = dead.message
        body: bytes | None = None
        if POSTPONED_FROM not in message.properties:  # events in any form continue on `aos-main`
            with contextlib.suppress(TransientError):
                body = await self._bus.read_whole_body(message)
        reason, error = explain(message.entity, body, dead.broker_reason)
        return Failure(
            entity=message.entity,
            sequence_number=message.sequence_number,
            reason=reason,
            error=error,
            failed_at=self._clock.now(),
        )

    async def _find(self, entity: str, sequence_number: int) -> DeadMessage:
        name = _require_entity(entity)
        found = await self._queues.peek(name, start=sequence_number, limit=1)
        if not found or found[0].message.sequence_number != sequence_number:
            raise Refused(
                "dead_letter_not_found",
                f"{name!r} has no dead letter {sequence_number}; see GET /api/dead-letters",
            )
        return found[0]

    async def _find_ended(self, message: ReceivedMessage) -> tuple[AdmittedRequest, Run] | None:
        """Return the run that the message is for, if it has ended."""
        if message.entity == REQUESTS_QUEUE:
            run_id = self._queue_requests.find_run_id(message)
        else:
            body = await self._bus.read_whole_body(message)
            command = read_work(message.entity, body)
            run_id = None if command is None else command.run_id
        stored = None if run_id is None else await self._requests.find(run_id)
        if stored is None:
            return None
        request = stored.request
        run = await self._conversations.find_run(request.conversation_id, request.run_id)
        return (request, run) if run is not None and run.status.has_ended else None

    async def _find_run_id(self, message: ReceivedMessage) -> str | None:
        """Return the run that a message is about, if it was admitted."""
        if message.entity != REQUESTS_QUEUE:
            return _read_run_id(message)
        run_id = self._queue_requests.find_run_id(message)
        if run_id is None or await self._requests.find(run_id) is None:
            return None
        return run_id

    async def _remove(self, entity: str, sequence_number: int) -> None:
        if not await self._queues.remove(entity, sequence_number):
            raise TransientError(
                f"the dead letter {sequence_number} of {entity!r} could not be removed: it is"
                " locked, or lies behind too many others; try again in a minute, or purge others"
            )
        await self._failures.drop(entity, sequence_number)


def _require_entity(name: str) -> str:
    entity = find_entity(name)
    if entity is None:
        raise Refused(
            "entity_not_found", f"there is no entity {name[:80]!r}; write one of {_NAMES}"
        )
    return entity


_NAMES = ", ".join(ENTITIES)


def _read_token(after: str | None, names: Sequence[str]) -> tuple[str, int]:
    """Return where a page begins."""
    if after is None:
        return names[0], 0
    name, _, number = after.partition("|")
    if name not in names or not (number.isascii() and number.isdigit()):
        raise Refused("invalid_request", "after belongs to another list; leave it out")
    return name, int(number)


def _make_message_id(message: ReceivedMessage) -> str:
    """Return the id that every replay of this dead letter has."""
    name = f"{message.entity}:{message.sequence_number}:{message.message_id}"
    return f"replay:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _make_row(dead: DeadMessage, failure: Failure) -> DeadLetter:
    message = dead.message
    return DeadLetter(
        entity=message.entity,
        sequence_number=message.sequence_number,
        message_id=message.message_id,
        run_id=failure.run_id or _read_run_id(message),
        enqueued_at=dead.enqueued_at,
        delivery_count=message.delivery_count,
        reason=failure.reason,
        error=failure.error,
        advice=ADVICE[failure.reason],
    )


def _read_run_id(message: ReceivedMessage) -> str | None:
    """Return the run that AOS itself named in a property of its message."""
    run_id = message.properties.get("run_id")
    trusted = message.entity != REQUESTS_QUEUE
    return run_id if trusted and isinstance(run_id, str) else None


def _make_event(row: DeadLetter, *, at: datetime) -> Event:
    return Event(
        topic=SYSTEM_EVENTS,
        id=f"dead-letter:{row.entity}:{row.sequence_number}",
        type=ADDED,
        source=f"aos/dead-letters/{row.entity}",
        time=at,
        data=encode(row),
    )
