"""Admits a caller's request exactly once. Entry point: `Admissions.admit`.

The idempotency key and its scope (door and owner) determine the run id, and the request row of that
id is inserted once. An existing row is looked up before any check that depends on the moment. A
refusal stores no run. Once the pending row and the request row are written, the run will be
executed, whatever crashes next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard
from aos.domain.envelope import CancelRun, StartRun, to_realm
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.attachments import list_attachments
from aos.domain.runs.run import (
    AdmittedRequest,
    Door,
    ParentRun,
    Run,
    run_id_for,
)
from aos.domain.runs.watching import WATCH
from aos.domain.tools.offer import MAX_DEPTH
from aos.domain.vision import Vision
from aos.errors import ErrorInfo, OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.agents import Agents
from aos.ports.bus import Bus
from aos.ports.cleaning import Due, DueStore
from aos.ports.conversations import ConversationStore, Loaded
from aos.ports.index import IndexedRun
from aos.ports.model import ChatModel
from aos.ports.pause import PauseState
from aos.ports.requests import PendingRun, PendingStore, RequestStore, StoredRequest
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.services.admission.budget import AdmissionBudgets
from aos.services.admission.busy import Turnstile
from aos.services.admission.run_requests import (
    RunRequest,
    check_conversation,
    check_vision,
    choose_notify,
    list_parts,
)
from aos.services.runs import RunReader

FIRST_CHECK = timedelta(seconds=30)
"""The time between a run's admission and the mender's first check."""
ADMISSION_SECONDS = 10.0
"""The longest time until a request is accepted or refused, however slow storage is."""
MAX_TREE = 50
"""Runs of one tree of delegations, the first run included."""


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
        remove_row: Callable[[str], None],
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
        self._remove_row = remove_row
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
        head = None
        if key is not None:
            stored, head = await asyncio.gather(
                self._requests.find(run_id), self._load(request.conversation_id)
            )
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
            admitted = await self._check(request, admitted, caller, head=head)
        except Refused:
            stored = None if key is None else await self._requests.find(run_id)
            if stored is None:
                raise
            return await self._find_repeat(stored, digest)
        return await self._store(admitted, is_pending=_is_written_early(request, head))

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

    async def _load(self, conversation_id: str | None) -> Loaded:
        """Read the head of a conversation that the request names."""
        return (
            Loaded() if conversation_id is None else await self._conversations.load(conversation_id)
        )

    async def _check(
        self,
        request: RunRequest,
        admitted: AdmittedRequest,
        caller: Caller,
        *,
        head: Loaded | None,
    ) -> AdmittedRequest:
        """Refuse a request that cannot run now; return it with what the catalog says of it. `head`
        is the head of its conversation if it was read already."""
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
        if list_attachments(list_parts(request)):
            check_vision(live.card, self._vision)
        checks = self._check_state(request, admitted, caller, card=live.card, head=head)
        if _is_written_early(request, head):
            await self._write_early(admitted, checks)
        else:
            await checks
        return replace(
            admitted,
            catalog_version=version,
            rejects_busy=live.card.on_busy == "reject",
            notify=choose_notify(request, live.card),
            admitted_at=self._clock.now(),
            watched_until=self._clock.now() + WATCH if request.stream else None,
        )

    async def _check_state(
        self,
        request: RunRequest,
        admitted: AdmittedRequest,
        caller: Caller,
        *,
        card: AgentCard,
        head: Loaded | None,
    ) -> None:
        """Refuse a request that budgets, its conversation or its tree do not allow now."""
        await self._budgets.check(
            agent_id=request.agent_id,
            agent_tokens=card.limits.max_tokens_per_day,
            owner=caller.owner,
        )
        rejects = card.on_busy == "reject"
        if request.conversation_id is not None:
            loaded = head or await self._load(request.conversation_id)
            check_conversation(request, loaded.conversation, caller, rejects=rejects)
        if request.parent is not None:
            await self._check_tree(request.parent, admitted.run_id)
        if rejects:
            await self._turnstile.enter(admitted)

    async def _write_early(
        self, admitted: AdmittedRequest, checks: Coroutine[Any, Any, None]
    ) -> None:
        """Write the pending row of a run while its checks read. After a refusal it is removed:
        nobody else has the id of a run without a key."""
        pending = self._make_pending(admitted, delay=FIRST_CHECK)
        writing = asyncio.create_task(self._pending.put(pending))
        try:
            await checks
            await writing
        except BaseException:
            writing.add_done_callback(partial(self._forget, admitted.run_id))
            raise

    def _forget(self, run_id: str, writing: asyncio.Task[None]) -> None:
        """Have the pending row of a refused run removed, when it was written."""
        if writing.cancelled() or writing.exception() is None:
            self._remove_row(run_id)

    async def _check_tree(self, parent: ParentRun, run_id: str) -> None:
        """Limit the depth and the number of delegated runs."""
        if parent.depth > MAX_DEPTH:
            raise Refused("tree_limit", f"agents delegate at most {MAX_DEPTH} levels deep")
        if await self._requests.join_tree(parent.root_run_id, run_id) > MAX_TREE:
            raise Refused("tree_limit", f"one run may lead to at most {MAX_TREE} runs in all")

    async def _store(self, admitted: AdmittedRequest, *, is_pending: bool) -> Admission:
        """Write the pending row, unless it is there, then the request row; of two at once one
        insert succeeds."""
        if not is_pending:
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


def _is_written_early(request: RunRequest, head: Loaded | None) -> bool:
    """Whether the pending row is written while the conversation's head is read."""
    return request.conversation_id is not None and head is None
