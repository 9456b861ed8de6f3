"""How do requests come in, in the simulation?

What the entry points of main do for a request from the queue, and for a caller over HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.domain.runs.run import ReplyAddress, Run
from aos.errors import Refused
from aos.ports.bus import ReceivedMessage
from aos.services.admission import Admission, Caller, RunRequest
from tests.simulation.apps import MainApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as its client makes it; `key` is what makes a repeat the same."""

    key: str
    owner: str
    agent_id: str
    question: str
    conversation_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    over_queue: bool = False
    is_admin: bool = False
    wait_seconds: float = 0.0
    wants_reply: bool = False

    @property
    def scope(self) -> str:
        """Door and owner."""
        return f"queue:{REQUESTS_QUEUE}:{self.owner}" if self.over_queue else f"http:{self.owner}"

    @property
    def body(self) -> bytes:
        """The message on the request queue."""
        return json.dumps(
            {
                "version": 1,
                "agent_id": self.agent_id,
                "message": self.question,
                "conversation_id": self.conversation_id,
                "metadata": self.metadata,
            }
        ).encode()


async def from_the_queue(app: MainApp, message: ReceivedMessage) -> None:
    """Admit a queue request, answer again what has ended, refuse what cannot be."""
    body = json.loads(message.body)
    owner = str(message.properties.get("aos_owner") or f"queue:{REQUESTS_QUEUE}")
    reply = ReplyAddress(
        entity=RESPONSES_QUEUE,
        session_id=message.reply_to_session_id,
        correlation_id=message.correlation_id or message.message_id,
    )
    try:
        admission = await app.admissions.admit(
            RunRequest(
                agent_id=body["agent_id"],
                message=body["message"],
                conversation_id=body["conversation_id"],
                metadata=body["metadata"],
                reply=reply,
            ),
            door="queue",
            scope=f"queue:{REQUESTS_QUEUE}:{owner}",
            key=message.key,
            caller=Caller(owner=owner),
            traceparent=message.traceparent,
        )
    except Refused as refusal:
        await app.replies.refuse(message, refusal.info, run_id=message.key, body=body)
        return
    if not admission.created and admission.run.status.has_ended:
        await app.replies.answer_again(admission.request, admission.run)


async def over_http(app: MainApp, ask: Ask) -> tuple[Admission, Run]:
    """Admit, and wait as long as the caller wants to."""
    reply = (
        ReplyAddress(entity=RESPONSES_QUEUE, correlation_id=ask.key) if ask.wants_reply else None
    )
    admission = await app.admissions.admit(
        RunRequest(
            agent_id=ask.agent_id,
            message=ask.question,
            conversation_id=ask.conversation_id,
            metadata=ask.metadata,
            reply=reply if ask.wants_reply else None,
        ),
        door="http",
        scope=ask.scope,
        key=ask.key,
        caller=Caller(owner=ask.owner, is_admin=ask.is_admin),
    )
    run = admission.run
    if ask.wait_seconds and not run.status.has_ended:
        run = await app.runs.wait(admission.request, seconds=ask.wait_seconds) or run
    return admission, run
