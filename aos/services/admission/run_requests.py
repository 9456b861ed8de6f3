"""Says what a request for a run is, and which requests may run. Entry points: `RunRequest`,
`check_conversation`, `check_vision`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard, find_home_owner
from aos.domain.notify import Notify
from aos.domain.runs.advance import MAX_QUEUED_RUNS
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import ParentRun, ReplyAddress, request_digest
from aos.domain.runs.run_options import RunOptions
from aos.domain.vision import Vision
from aos.errors import Refused
from aos.services.admission.busy import make_busy

NO_VISION = "no_vision"
"""In the details of the refusal of images for an agent whose model cannot see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A parsed and checked request for a run; `parent` is set when an agent delegates it,
    `replay_of` when it asks an ended run again. `notify` is used instead of the card's. `stream`:
    the model's text is streamed from the first turn on. `pushes`: it is a task of A2A, which may
    get receivers of push notifications later. `as_sent`: the request as its caller sent it, where
    AOS has added to it; repeats are found by that."""

    agent_id: str
    message: str
    conversation_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    reply: ReplyAddress | None = None
    parent: ParentRun | None = None
    parts: tuple[dict[str, Any], ...] = ()
    replay_of: str | None = None
    notify: Notify | None = None
    stream: bool = False
    options: RunOptions | None = None
    pushes: bool = False
    as_sent: RunRequest | None = None

    @property
    def digest(self) -> str:
        """The digest of the fields that two equal requests share."""
        if self.as_sent is not None:
            return self.as_sent.digest
        return request_digest(
            agent_id=self.agent_id,
            message=self.message,
            conversation_id=self.conversation_id,
            metadata=self.metadata,
            parts=self.parts,
            options=self.options,
        )


def list_parts(request: RunRequest) -> list[dict[str, Any]]:
    """The images and files of a request, those of its history included."""
    history = () if request.options is None else request.options.history
    return [*request.parts, *(part for said in history for part in said.parts)]


def choose_notify(request: RunRequest, card: AgentCard) -> Notify | None:
    """The receivers of the run's events: the request's, else the card's; and those of a task."""
    notify = request.notify or card.notify
    return replace(notify or Notify(), pushes=True) if request.pushes else notify


def check_vision(card: AgentCard, vision: Vision) -> None:
    """Refuse images and PDF files for an agent whose model cannot see them."""
    base = card.model or vision.default_model
    if any(vision.can_see(name) for name in {card.adapter_name or base, base}):
        return
    model = "its model" if base is None else f"its model {base!r}"
    raise Refused(
        "invalid_request",
        f"agent {card.agent_id!r} takes no images and no PDF files: {model} is not in"
        " AOS_VISION_MODELS. Send text and text files only, or let the operator add a model that"
        " can see",
        field="message",
        reason=NO_VISION,
    )


def check_conversation(
    request: RunRequest, head: Conversation | None, caller: Caller, *, rejects: bool
) -> None:
    """Refuse a run that its conversation does not allow; `head` None: it has not begun."""
    name = str(request.conversation_id)
    if head is None:
        check_home(name, caller)
        return
    if head.owner != caller.owner and not caller.is_admin:
        raise Refused(
            "conversation_not_found",
            f"there is no conversation {name!r} of yours; leave conversation_id out to begin"
            " a new one",
        )
    if head.agent_id != request.agent_id:
        raise Refused(
            "agent_mismatch",
            f"conversation {name!r} is with agent {head.agent_id!r}, not"
            f" {request.agent_id!r}; leave conversation_id out to begin a new one",
        )
    if rejects and (head.active or head.queued):
        raise make_busy(name, head.agent_id)
    if len(head.queued) >= MAX_QUEUED_RUNS:
        raise Refused(
            "conversation_full",
            f"conversation {name!r} has {len(head.queued)} runs waiting; send again later",
        )


def check_home(conversation_id: str, caller: Caller) -> None:
    """Refuse to start an agent's home conversation: the caller would own it."""
    owner = find_home_owner(conversation_id)
    if owner is not None and caller.owner != owner:
        raise Refused(
            "conversation_not_found",
            f"the conversation {conversation_id!r} is the agent's own and begins when the agent is"
            " woken; choose an id that does not begin with 'home-'",
        )
