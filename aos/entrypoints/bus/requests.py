"""Handles requests from services on `aos-requests`. Entry point: `RequestQueue.handle`.

Every JSON object gets a reply: the run's own, or `run.refused` with the same error as over HTTP. A
body that is not a JSON object in UTF-8 is unreadable.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import azure.functions as func

from aos.domain.cards.identity import is_card_id
from aos.domain.cards.policy import CardPolicy
from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.domain.json_writer import write_json
from aos.domain.runs.run import ReplyAddress, run_id_for
from aos.entrypoints.bus.request_messages import (
    ASKS,
    find_answered_run,
    parse_leniently,
    parse_object,
)
from aos.entrypoints.bus.senders import Sender, SenderRights
from aos.entrypoints.bus.settling import Settling
from aos.entrypoints.ids import take_question_id, take_run_id, take_tool_call_id
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.errors import AosError, ErrorInfo, Refused, SessionLost, TransientError
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.system import Clock
from aos.ports.telemetry import Span, Telemetry
from aos.services.admission import Admissions, RunRequest
from aos.services.approvals import Approvals
from aos.services.questions import ToolQuestions
from aos.services.replies import Replies

MAX_BODY_BYTES = 1024 * 1024


class RequestQueue:
    """Handles requests from services."""

    def __init__(
        self,
        settling: Settling,
        *,
        admissions: Admissions,
        approvals: Approvals,
        questions: ToolQuestions,
        replies: Replies,
        reply_entities: ReplyEntities,
        rights: SenderRights,
        max_message_bytes: int,
        max_part_bytes: int,
        pause_delay: timedelta,
        bus: Bus,
        policy: CardPolicy,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._settling = settling
        self._admissions = admissions
        self._approvals = approvals
        self._questions = questions
        self._replies = replies
        self._reply_entities = reply_entities
        self._rights = rights
        self._max_message_bytes = max_message_bytes
        self._max_part_bytes = max_part_bytes
        self._pause_delay = pause_delay
        self._bus = bus
        self._policy = policy
        self._clock = clock
        self._telemetry = telemetry

    async def handle(self, msg: func.ServiceBusMessage) -> None:
        """Handle one message."""
        await self._settling.handle(msg, self._take, entity=REQUESTS_QUEUE, give_up=self._give_up)

    async def _take(self, message: ReceivedMessage, span: Span) -> None:
        lenient = await parse_leniently(message.body)
        try:
            await self._serve(message, span)
        except (TransientError, SessionLost):
            raise
        except AosError as error:
            if error.code != "paused" or not await self._wait_for_resume(message):
                await self._refuse(message, error.info, lenient)

    async def _wait_for_resume(self, message: ReceivedMessage) -> bool:
        """Send the request on as a scheduled copy, so that it comes again when AOS may be resumed,
        or when its time to live is over. False if the message has no room for a copy's properties.
        """
        at = self._clock.now() + message.lag + self._pause_delay
        if message.expires_at is not None:
            at = min(at, message.expires_at)
        try:
            await self._bus.postpone(message, at=at, attempt=message.attempt)
        except TransientError:
            raise
        except AosError:
            return False
        return True

    async def _serve(self, message: ReceivedMessage, span: Span) -> None:
        from aos.entrypoints.requests import check_bus_ids, take_object

        check_bus_ids(
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            reply_to_session_id=message.reply_to_session_id,
        )
        raw = await take_object(message.body, max_bytes=MAX_BODY_BYTES)
        kind = raw.get("type", ASKS)
        if message.expires_at is not None and message.expires_at <= self._clock.now():
            raise Refused(
                "request_expired", "the request's time to live was over before AOS could handle it"
            )
        match kind:
            case "run.request":
                await self._ask(message, raw, span)
            case "run.cancel":
                await self._cancel(message, raw)
            case "approval.decide":
                await self._decide(message, raw)
            case "question.answer":
                await self._answer(message, raw)
            case _:
                raise Refused(
                    "invalid_request",
                    f"type is {write_json(kind)[:80]}; write run.request, run.cancel,"
                    " approval.decide or question.answer",
                    field="type",
                )

    async def _ask(self, message: ReceivedMessage, raw: dict[str, Any], span: Span) -> None:
        from aos.entrypoints.message_parts import join_text, read_parts
        from aos.entrypoints.requests import QueueRequest, check_sizes, read_notify, validate

        body = validate(QueueRequest, raw)
        text, metadata = join_text(body.message), body.metadata or {}
        check_sizes(text, metadata, max_bytes=self._max_message_bytes)
        parts = read_parts(body.message, max_bytes=self._max_part_bytes)
        if not is_card_id(body.agent_id):
            raise Refused("agent_not_found", f"there is no agent {body.agent_id[:80]!r}")
        sender = self._rights.read_allowed(message)
        reply = ReplyAddress(
            entity=self._reply_entities.require_allowed(message.reply_to or RESPONSES_QUEUE),
            session_id=message.reply_to_session_id,
            correlation_id=message.correlation_id or message.message_id,
        )
        admission = await self._admissions.admit(
            RunRequest(
                agent_id=body.agent_id,
                message=text,
                conversation_id=body.conversation_id,
                metadata=metadata,
                reply=reply,
                parts=parts,
                notify=read_notify(body.notify, self._policy),
            ),
            door="queue",
            scope=sender.scope,
            key=message.key,
            caller=sender.caller,
            traceparent=message.traceparent,
        )
        span.set(
            run_id=admission.run.run_id,
            conversation_id=admission.run.conversation_id,
            agent_id=body.agent_id,
        )
        self._audit(sender, ASKS, admission.run.run_id)
        if not admission.created and admission.run.status.has_ended:
            await self._replies.answer_again(admission.request, admission.run)

    async def _cancel(self, message: ReceivedMessage, raw: dict[str, Any]) -> None:
        from aos.entrypoints.requests import QueueCancel, validate

        body = validate(QueueCancel, raw)
        sender, run_id = self._rights.read_allowed(message), take_run_id(body.run_id)
        await self._admissions.cancel(run_id, sender.caller)
        self._audit(sender, "run.cancel", run_id)

    async def _decide(self, message: ReceivedMessage, raw: dict[str, Any]) -> None:
        from aos.entrypoints.requests import QueueDecision, validate

        body = validate(QueueDecision, raw)
        sender, run_id = self._rights.read_allowed(message), take_run_id(body.run_id)
        await self._approvals.decide(
            run_id,
            take_tool_call_id(body.tool_call_id),
            body.decision,
            body.reason or "",
            caller=sender.caller,
            decision_id=run_id_for(scope=sender.scope, key=message.key),
        )
        self._audit(sender, "approval.decide", run_id)

    async def _answer(self, message: ReceivedMessage, raw: dict[str, Any]) -> None:
        from aos.entrypoints.requests import QueueAnswer, validate

        body = validate(QueueAnswer, raw)
        sender, run_id = self._rights.read_allowed(message), take_run_id(body.run_id)
        await self._questions.answer(
            run_id,
            take_question_id(body.question_id),
            body.action,
            body.content,
            caller=sender.caller,
            answer_id=run_id_for(scope=sender.scope, key=message.key),
        )
        self._audit(sender, "question.answer", run_id)

    def _audit(self, sender: Sender, kind: str, run_id: str) -> None:
        """Write a line for what a service did for somebody else."""
        if sender.on_behalf_of is not None:
            self._telemetry.log(
                "acted_on_behalf",
                type=kind,
                run_id=run_id,
                owner=sender.owner,
                sent_by=sender.name,
            )

    async def _give_up(self, message: ReceivedMessage, error: Exception) -> None:
        """Answer with an error after every delivery failed on AOS's side, instead of a dead
        letter."""
        info = ErrorInfo(
            code="internal_error",
            message="AOS failed on its own side; the operator finds the message's id in the logs",
            details={"sequence_number": message.sequence_number},
        )
        await self._refuse(message, info, parse_object(message.body))

    async def _refuse(
        self, message: ReceivedMessage, error: ErrorInfo, body: dict[str, Any]
    ) -> None:
        run_id = find_answered_run(message, body)
        self._telemetry.log(
            "request_refused", run_id=run_id, code=error.code, entity=REQUESTS_QUEUE
        )
        await self._replies.refuse(
            message,
            error,
            run_id=run_id,
            body=body,
            entity=self._reply_entities.choose(message.reply_to),
        )
