"""How does main tell the world that a run has ended, once?

The parent of a delegated run is told first. The reply goes out unless `seen:<run_id>` stands; then
that row and the usage are written together, the run is entered in the lists (its admission may have
died before), the event is published (at least once, with one id), and the pending row goes last. So
a reply goes out again only if its request comes again, or if main died between sending and
recording it: with the same id and the same bytes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from aos.domain.codec import encode
from aos.domain.envelope import (
    AGENT_EVENTS,
    RESPONSES_QUEUE,
    VERSION,
    Event,
    Reply,
    RunEnded,
    ToolResult,
    to_realm,
)
from aos.domain.json_writer import write_json
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run, RunStatus
from aos.domain.tools.tool import shown
from aos.errors import ErrorInfo, StaleWrite, TransientError
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.index import IndexedRun, RunIndex
from aos.ports.ledger import Ledger
from aos.ports.requests import PendingStore
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry

RECORD_TRIES = 8
MAX_RUN_BYTES = 200 * 1024
"""A larger run object goes out without its output, and says where that is."""
RUN_FIELDS = [field.name for field in dataclasses.fields(Run)]


class Replies:
    """Main's use case: deliver the ends of runs, and answer what is refused on the queue."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        index: RunIndex,
        pending: PendingStore,
        bus: Bus,
        clock: Clock,
        telemetry: Telemetry,
        public_url: str = "",
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._pending = pending
        self._bus = bus
        self._clock = clock
        self._telemetry = telemetry
        self._public_url = public_url

    async def deliver(self, ended: RunEnded) -> None:
        """Deliver a run's end; safe to repeat. Raises TransientError when something is away."""
        run = ended.run
        await self._tell_once(ended)
        await self._index.add(IndexedRun.of(run, owner=ended.owner))
        await self._bus.publish(self._event(ended))
        await self._pending.drop(run.run_id)

    async def answer_again(self, request: AdmittedRequest, run: Run) -> None:
        """The same request came again after the end: the same reply, once more."""
        if request.reply is not None:
            ended = RunEnded.of(request, run)
            await self._bus.reply(self._reply(ended, request.reply))

    async def refuse(
        self,
        message: ReceivedMessage,
        error: ErrorInfo,
        *,
        run_id: str,
        body: dict[str, Any],
        entity: str = RESPONSES_QUEUE,
    ) -> None:
        """Answer a queue message that was turned down: `run.refused`, what exists not null.

        `body` is the message as it was parsed (its ids and metadata are echoed), `entity` where
        the answer goes.
        """
        shown = {name: _text_or_none(body.get(name)) for name in ("agent_id", "conversation_id")}
        metadata = body.get("metadata")
        fields = {
            "run_id": run_id,
            "status": "refused",
            "error": encode(error),
            "metadata": metadata if isinstance(metadata, dict) else None,
            **shown,
        }
        await self._bus.reply(
            Reply(
                entity=entity,
                message_id=f"{run_id}:refused:{message.sequence_number}",
                correlation_id=message.correlation_id or message.message_id,
                session_id=message.reply_to_session_id or shown["conversation_id"] or run_id,
                body={
                    "version": VERSION,
                    "type": "run.refused",
                    **{name: fields.get(name) for name in RUN_FIELDS},
                },
                traceparent=message.traceparent,
            )
        )

    def _reply(self, ended: RunEnded, address: ReplyAddress) -> Reply:
        run = ended.run
        return Reply(
            entity=address.entity,
            message_id=f"{run.run_id}:reply",
            correlation_id=address.correlation_id,
            session_id=address.session_id or run.conversation_id,
            body={
                "version": VERSION,
                "type": f"run.{run.status.value}",
                **self._shown(ended),
            },
            traceparent=ended.traceparent,
        )

    def _event(self, ended: RunEnded) -> Event:
        run = ended.run
        assert run.ended_at is not None
        return Event(
            topic=AGENT_EVENTS,
            id=f"{run.run_id}:{run.status.value}",
            type=f"run.{run.status.value}",
            source=f"aos/agents/{run.agent_id}",
            time=run.ended_at,
            data=self._shown(ended),
            traceparent=ended.traceparent,
        )

    def _shown(self, ended: RunEnded) -> dict[str, Any]:
        """The run object; where it is too large for the bus without output, saying where it is."""
        run = encode(ended.run)
        if len(write_json(run)) <= MAX_RUN_BYTES:
            return run
        url = f"{self._public_url}/api/runs/{ended.run.run_id}"
        return {**run, "output": None, "output_parts": None, "details": {"url": url}}

    async def _tell_once(self, ended: RunEnded) -> None:
        """Tell who asked, and count, unless that is recorded; a record that raced is looked at
        again.

        The look comes first: while storage is away nothing is sent, however often this is tried.
        """
        told = False
        for _ in range(RECORD_TRIES):
            entry = await self._ledger.look(ended.run)
            if entry.seen:
                return
            if not told:
                await self._tell(ended)
                told = True
            try:
                await self._ledger.record(ended.run, entry)
            except StaleWrite:
                continue
            self._report(ended)
            return
        raise TransientError(f"the usage row of agent {ended.run.agent_id!r} is contended")

    async def _tell(self, ended: RunEnded) -> None:
        """The parent of a delegated run, and who wanted a reply."""
        if ended.parent is not None:
            await self._bus.send(to_realm(_result(ended, ended.parent)))
        if ended.reply is not None:
            await self._bus.reply(self._reply(ended, ended.reply))

    def _report(self, ended: RunEnded) -> None:
        run = ended.run
        self._telemetry.custom_event(
            "AgentOperation",
            agentId=run.agent_id,
            operation=f"run.{run.status.value}",
            run_id=run.run_id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            error_code=None if run.error is None else run.error.code,
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
        )


def _result(ended: RunEnded, parent: ParentRun) -> ToolResult:
    """The end of a delegated run as the result of its parent's tool call."""
    run = ended.run
    done = run.status is RunStatus.COMPLETED
    why = "" if run.error is None else f": {run.error.message}"
    said = run.output if done else f"the run of agent {run.agent_id!r} ended {run.status}{why}"
    return ToolResult(
        run_id=parent.run_id,
        conversation_id=parent.conversation_id,
        tool_call_id=parent.tool_call_id,
        outcome="ok" if done else "error",
        content=shown(said),
        tokens=run.usage.input_tokens + run.usage.output_tokens,
        traceparent=ended.traceparent,
    )


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
