"""Would the simulation notice? Bugs that are planted to see.

Each is a context manager that breaks one service, adapter or rule for a while; no product code
knows of them. `tests/simulation/test_teeth.py` demands that each is found soon.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryConversationStore
from aos.domain.cards.catalog import CatalogIndex
from aos.domain.envelope import (
    CancelRun,
    DeliverNotification,
    RealmCommand,
    RunEnded,
    StartRun,
    to_realm,
)
from aos.domain.runs import absence, advance
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import TransientError
from aos.ports.requests import PendingRun
from aos.services.admission import Admissions, Caller
from aos.services.catalog.reader import CatalogReader
from aos.services.execution.handler import Execution
from aos.services.execution.unit_of_work import UnitOfWork, UnitsOfWork
from aos.services.mender import Mender
from aos.services.notifications import Notifications
from aos.services.pushes import PushNotifications
from aos.services.replies import Replies
from tests.simulation.planted_admission import PLANTED_IN_ADMISSION
from tests.simulation.planted_aging import PLANTED_IN_AGING
from tests.simulation.planted_bookkeeping import PLANTED_IN_BOOKKEEPING
from tests.simulation.planted_deletions import PLANTED_IN_DELETIONS
from tests.simulation.planted_events import PLANTED_IN_EVENTS
from tests.simulation.planted_letters import PLANTED_IN_LETTERS
from tests.simulation.planted_pausing import PLANTED_IN_PAUSING
from tests.simulation.planted_tasks import PLANTED_IN_TASKS
from tests.simulation.planted_tools import PLANTED_IN_TOOLS
from tests.simulation.planted_triggers import PLANTED_IN_TRIGGERS
from tests.simulation.planted_turns import PLANTED_IN_TURNS
from tests.simulation.planted_usage import PLANTED_IN_USAGE
from tests.simulation.planted_versions import PLANTED_IN_VERSIONS
from tests.simulation.planted_waking import PLANTED_IN_WAKING
from tests.simulation.planted_watching import PLANTED_IN_WATCHING

Planted = Callable[[], contextlib.AbstractContextManager[Any]]


def send_before_save() -> contextlib.AbstractContextManager[Any]:
    """Realm sends what a step says before the step is saved."""
    real = Execution._save

    async def save(self: Execution, unit: UnitOfWork) -> None:
        if unit.unsaved is not None:
            for outgoing in unit.unsaved.conversation.outbox:
                await self._bus.send(outgoing)
        await real(self, unit)

    return patch.object(Execution, "_save", save)


def no_etag() -> contextlib.AbstractContextManager[Any]:
    """The store writes whatever the head's ETag is."""

    def save(self: MemoryConversationStore, step: Step, etag: str | None, new: str | None) -> str:
        return self.write(step)

    return patch.object(MemoryConversationStore, "_save", save)


def outbox_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A handler that finds an outbox does not send it."""
    real = UnitsOfWork.open

    async def opened(self: UnitsOfWork, command: RealmCommand, **more: Any) -> UnitOfWork | None:
        unit = await real(self, command, **more)
        if unit is not None:
            unit.conversation = unit.conversation.clear_outbox()
        return unit

    return patch.object(UnitsOfWork, "open", opened)


def known_start_does_nothing() -> contextlib.AbstractContextManager[Any]:
    """A StartRun that state knows is taken for done."""
    real = Execution.handle

    async def handle(self: Execution, command: RealmCommand, **more: Any) -> None:
        name = command.conversation_id
        known = (await self._units._conversations.load(name, run_id=command.run_id)).run
        if isinstance(command, StartRun) and known is not None:
            return
        await real(self, command, **more)

    return patch.object(Execution, "handle", handle)


def nothing_left_for_the_next() -> contextlib.AbstractContextManager[Any]:
    """A handler stops at the end of a run and leaves no ContinueRun for the run behind it."""

    def end_run(conversation: Conversation, request: AdmittedRequest, run: Run) -> Step:
        step = real(replace(conversation, queued=()), request, run)
        return replace(step, conversation=replace(step.conversation, queued=conversation.queued))

    def stops(conversation: Conversation) -> bool:
        return any(isinstance(item.command, RunEnded) for item in conversation.outbox)

    real = Conversation._end_run
    return patch.multiple(Conversation, _end_run=end_run, has_continuation=property(stops))


def storm() -> contextlib.AbstractContextManager[Any]:
    """Whatever wakes a waiting conversation leaves one more ContinueRun."""
    real = Execution._apply

    def apply(self: Execution, unit: UnitOfWork, command: RealmCommand) -> None:
        real(self, unit, command)
        state = unit.conversation
        if state.retry_at is not None and state.active is not None:
            again = state.schedule_continue(state.active.request.run_id, due=state.retry_at)
            unit.add(Step(conversation=again))

    return patch.object(Execution, "_apply", apply)


def clock_runs_in_an_outage() -> contextlib.AbstractContextManager[Any]:
    """Waiting for an absent model counts as the run's own time."""
    real = absence.wait_for_model

    def away(conversation: Conversation, *, now: Any, **more: Any) -> Step:
        since = conversation.retry_since or now
        active = conversation.require_active()
        seconds = active.clock_seconds + (now - since).total_seconds()
        counted = replace(conversation, active=replace(active, clock_seconds=seconds))
        return real(counted, now=now, **more)

    return patch.object(absence, "wait_for_model", away)


