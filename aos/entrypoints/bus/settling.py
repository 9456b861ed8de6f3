"""Settles messages: completes, reschedules or abandons them. Entry point: `Settling.handle`.

The host completes a message when the function returns and abandons it when the function raises.
Transient faults are retried here for up to a minute, with full jitter; after that, a scheduled copy
is sent and the original is completed, until the message expires. A lost session and an error in a
handler raise. Each delivery waits a little longer than the one before, so that ten deliveries do
not pass within a moment. A raised error has the note `logged: <event>`, so that a host that reads
notes does not log it again. The last delivery writes down why the message is given up.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import azure.functions as func

from aos.domain.dead_letters import Failure, Reason
from aos.domain.envelope import EnvelopeError, GivenUp
from aos.domain.retries import GIVE_UP_AT_DELIVERY, MAX_DELIVERY_COUNT, retry_pause
from aos.entrypoints.bus.messages import Unreadable, read_message
from aos.entrypoints.draining import Drain, HandedBack
from aos.errors import AosError, ErrorInfo, SessionLost, TransientError
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.dead_letters import FailureStore
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Span, Telemetry

PATIENCE_SECONDS = 60.0
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 10.0
POSTPONE_TRIES = 4
LONGEST_BREATH_SECONDS = 5.0
MAX_TEXT = 1000
LAST_TRY = timedelta(seconds=5)
"""The time before a message's expiry at which its last copy comes."""

Work: TypeAlias = Callable[[ReceivedMessage, Span], Awaitable[None]]
"""Handles a message and adds attributes to the span of its delivery."""
_Bound: TypeAlias = Callable[[ReceivedMessage], Awaitable[None]]
GiveUp: TypeAlias = Callable[[ReceivedMessage, Exception], Awaitable[None]]
Later: TypeAlias = Callable[[ReceivedMessage, TransientError], Awaitable[None]]


