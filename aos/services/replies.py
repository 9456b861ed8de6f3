"""Delivers the ends of runs and answers refused requests. Entry point: `Replies.deliver`.

The delivery of an end has fixed steps. Unless `seen:<run_id>` exists, main answers the parent of a
delegated run, then sends the reply, then sends itself the command that tells the receiver of the
run's `notify`. Then it publishes the event (at least once, with one id) and orders the run's
transcript (where transcripts are on). Then it writes that row and the usage in one transaction. If
it sent no message, the event and that transaction are left to a batch
(`aos.services.bookkeeping`), which adds every run to the lists and removes the pending row last. If
the event cannot be published, the row of a run with a message is written all the same, and the
event is owed. If the usage cannot be written, the row is written without it, and the usage is owed.
A run without a message needs no look at the row first: the insertion of the row finds it. A reply
is sent again when its request comes again, or when main died before it wrote the row: with the same
id and the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from aos.domain.bus_limits import is_bus_id
from aos.domain.codec import encode
from aos.domain.envelope import (
    RESPONSES_QUEUE,
    VERSION,
    Event,
    Reply,
    RunEnded,
    ToolResult,
    to_main,
    to_realm,
)
from aos.domain.notify import Notify
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.events import describe_run, make_ended_event, make_notification
from aos.domain.runs.run import (
    MAX_METADATA_BYTES,
    AdmittedRequest,
    ParentRun,
    ReplyAddress,
    Run,
    RunStatus,
    measure_metadata,
)
from aos.domain.tools.tool import cut_for_model
from aos.errors import AosError, ErrorInfo
from aos.ports.bus import LARGEST_BODY_BYTES, Bus, ReceivedMessage
from aos.ports.ledger import CountedRun, Ledger
from aos.ports.requests import RequestStore
from aos.ports.system import Clock
from aos.services.bookkeeping import Bookkeeping

MAY_BE_GONE = REQUEST_RETENTION - timedelta(days=1)
"""The age at which a run's rows may be gone, by another clock than ours."""
MOST_ANSWERED = 4096
"""Runs of which a process remembers that it has sent the messages of their ends."""
MAX_REFUSAL = 2000
"""Characters of a refusal's message."""
RUN_FIELDS = [field.name for field in dataclasses.fields(Run) if not field.metadata]