def orphan_dropped_at_once() -> contextlib.AbstractContextManager[Any]:
    """The mender drops a pending row that has no request row yet."""

    async def orphan(self: Mender, row: PendingRun) -> None:
        await self._pending.drop(row.run_id, etag=row.etag)

    return patch.object(Mender, "_check_orphan", orphan)


def reply_without_a_look() -> contextlib.AbstractContextManager[Any]:
    """Main replies to every RunEnded, whether or not the reply is recorded."""
    real = Replies.deliver

    async def deliver(self: Replies, ended: RunEnded) -> None:
        if await self._ledger.is_recorded(ended.run):
            await self._answer(ended)
        await real(self, ended)

    return patch.object(Replies, "deliver", deliver)


def receiver_told_after_the_record() -> contextlib.AbstractContextManager[Any]:
    """Main records the end, and owes the notification only then."""
    real = Replies.deliver

    async def deliver(self: Replies, ended: RunEnded) -> None:
        is_recorded = await self._ledger.is_recorded(ended.run)
        await real(self, replace(ended, notify=None))
        if not is_recorded:
            await self._books.record(ended, told=True)
            if ended.notify is not None:
                await self._notify(ended)

    return patch.object(Replies, "deliver", deliver)


def push_order_forgotten() -> contextlib.AbstractContextManager[Any]:
    """Main takes the receivers of a task for told when it cannot read them or send."""
    real = PushNotifications.order

    async def order(self: PushNotifications, command: DeliverNotification) -> None:
        with contextlib.suppress(TransientError):
            await real(self, command)

    return patch.object(PushNotifications, "order", order)


def failed_try_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A delivery that cannot be scheduled again is taken for done."""
    real = Notifications.deliver

    async def deliver(self: Notifications, command: DeliverNotification, *, lag: timedelta) -> None:
        with contextlib.suppress(TransientError):
            await real(self, command, lag=lag)

    return patch.object(Notifications, "deliver", deliver)


def owners_unchecked() -> contextlib.AbstractContextManager[Any]:
    """Realm lets whoever comes second into the conversation."""
    real = advance.admit

    def admit(conversation: Conversation | None, request: AdmittedRequest, **more: Any) -> Step:
        return real(conversation, replace(request, as_admin=True), **more)

    return patch.object(advance, "admit", admit)


def old_catalog() -> contextlib.AbstractContextManager[Any]:
    """Realm judges by the catalog that it has, though the command names a newer one."""

    async def read_at_least(self: CatalogReader, version: int) -> CatalogIndex:
        return await self.read()

    return patch.object(CatalogReader, "read_at_least", read_at_least)


def cancel_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A CancelRun that could not be sent leaves no due pending row."""

    async def cancel(self: Admissions, run_id: str, caller: Caller) -> Run:
        request, run = await self._runs.find(run_id, owner=caller.visible_owner)
        if run.status.has_ended:
            return run
        await self._requests.ask_cancel(run_id, at=self._clock.now())
        with contextlib.suppress(TransientError):
            await self._bus.send(to_realm(CancelRun(request=request)))
        return run

    return patch.object(Admissions, "cancel", cancel)


PLANTED: dict[str, Planted] = {
    "send_before_save": send_before_save,
    "no_etag": no_etag,
    "outbox_forgotten": outbox_forgotten,
    "known_start_does_nothing": known_start_does_nothing,
    "nothing_left_for_the_next": nothing_left_for_the_next,
    "storm": storm,
    "clock_runs_in_an_outage": clock_runs_in_an_outage,
    "orphan_dropped_at_once": orphan_dropped_at_once,
    "reply_without_a_look": reply_without_a_look,
    "push_order_forgotten": push_order_forgotten,
    "receiver_told_after_the_record": receiver_told_after_the_record,
    "failed_try_forgotten": failed_try_forgotten,
    "owners_unchecked": owners_unchecked,
    "old_catalog": old_catalog,
    "cancel_forgotten": cancel_forgotten,
    **PLANTED_IN_ADMISSION,
    **PLANTED_IN_AGING,
    **PLANTED_IN_BOOKKEEPING,
    **PLANTED_IN_DELETIONS,
    **PLANTED_IN_EVENTS,
    **PLANTED_IN_LETTERS,
    **PLANTED_IN_PAUSING,
    **PLANTED_IN_TASKS,
    **PLANTED_IN_TOOLS,
    **PLANTED_IN_TRIGGERS,
    **PLANTED_IN_TURNS,
    **PLANTED_IN_VERSIONS,
    **PLANTED_IN_USAGE,
    **PLANTED_IN_WAKING,
    **PLANTED_IN_WATCHING,
}
"""Every planted bug by its name on the command line."""