class Settling:
    """Runs the handlers of one app and settles their messages."""

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        ready: Callable[[], Awaitable[None]],
        drain: Drain,
        grace_seconds: float,
        failures: FailureStore | None = None,
    ) -> None:
        """`grace_seconds`: what a handler still gets when its process is told to stop. `failures`
        None: the app may not write why it gives a message up."""
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._ready = ready
        self._drain = drain
        self._grace_seconds = grace_seconds
        self._failures = failures

    async def handle(
        self,
        message: func.ServiceBusMessage,
        work: Work,
        *,
        entity: str,
        operation: str = "",
        give_up: GiveUp | None = None,
        later: Later | None = None,
    ) -> None:
        """Handle one delivery. Returning completes the message, raising abandons it.

        `operation` names the span (default: `process <entity>`). `give_up` ends, from the sixth
        delivery on, what the handler cannot. `later` runs instead of sending a scheduled copy,
        which cannot be sent to a subscription.
        """
        got = read_message(message, entity=entity).with_lag(self._clock.now())
        with self._span(got, operation or f"process {entity}") as span:
            inner = replace(got, traceparent=span.traceparent)
            try:
                async with self._drain.bound(grace_seconds=self._grace_seconds):
                    await self._settle(inner, lambda again: work(again, span), give_up, later)
            except HandedBack as error:
                self._log("message_handed_back", inner, error)
                raise

    def _span(self, message: ReceivedMessage, name: str) -> AbstractContextManager[Span]:
        return self._telemetry.span(
            name,
            kind="consumer",
            traceparent=message.traceparent,
            **{
                "entry": "servicebus",
                "messaging.system": "servicebus",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.entity,
                # Azure Monitor's exporter drops the conventions' names. It reads the older name of
                # the queue for the column `source`; the other two become customDimensions.
                "messaging.destination": message.entity,
                "message_id": message.message_id,
                "delivery_count": message.delivery_count,
            },
        )

    async def _settle(
        self,
        got: ReceivedMessage,
        work: _Bound,
        give_up: GiveUp | None,
        later: Later | None,
    ) -> None:
        """Do the work. If it cannot be done now, use `give_up` or `later`."""
        await self._ready()
        try:
            await self._work_with_retries(got, work)
        except (EnvelopeError, Unreadable) as error:
            self._log("message_unreadable", got, error)
            await self._record_last(got, "unreadable", error)
            raise
        except GivenUp as error:
            error.add_note("logged: notification_failed")
            await self._record_last(got, "given_up", error)
            raise
        except SessionLost as error:
            self._log("session_lost", got, error)
            raise
        except TransientError as error:
            await self._leave_for_later(got, error, give_up, later)
        except Exception as error:
            self._log("message_broken", got, error, trace=True)
            if give_up is None or got.delivery_count < GIVE_UP_AT_DELIVERY:
                await self._record_last(got, "handler_failed", error)
                await self._wait_before_redelivery(got)
                raise
            await give_up(got, error)

    async def _leave_for_later(
        self,
        got: ReceivedMessage,
        cause: TransientError,
        give_up: GiveUp | None,
        later: Later | None,
    ) -> None:
        """Send a scheduled copy. A message that is full has no room for a copy's properties: it
        comes again at once, and `give_up` ends it."""
        try:
            await (later or self._postpone)(got, cause)
        except TransientError as error:
            await self._record_last(got, "dependency_away", error)
            raise
        except AosError as error:
            self._log("message_not_postponed", got, error)
            if give_up is None or got.delivery_count < GIVE_UP_AT_DELIVERY:
                raise
            await give_up(got, error)

    async def _work_with_retries(self, message: ReceivedMessage, work: _Bound) -> None:
        """Do the work; retry it for up to a minute while a dependency is away."""
        ends = self._clock.monotonic() + PATIENCE_SECONDS
        failures = 0
        while True:
            try:
                await work(message)
                return
            except TransientError as error:
                ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures)
                delay = max(self._ids.jitter() * ceiling, error.retry_after_seconds or 0.0)
                if self._clock.monotonic() + delay > ends:
                    raise
            failures += 1
            await self._clock.sleep(delay)

    async def postpone(self, message: ReceivedMessage, cause: TransientError) -> None:
        """Send a scheduled copy to the message's `entity`; raises `cause` if it cannot be sent.

        For a `later` whose copy continues on another queue.
        """
        await self._postpone(message, cause)

    async def _postpone(self, message: ReceivedMessage, cause: TransientError) -> None:
        """Send a scheduled copy that comes before the message expires.

        Raises `cause` if the copy cannot be sent, or if there is no time left for one: the broker
        then moves the message to the dead letters.
        """
        pause = retry_pause(message.attempt)
        for tried in range(POSTPONE_TRIES):
            at = self._clock.now() + message.lag + pause
            if message.expires_at is not None:
                last = message.expires_at - LAST_TRY
                if last <= self._clock.now():
                    self._log("message_expired", message, cause)
                    raise cause
                at = min(at, last)
            try:
                await self._bus.postpone(message, at=at, attempt=message.attempt + 1)
            except TransientError:
                await self._clock.sleep(self._ids.jitter() + tried * LONGEST_BREATH_SECONDS)
                continue
            self._log("message_postponed", message, cause)
            return
        self._log("message_not_postponed", message, cause)
        raise cause

    async def _record_last(
        self, message: ReceivedMessage, reason: Reason, error: Exception
    ) -> None:
        """Write down why a message is given up, if this delivery is its last."""
        now, expires_at = self._clock.now(), message.expires_at
        is_last = message.delivery_count >= MAX_DELIVERY_COUNT or (
            expires_at is not None and expires_at - LAST_TRY <= now
        )
        if self._failures is None or not is_last:
            return
        failure = Failure(
            entity=message.entity,
            sequence_number=message.sequence_number,
            reason=reason,
            error=_describe(reason, error),
            failed_at=now,
        )
        try:
            await self._failures.put(failure)
        except AosError as lost:  # main explains the dead letter without it
            self._log("failure_not_recorded", message, lost)

    async def _wait_before_redelivery(self, message: ReceivedMessage) -> None:
        """Wait a little longer at each delivery, because an abandoned message comes again at
        once."""
        await self._clock.sleep(min(LONGEST_BREATH_SECONDS, 0.1 * 2.0 ** (message.delivery_count)))

    def _log(
        self, event: str, message: ReceivedMessage, error: Exception, *, trace: bool = False
    ) -> None:
        """Log one line and add a note to the error. Only the first delivery logs the traceback."""
        whole = trace and message.delivery_count == 1
        self._telemetry.log(
            event,
            level="error" if trace else "warning",
            entity=message.entity,
            message_id=message.message_id,
            sequence_number=message.sequence_number,
            delivery_count=message.delivery_count,
            attempt=message.attempt,
            conversation_id=message.session_id,
            reason=repr(error) if trace else str(error),
            traceback="".join(traceback.format_exception(error)) if whole else None,
        )
        error.add_note(f"logged: {event}")


def _describe(reason: Reason, error: Exception) -> ErrorInfo:
    """Return the error for the dead letter. A fault's own text may hold words of a conversation."""
    match reason:
        case "unreadable":
            return ErrorInfo(code="invalid_request", message=str(error)[:MAX_TEXT])
        case "dependency_away" | "given_up":
            return ErrorInfo(code="unavailable", message=str(error)[:MAX_TEXT])
        case _:
            return ErrorInfo(code="internal_error", message=f"{type(error).__name__} in AOS")
