"""Writes what the model says in a watched turn as provisional events, while it says it. Entry
point: `TurnStreams.open`.

Each ask of the model is an attempt; readers drop the text of the attempts before it. The first
attempt of a turn is announced in the transaction that saves the turn's begin, and the last text is
saved with the turn's outcome. In between, the first text is written at once, later text in batches,
one after the other; the time that a write takes is a part of the time between two batches. A write
that fails never fails the run: the message itself comes with `message.completed`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from aos.domain.envelope import RemoveDeltas
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run_events import QUEUED_ID, EventId, EventRow, RunEvent, RunEventType
from aos.domain.runs.watching import BATCH_SECONDS, count_batch_seconds
from aos.errors import AosError, StaleWrite
from aos.ports.model import ModelAnswer
from aos.ports.run_events import RunEventStore
from aos.ports.system import Clock

MAX_TURN_BYTES = 256 * 1024
"""Text that one turn streams; the rest comes with the whole message."""
SOON_SECONDS = 0.02
"""A batch that is due so soon is written at once, without the text that is still to come."""
MOST_ATTEMPTS = 999
MOST_PARTS = 99_999
WRITE_TRIES = 2
FINISH_SECONDS = 2.0
"""How long a turn waits for its last provisional events."""
ROWS_REMOVED = 100


@dataclass(slots=True)
class _Attempt:
    """One ask of the model. `sent` is the text that was taken from the model, `text` the part of it
    that is not written yet."""

    number: int
    model: str | None
    reason: str | None = None
    parts: int = 0
    is_announced: bool = False
    sent: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    is_broken: bool = False

    @property
    def can_tell(self) -> bool:
        """Whether its next event may be written."""
        return not self.is_broken and self.parts < MOST_PARTS

    def describe(self) -> dict[str, object]:
        """The data of its announcement."""
        told = {"model": self.model, "reason": self.reason}
        return {"attempt": self.number, **{name: it for name, it in told.items() if it is not None}}


class TurnStream:
    """The provisional events of one watched turn. Implements `TextSink`."""

    def __init__(
        self,
        *,
        store: RunEventStore,
        clock: Clock,
        conversation: Conversation,
        attempts: int,
        first: EventRow | None = None,
    ) -> None:
        """`attempts`: how often this turn was asked before, by handlers that did not save. `first`
        is the attempt that is announced already."""
        active = conversation.require_active()
        self._store = store
        self._clock = clock
        self._conversation_id = conversation.conversation_id
        self._run_id = active.request.run_id
        self._saved = max(active.last_event_id, QUEUED_ID)
        self._turn = active.turns + 1
        self._attempts = attempts
        self._first = first
        self._attempt: _Attempt | None = None
        self._bytes = 0
        self._is_cut = self._tells_cut = False
        self._due = clock.monotonic()
        self._woken = asyncio.Event()
        self._hurried = asyncio.Event()
        self._closing = asyncio.Event()
        self._pump = asyncio.create_task(self._write_all())

    def begin(self, model: str | None, *, reason: str | None = None) -> None:
        """Announce that a model is asked, and why again. Text that was not written is dropped."""
        if self._attempts >= MOST_ATTEMPTS:
            self._attempt = None
            return
        first, self._first = self._first, None
        self._attempts += 1
        attempt = self._attempt = _Attempt(number=self._attempts, model=model, reason=reason)
        if first is not None and first.events[0].data == attempt.describe():
            attempt.parts, attempt.is_announced = 1, True
        elif first is not None:  # another model is asked than was announced
            attempt.number = self._attempts = self._attempts + 1
        self._woken.set()

    def add(self, text: str) -> float:
        """Take text of the model; return the seconds until the batch is written to which text of
        the next moments belongs."""
        attempt = self._attempt
        if attempt is None or not text or self._is_cut:
            return BATCH_SECONDS
        text = text.encode("utf-8", "replace").decode()
        self._bytes += len(text.encode())
        if self._bytes > MAX_TURN_BYTES:
            self._is_cut = self._tells_cut = True
        else:
            attempt.sent.append(text)
            attempt.text.append(text)
        self._woken.set()
        left = self._due - self._clock.monotonic()
        if left > SOON_SECONDS:
            return left
        self._hurried.set()  # one wake-up for the text that has come now and its batch
        return max(left, 0.0) + count_batch_seconds(attempt.parts + 1)

    async def finish(self, answer: ModelAnswer | None) -> EventRow | None:
        """Stop writing; return the rest of the text, which is saved with the turn's outcome.

        With it the deltas of the last attempt are the answer's text.
        """
        if answer is not None:
            self._complete(answer)
        for event in (self._closing, self._hurried, self._woken):
            event.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await asyncio.shield(self._pump)
        return self._take_rest() if self._pump.done() else None

    async def close(self) -> None:
        """Stop writing."""
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump

    def _complete(self, answer: ModelAnswer) -> None:
        """Add the text that the endpoint did not stream; begin again if it streamed another."""
        attempt = self._attempt
        if attempt is None or self._is_cut:
            return
        sent = "".join(attempt.sent)
        if not answer.text.startswith(sent):
            self.begin(answer.model)
            sent = ""
        self.add(answer.text[len(sent) :])

    def _take_rest(self) -> EventRow | None:
        """The text that is not written yet; None if there is none, or a gap before it."""
        attempt = self._attempt
        if attempt is None or not attempt.can_tell or not attempt.is_announced:
            return None
        data = self._take_text(attempt)
        return None if data is None else self._make_row(attempt, "message.delta", data)

    async def _write_all(self) -> None:
        """Write events until the turn is finished and nothing is left."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while await self._write_next():
                pass
            if self._closing.is_set() and not self._woken.is_set():
                return

    async def _write_next(self) -> bool:
        """Write one row if there is something to tell; False when there is nothing."""
        attempt = self._attempt
        if attempt is None or not attempt.can_tell:
            return False
        if not attempt.is_announced:
            attempt.is_announced = True
            await self._announce(attempt)
            return True
        if self._closing.is_set() or not (attempt.text or self._tells_cut):
            return False
        now = self._clock.monotonic()
        if self._due - now > SOON_SECONDS:
            await self._pause(self._due - now, until=self._hurried)
            self._hurried.clear()
            return True  # with the text that came meanwhile, or that of another attempt
        data = self._take_text(attempt)
        if data is None:
            return False
        self._due = max(self._due, now) + count_batch_seconds(attempt.parts + 1)
        await self._write(attempt, "message.delta", data)
        return True

    def _take_text(self, attempt: _Attempt) -> dict[str, object] | None:
        """The text that is not written yet, as a delta's data; None if there is nothing to tell."""
        text, cut = "".join(attempt.text), self._tells_cut
        attempt.text.clear()
        self._tells_cut = False
        return {"text": text, **({"cut": True} if cut else {})} if text or cut else None

    async def _announce(self, attempt: _Attempt) -> None:
        """Begin the attempt under a number that is its own: another handler may be at this turn,
        whose lock ours has lost or that has lost its own."""
        while self._attempt is attempt and attempt.number <= MOST_ATTEMPTS:
            try:
                await self._write(attempt, "attempt.started", attempt.describe())
            except StaleWrite:
                attempt.parts = 0
                attempt.number = self._attempts = self._attempts + 1
            else:
                return
        attempt.is_broken = True

    async def _write(self, attempt: _Attempt, kind: RunEventType, data: dict[str, object]) -> None:
        """Write one event. After a failure it is tried again, and then the attempt tells no more: a
        gap would look like the whole text."""
        row = self._make_row(attempt, kind, data)
        for _ in range(WRITE_TRIES):
            try:
                await self._store.add(self._conversation_id, row, new=attempt.parts == 1)
            except StaleWrite:
                raise
            except AosError:
                await self._pause(BATCH_SECONDS, until=self._closing)
            else:
                return
        attempt.is_broken = True

    def _make_row(self, attempt: _Attempt, kind: RunEventType, data: dict[str, object]) -> EventRow:
        """The next event of an attempt."""
        attempt.parts += 1
        event = RunEvent(
            id=str(EventId(self._saved, attempt.number, attempt.parts)),
            type=kind,
            time=self._clock.now(),
            turn=self._turn,
            data=data,
        )
        return EventRow(run_id=self._run_id, events=(event,))

    async def _pause(self, seconds: float, *, until: asyncio.Event) -> None:
        """Wait, but not when the turn is finished."""
        if until.is_set() or self._closing.is_set():
            return
        slept = asyncio.ensure_future(self._clock.sleep(seconds))
        told = asyncio.ensure_future(until.wait())
        try:
            await asyncio.wait({slept, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            slept.cancel()
            told.cancel()


class TurnStreams:
    """Opens the streams of watched turns, and removes what they wrote."""

    def __init__(self, *, store: RunEventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def announce(self, conversation: Conversation, model: str | None) -> EventRow:
        """The announcement of the next turn's first attempt, to be saved with the run's last event:
        then nobody can have asked before."""
        active = conversation.require_active()
        event = RunEvent(
            id=str(EventId(max(active.last_event_id, QUEUED_ID), 1, 1)),
            type="attempt.started",
            time=self._clock.now(),
            turn=active.turns + 1,
            data=_Attempt(number=1, model=model).describe(),
        )
        return EventRow(run_id=active.request.run_id, events=(event,))

    @contextlib.asynccontextmanager
    async def open(
        self,
        conversation: Conversation,
        *,
        watched: bool,
        is_new: bool = False,
        first: EventRow | None = None,
    ) -> AsyncGenerator[TurnStream | None, None]:
        """The stream of the active run's next turn; None if nobody watches it, or if storage does
        not say how often the turn was asked before.

        `is_new`: the run's last event was saved by this handler, so nobody asked before. `first` is
        the announcement that was saved with it.
        """
        if not watched:
            yield None
            return
        attempts = 0 if is_new else await self._count_attempts(conversation)
        if attempts is None:
            yield None
            return
        stream = TurnStream(
            store=self._store,
            clock=self._clock,
            conversation=conversation,
            attempts=attempts,
            first=first,
        )
        try:
            yield stream
        finally:
            await stream.close()

    async def remove(self, conversation: Conversation, command: RemoveDeltas) -> None:
        """Remove the provisional events of a run that has ended. Raises TransientError."""
        if conversation.has_run(command.run_id):  # the command is forged
            return
        removed = ROWS_REMOVED
        while removed == ROWS_REMOVED:
            removed = await self._store.remove_provisional(
                conversation.conversation_id, command.run_id, limit=ROWS_REMOVED
            )

    async def _count_attempts(self, conversation: Conversation) -> int | None:
        active = conversation.require_active()
        saved, attempts = max(active.last_event_id, QUEUED_ID), 0
        while attempts < MOST_ATTEMPTS:
            after = EventId(saved, attempts, MOST_PARTS if attempts else 0)
            try:
                rows = await self._store.read(
                    conversation.conversation_id, active.request.run_id, after=after, limit=1
                )
            except AosError:
                return None
            found = rows[0].last_id if rows else None
            if found is None or found.saved != saved:
                return attempts
            attempts = found.attempt
        return attempts
