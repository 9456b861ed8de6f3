"""Admits a caller's request exactly once. Entry point: `Admissions.admit`.

The idempotency key and its scope (door and owner) determine the run id, and the request row of that
id is inserted once. An existing row is looked up before any check that depends on the moment. A
refusal stores nothing. Once the pending row and the request row are written, the run will be
executed, whatever crashes next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard, find_home_owner
from aos.domain.envelope import CancelRun, StartRun, to_realm
from aos.domain.notify import Notify
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.advance import MAX_QUEUED_RUNS
from aos.domain.runs.attachments import list_attachments
from aos.domain.runs.run import (
    AdmittedRequest,
    Door,
    ParentRun,
    ReplyAddress,
    Run,
    request_digest,
    run_id_for,
)
from aos.domain.runs.run_options import RunOptions
from aos.domain.runs.watching import WATCH
from aos.domain.tools.offer import MAX_DEPTH
from aos.domain.vision import Vision
from aos.errors import ErrorInfo, OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.agents import Agents
from aos.ports.bus import Bus
from aos.ports.cleaning import Due, DueStore
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun
from aos.ports.model import ChatModel
from aos.ports.pause import PauseState
from aos.ports.requests import PendingRun, PendingStore, RequestStore, StoredRequest
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.services.admission.budget import AdmissionBudgets
from aos.services.admission.busy import Turnstile, make_busy
from aos.services.runs import RunReader

FIRST_CHECK = timedelta(seconds=30)
"""The time between a run's admission and the mender's first check."""
ADMISSION_SECONDS = 10.0
"""The longest time until a request is accepted or refused, however slow storage is."""
MAX_TREE = 50
"""Runs of one tree of delegations, the first run included."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An accepted request and its run as it is now; `created` is False for a repeat."""

    request: AdmittedRequest
    run: Run
    created: bool