class Replies:
    """Main's use case: deliver the ends of runs, and answer refused messages of the queue."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        books: Bookkeeping,
        requests: RequestStore,
        bus: Bus,
        clock: Clock,
        order_transcript: Callable[[Run], Awaitable[None]],
        has_receivers: Callable[[str], Awaitable[bool]],
        public_url: str = "",
    ) -> None:
        self._ledger = ledger
        self._books = books
        self._requests = requests
        self._bus = bus
        self._clock = clock
        self._order_transcript = order_transcript
        self._has_receivers = has_receivers
        self._public_url = public_url
        self._answered: OrderedDict[str, None] = OrderedDict()

    async def deliver(self, ended: RunEnded) -> None:
        """Deliver a run's end; may be repeated. Raises TransientError when a service is away.

        An end that comes again while its batch is gathered is done: the pending row stands. So is
        one whose rows are gone, which a replayed dead letter may bring: they go when it was
        delivered, and the record of that with them.
        """
        run = ended.run
        if self._books.is_closing(run.run_id) or await self._is_gone(run):
            return
        if not _has_messages(ended):
            await self._order_transcript(run)
            self._books.close_run(ended, is_recorded=False, event=self._make_event(ended))
            return
        # read first, so that nothing is sent while storage is away
        seen = await self._ledger.find(run)
        if seen is None:
            if run.run_id not in self._answered:
                await self._answer(ended)
            await self._tell_and_record(ended)
        else:
            await self._tell(ended)
        self._books.close_run(ended, is_recorded=seen is None or seen.counted)

    async def mend(self, ended: RunEnded) -> None:
        """Deliver an end of which a part may be missing; nothing is sent again if all was sent."""
        is_closing = self._books.is_closing(ended.run.run_id)
        seen = None if is_closing else await self._ledger.find(ended.run)
        if seen is not None and seen.told:
            self._books.close_run(ended, is_recorded=seen.counted)
        else:
            await self.deliver(ended)

    async def answer_again(self, request: AdmittedRequest, run: Run) -> None:
        """Send the same reply again, because the same request came again after the run's end."""
        if request.reply is not None:
            ended = RunEnded.of(request, run)
            await self._bus.reply(self._make_reply(ended, request.reply))

    async def refuse(
        self,
        message: ReceivedMessage,
        error: ErrorInfo,
        *,
        run_id: str,
        body: dict[str, Any],
        entity: str = RESPONSES_QUEUE,
    ) -> None:
        """Answer a refused queue message with `run.refused`; fields that it does not have are null.

        `body` is the parsed message, whose ids and metadata are returned if they are not too large.
        `entity` is where the answer goes.
        """
        ids = {name: _read_id(body.get(name)) for name in ("agent_id", "conversation_id")}
        sessions = (_read_id(message.reply_to_session_id), ids["conversation_id"])
        correlations = (_read_id(message.correlation_id), _read_id(message.message_id))
        fields = {
            "run_id": run_id,
            "status": "refused",
            "error": encode(dataclasses.replace(error, message=error.message[:MAX_REFUSAL])),
            "metadata": _read_metadata(body.get("metadata")),
            **ids,
        }
        await self._bus.reply(
            Reply(
                entity=entity,
                message_id=f"{run_id}:refused:{message.sequence_number}",
                correlation_id=next(filter(None, correlations), None),
                session_id=next(filter(None, sessions), run_id),
                body={
                    "version": VERSION,
                    "type": "run.refused",
                    **{name: fields.get(name) for name in RUN_FIELDS},
                },
                traceparent=message.traceparent,
            )
        )

    async def _tell(self, ended: RunEnded) -> None:
        """Publish the event, and order the transcript."""
        await self._bus.publish(self._make_event(ended))
        await self._order_transcript(ended.run)

    async def _tell_and_record(self, ended: RunEnded) -> None:
        """Tell of an end whose messages were sent, and record it.

        Where the event cannot be published, as on a topic that is full, the end is recorded all the
        same: else its reply would be sent again with each try, longer than the broker knows its id.
        """
        try:
            await self._tell(ended)
        except AosError:
            await self._record(ended, told=False)
            raise
        await self._record(ended, told=True)

    async def _record(self, ended: RunEnded, *, told: bool) -> None:
        """Record an end whose messages were sent. If the usage cannot be written, a row says only
        that they were; if that cannot be written either, this process remembers it."""
        run_id = ended.run.run_id
        try:
            await self._books.record(ended, told=told)
        except AosError:
            try:
                sent = CountedRun(run=ended.run, owner=ended.owner, told=told)
                await self._ledger.note_sent(sent)
            except AosError:
                self._answered[run_id] = None
                while len(self._answered) > MOST_ANSWERED:
                    self._answered.popitem(last=False)
            raise
        self._answered.pop(run_id, None)

    async def _is_gone(self, run: Run) -> bool:
        """Whether the run's time is over and its rows are removed. Looks only if it may be."""
        if self._clock.now() - run.created_at < MAY_BE_GONE:
            return False
        return await self._requests.find(run.run_id) is None

    def _make_reply(self, ended: RunEnded, address: ReplyAddress) -> Reply:
        run = ended.run
        return Reply(
            entity=address.entity,
            message_id=f"{run.run_id}:reply",
            correlation_id=address.correlation_id,
            session_id=address.session_id or run.conversation_id,
            body={
                "version": VERSION,
                "type": f"run.{run.status.value}",
                **self._describe(run),
            },
            traceparent=ended.traceparent,
        )

    def _make_event(self, ended: RunEnded) -> Event:
        data = self._describe(ended.run)
        return make_ended_event(ended.run, data=data, traceparent=ended.traceparent)

    def _describe(self, run: Run) -> dict[str, Any]:
        return describe_run(run, max_bytes=LARGEST_BODY_BYTES, public_url=self._public_url)

    async def _answer(self, ended: RunEnded) -> None:
        """Send the result to a delegated run's parent, the reply to the caller, and the command
        that tells the receiver of the run's `notify`."""
        if ended.parent is not None:
            await self._bus.send(to_realm(_make_tool_result(ended, ended.parent)))
        if ended.reply is not None:
            await self._bus.reply(self._make_reply(ended, ended.reply))
        if ended.notify is not None and await self._is_to_be_told(ended.run, ended.notify):
            await self._notify(ended)

    async def _is_to_be_told(self, run: Run, notify: Notify) -> bool:
        """Whether somebody is told of the end. A task of A2A may have no receiver."""
        return notify.has_receiver or await self._has_receivers(run.run_id)

    async def _notify(self, ended: RunEnded) -> None:
        """Leave the delivery to a message of its own, so that a slow receiver holds nothing up."""
        run = ended.run
        command = make_notification(
            make_ended_event(run, data={}, traceparent=ended.traceparent),
            ended.notify,
            run_id=run.run_id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            data=None,
        )
        if command is not None:
            await self._bus.send(to_main(command))


def _has_messages(ended: RunEnded) -> bool:
    """Whether anybody but the event's subscribers is told of the end."""
    return not (ended.parent is None and ended.reply is None and ended.notify is None)


def _make_tool_result(ended: RunEnded, parent: ParentRun) -> ToolResult:
    """The end of a delegated run as the result of its parent's tool call."""
    run = ended.run
    done = run.status is RunStatus.COMPLETED
    why = "" if run.error is None else f": {run.error.message}"
    text = run.output if done else f"the run of agent {run.agent_id!r} ended {run.status}{why}"
    return ToolResult(
        run_id=parent.run_id,
        conversation_id=parent.conversation_id,
        tool_call_id=parent.tool_call_id,
        outcome="ok" if done else "error",
        content=cut_for_model(text),
        tokens=run.tree_usage.total_tokens,
        usage=run.tree_usage,
        traceparent=ended.traceparent,
    )


def _read_id(value: object) -> str | None:
    """Return an id that a reply can carry, or None."""
    return value if isinstance(value, str) and is_bus_id(value) else None


def _read_metadata(value: object) -> dict[str, Any] | None:
    """Return the metadata that a reply can carry, or None."""
    if isinstance(value, dict) and measure_metadata(value) <= MAX_METADATA_BYTES:
        return value
    return None
