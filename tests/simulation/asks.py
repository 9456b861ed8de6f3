"""Asks for runs in the simulation: over the queue as a message, over HTTP at the services of main.
Entry points: `Ask`, `over_http`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aos.domain.codec import encode
from aos.domain.envelope import REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.domain.notify import Notify
from aos.domain.runs.run import ReplyAddress, Run
from aos.services.admission import Admission, Caller, RunRequest
from tests.simulation.apps import MainApp
from tests.simulation.receivers import make_push_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as its client makes it; `key` is what makes a repeat the same.

    `owner` is an owner of the queue over HTTP, too, so that conversations are shared.
    """

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
    notify: Notify | None = None
    pushes: bool = False
    keyless: bool = False
    """It is sent once, over HTTP, without an idempotency key."""
    stream: bool = False

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
                "notify": None if self.notify is None else encode(self.notify),
                **({"stream": True} if self.stream else {}),
            }
        ).encode()


async def over_http(app: MainApp, ask: Ask) -> tuple[Admission, Run]:
    """Admit, and wait as long as the caller wants to."""
    reply = (
        ReplyAddress(entity=RESPONSES_QUEUE, correlation_id=ask.key) if ask.wants_reply else None
    )
    admission = await app.services.admissions.admit(
        RunRequest(
            agent_id=ask.agent_id,
            message=ask.question,
            conversation_id=ask.conversation_id,
            metadata=ask.metadata,
            reply=reply if ask.wants_reply else None,
            notify=ask.notify,
            stream=ask.stream,
            pushes=ask.pushes,
        ),
        door="http",
        scope=ask.scope,
        key=None if ask.keyless else ask.key,
        caller=Caller(owner=ask.owner, is_admin=ask.is_admin),
    )
    run = admission.run
    if ask.pushes:
        await app.services.pushes.put(
            admission.request, make_push_config(run.run_id), known=run.status
        )
    if ask.wait_seconds and not run.status.has_ended:
        run = await app.services.runs.wait(admission.request, seconds=ask.wait_seconds) or run
    return admission, run