class Admissions:
    """Main's use case: admit and cancel runs."""

    def __init__(
        self,
        *,
        runs: RunReader,
        requests: RequestStore,
        turnstile: Turnstile,
        budgets: AdmissionBudgets,
        pending: PendingStore,
        conversations: ConversationStore,
        list_run: Callable[[IndexedRun], None],
        due: DueStore,
        agents: Agents,
        model: ChatModel,
        pause: PauseState,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        vision: Vision | None = None,
    ) -> None:
        self._runs = runs
        self._requests = requests
        self._turnstile = turnstile
        self._budgets = budgets
        self._pending = pending
        self._conversations = conversations
        self._list_run = list_run
        self._due = due
        self._agents = agents
        self._model = model
        self._pause = pause
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._vision = vision or Vision()
        self._announcing: set[asyncio.Task[None]] = set()

    async def admit(
        self,
        request: RunRequest,
        *,
        door: Door,
        scope: str,
        key: str | None,
        caller: Caller,
        traceparent: str | None = None,
    ) -> Admission:
        """Accept a request, or find the run that an earlier request with this key started.

        `scope` is the door and the owner (`http:<owner>`, `queue:<entity>:<owner>`). Raises
        Refused with the contract's code, and TransientError when storage is away. After the return
        the run will be executed. During a pause only delegated runs are admitted: they belong to
        runs that were admitted before.
        """
        deadline = asyncio.get_running_loop().time() + ADMISSION_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                admission = await self._admit(
                    request, door=door, scope=scope, key=key, caller=caller, traceparent=traceparent
                )
        except TimeoutError as error:
            raise TransientError(
                f"storage did not answer within {ADMISSION_SECONDS:g} s; send the request again"
                " with the same idempotency key"
            ) from error
        if admission.created:
            await self._announce(admission.request, deadline=deadline)
        return admission

    async def _admit(
        self,
        request: RunRequest,
        *,
        door: Door,
        scope: str,
        key: str | None,
        caller: Caller,
        traceparent: str | None,
    ) -> Admission:
        digest = request.digest
        run_id = self._ids.new_id() if key is None else run_id_for(scope=scope, key=key)
        if key is not None:
            stored = await self._requests.find(run_id)
            if stored is not None:
                return await self._find_repeat(stored, digest)
        if door != "delegation":
            await self._refuse_if_paused()
        admitted = AdmittedRequest(
            run_id=run_id,
            conversation_id=request.conversation_id or run_id,
            agent_id=request.agent_id,
            owner=caller.owner,
            door=door,
            message=request.message,
            digest=digest,
            admitted_at=self._clock.now(),
            catalog_version=0,
            metadata=request.metadata,
            reply=request.reply,
            as_admin=caller.is_admin,
            traceparent=traceparent,
            parent=request.parent,
            parts=request.parts,
            replay_of=request.replay_of,
            options=request.options,
            sent_by=caller.sent_by,
        )
        try:
            admitted = await self._check(request, admitted, caller)
        except Refused:
            stored = None if key is None else await self._requests.find(run_id)
            if stored is None:
                raise
            return await self._find_repeat(stored, digest)
        return await self._store(admitted)

    async def store_refusal(
        self, request: RunRequest, error: ErrorInfo, *, scope: str, key: str, caller: Caller
    ) -> Admission:
        """Store a refusal as the delegated run's request row.

        A repeated command that another catalog would accept then finds the refusal. If a repeated
        command started the run first, that run is returned. Raises TransientError.
        """
        run_id = run_id_for(scope=scope, key=key)
        refused = AdmittedRequest(
            run_id=run_id,
            conversation_id=request.conversation_id or run_id,
            agent_id=request.agent_id,
            owner=caller.owner,
            door="delegation",
            message=request.message,
            digest=request.digest,
            admitted_at=self._clock.now(),
            catalog_version=0,
            parent=request.parent,
            refusal=error,
        )
        entry = IndexedRun.of(refused, owner=caller.owner)
        due_at = refused.admitted_at + REQUEST_RETENTION
        await self._due.put(Due.of_run(entry, kind="refusal", due_at=due_at))
        with contextlib.suppress(StaleWrite, OutcomeUnknown):
            await self._requests.insert(refused)
        stored = await self._requests.find(run_id)
        if stored is None:
            raise TransientError("storage did not say whether the refusal was stored")
        return await self._find_repeat(stored, refused.digest)

    async def cancel(self, run_id: str, caller: Caller) -> Run:
        """Ask for a run's cancellation and return the run as it is now. An ended run stays."""
        request, run = await self._runs.find(run_id, owner=caller.visible_owner)
        if not run.status.has_ended:
            await self.cancel_request(request)
        return run

    async def cancel_request(self, request: AdmittedRequest, *, reason: str | None = None) -> None:
        """Store and send a cancellation; `reason` is an error code, None for a caller's wish."""
        await self._requests.ask_cancel(request.run_id, at=self._clock.now(), reason=reason)
        try:
            await self._bus.send(to_realm(CancelRun(request=request, reason=reason)))
        except TransientError:
            await self._pending.put(self._make_pending(request, delay=timedelta()))

    async def _find_repeat(self, stored: StoredRequest, digest: str) -> Admission:
        if stored.request.digest != digest:
            raise Refused(
                "idempotency_conflict",
                "this idempotency key was used for another request; use a new key, or repeat the"
                " first request unchanged",
                run_id=stored.request.run_id,
            )
        if stored.scrubbed or await self._runs.was_deleted(stored.request):
            raise Refused(
                "conversation_deleted",
                f"the conversation of run {stored.request.run_id!r} was deleted; send the request"
                " with a new idempotency key to begin another",
                run_id=stored.request.run_id,
            )
        run = await self._runs.read(stored.request)
        return Admission(request=stored.request, run=run, created=False)

    async def _refuse_if_paused(self) -> None:
        """Refuse while AOS is paused. Reads the catalog's head, as every admission does."""
        pause = await self._pause.find_pause()
        if pause is not None:
            why = f" ({pause.reason})" if pause.reason else ""
            raise Refused("paused", f"AOS is paused{why}; send the request again later")

    async def _check(
        self, request: RunRequest, admitted: AdmittedRequest, caller: Caller
    ) -> AdmittedRequest:
        """Refuse a request that cannot run now; return it with what the catalog says of it."""
        version = await self._agents.version()
        live = await self._agents.find(request.agent_id)
        if live.state == "disabled":
            raise Refused(
                "agent_disabled",
                f"agent {request.agent_id!r} is disabled; its admin sets enabled to true in"
                f" agents/{request.agent_id}.json",
            )
        if not self._model.is_configured():
            raise Refused(
                "model_not_configured",
                "no model is configured; the operator sets AOS_MODEL_ENDPOINT",
            )
        if list_attachments(_list_parts(request)):
            _check_vision(live.card, self._vision)
        await self._budgets.check(
            agent_id=request.agent_id,
            agent_tokens=live.card.limits.max_tokens_per_day,
            owner=caller.owner,
        )
        rejects = live.card.on_busy == "reject"
        if request.conversation_id is not None:
            await self._check_conversation(request, caller, rejects=rejects)
        if request.parent is not None:
            await self._check_tree(request.parent, admitted.run_id)
        if rejects:
            await self._turnstile.enter(admitted)
        return replace(
            admitted,
            catalog_version=version,
            rejects_busy=rejects,
            notify=_choose_notify(request, live.card),
            admitted_at=self._clock.now(),
            watched_until=self._clock.now() + WATCH if request.stream else None,
        )

    async def _check_tree(self, parent: ParentRun, run_id: str) -> None:
        """Limit the depth and the number of delegated runs."""
        if parent.depth > MAX_DEPTH:
            raise Refused("tree_limit", f"agents delegate at most {MAX_DEPTH} levels deep")
        if await self._requests.join_tree(parent.root_run_id, run_id) > MAX_TREE:
            raise Refused("tree_limit", f"one run may lead to at most {MAX_TREE} runs in all")

    async def _check_conversation(
        self, request: RunRequest, caller: Caller, *, rejects: bool
    ) -> None:
        assert request.conversation_id is not None
        head = (await self._conversations.load(request.conversation_id)).conversation
        name = request.conversation_id
        if head is None:
            _check_home(name, caller)
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

    async def _store(self, admitted: AdmittedRequest) -> Admission:
        """Write the pending row, then the request row; of two at once one insert succeeds."""
        await self._pending.put(self._make_pending(admitted, delay=FIRST_CHECK))
        try:
            await self._requests.insert(admitted)
        except (StaleWrite, OutcomeUnknown):
            stored = await self._requests.find(admitted.run_id)
            if stored is None:
                raise TransientError(
                    "storage did not say whether the request was stored; send it again with the"
                    " same idempotency key"
                ) from None
            if stored.request != admitted:
                return await self._find_repeat(stored, admitted.digest)
        return Admission(request=admitted, run=Run.from_request(admitted), created=True)

    async def _announce(self, admitted: AdmittedRequest, *, deadline: float) -> None:
        """Send the StartRun and have the run listed; what takes longer goes on by itself.

        The run is admitted: if this process dies now, the mender does both.
        """
        self._list_run(IndexedRun.of(admitted, owner=admitted.owner))
        sending = asyncio.create_task(self._send_start(admitted))
        self._announcing.add(sending)
        sending.add_done_callback(self._announcing.discard)
        left = deadline - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({sending}, timeout=max(0.0, left))
        for step in done:
            step.result()

    async def _send_start(self, admitted: AdmittedRequest) -> None:
        try:
            await self._bus.send(to_realm(StartRun(request=admitted)))
        except TransientError as error:
            self._telemetry.log(
                "start_not_sent",
                level="warning",
                run_id=admitted.run_id,
                conversation_id=admitted.conversation_id,
                agent_id=admitted.agent_id,
                reason=str(error),
            )

    def _make_pending(self, request: AdmittedRequest, *, delay: timedelta) -> PendingRun:
        return PendingRun(
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            created_at=request.admitted_at,
            next_check=self._clock.now() + delay,
        )


def _list_parts(request: RunRequest) -> list[dict[str, Any]]:
    """The images and files of a request, those of its history included."""
    history = () if request.options is None else request.options.history
    return [*request.parts, *(part for said in history for part in said.parts)]


def _choose_notify(request: RunRequest, card: AgentCard) -> Notify | None:
    """The receivers of the run's events: the request's, else the card's; and those of a task."""
    notify = request.notify or card.notify
    return replace(notify or Notify(), pushes=True) if request.pushes else notify


def _check_vision(card: AgentCard, vision: Vision) -> None:
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


def _check_home(conversation_id: str, caller: Caller) -> None:
    """Refuse to start an agent's home conversation: the caller would own it."""
    owner = find_home_owner(conversation_id)
    if owner is not None and caller.owner != owner:
        raise Refused(
            "conversation_not_found",
            f"the conversation {conversation_id!r} is the agent's own and begins when the agent is"
            " woken; choose an id that does not begin with 'home-'",
        )
