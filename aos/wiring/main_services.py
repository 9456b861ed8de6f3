"""Makes the services of main from its world. Entry point: `MainServices`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import TransientError
from aos.ports.telemetry import Telemetry
from aos.services.added_items import ConversationItems
from aos.services.admission import (
    AdmissionBudgets,
    Admissions,
    Delegations,
    EventRuns,
    Replays,
    ScheduledRuns,
    Turnstile,
)
from aos.services.approvals import Approvals
from aos.services.bookkeeping import Bookkeeping
from aos.services.catalog.announcer import Announcer
from aos.services.catalog.editor import CardEditor
from aos.services.catalog.pause_switch import PauseSwitch
from aos.services.catalog.publisher import CatalogPublisher, PublishOutcome
from aos.services.cleaner import Cleaner
from aos.services.dead_letters import DeadLetters, QueueRequests
from aos.services.deletions import ConversationDeletions
from aos.services.forgotten_letters import ForgottenLetters
from aos.services.mender import Mender
from aos.services.model_sight import ModelSight
from aos.services.notifications import Notifications
from aos.services.pushes import PushNotifications
from aos.services.questions import ToolQuestions
from aos.services.replies import Replies
from aos.services.run_events import RunEvents
from aos.services.runs import RunReader
from aos.services.transcripts import Transcripts
from aos.services.usage import UsageReports
from aos.services.waking import Waker
from aos.settings import Settings
from aos.wiring.app_services import AppServices
from aos.wiring.world import World

LATE_SECONDS = 30.0
"""How much later than its period a listing of the cards may end."""
NOTHING_KNOWN: Mapping[str, Any] = {"catalog_version": None, "agents": None}


class MainServices(AppServices):
    """The services of main, each made when it is first used."""

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        telemetry: Telemetry,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """`pause` waits while a batch is gathered, less if the process ends."""
        super().__init__(settings, world=world, telemetry=telemetry)
        self._pause = pause

    def describe_catalog(self) -> Mapping[str, Any]:
        """The catalog as this process last saw it, without asking."""
        index = self.catalog.known
        if index is None:
            return NOTHING_KNOWN
        states = Counter(str(entry.state) for _, entry in index.list_kind(CardKind.AGENT))
        agents = {state: states[state] for state in ("active", "disabled", "rejected")}
        return {"catalog_version": index.version, "agents": agents}

    async def publish(self) -> None:
        """List the cards, publish what changed, and serve it at once."""
        await self.follow_publication(await self.publisher.publish())

    async def follow_publication(self, outcome: PublishOutcome) -> None:
        """Announce a publication of this process, and serve it at once.

        Callers that shared the publication wait for the reading too, before they answer.
        """
        await self._announcer.announce(outcome)
        known = self.catalog.known
        if known is None or known.version < outcome.version:
            with contextlib.suppress(TransientError):
                await self.catalog.read_at_least(outcome.version)
        self.catalog.confirm(outcome.version)

    @cached_property
    def publisher(self) -> CatalogPublisher:
        """Publishes the cards."""
        world = self._world
        return CatalogPublisher(
            config=world.config,
            data=world.data,
            clock=world.clock,
            policy=self._policy,
            tools=world.tools,
        )

    @cached_property
    def editor(self) -> CardEditor:
        """Changes one card and publishes it."""
        world = self._world
        return CardEditor(
            config=world.config,
            data=world.data,
            publisher=self.publisher,
            clock=world.clock,
            policy=self._policy,
        )

    @cached_property
    def _announcer(self) -> Announcer:
        world = self._world
        return Announcer(bus=world.bus, clock=world.clock, telemetry=self._telemetry)

    @cached_property
    def admissions(self) -> Admissions:
        """Admits runs."""
        world = self._world
        return Admissions(
            runs=self.runs,
            requests=world.requests,
            turnstile=Turnstile(
                slots=world.slots,
                requests=world.requests,
                conversations=world.conversations,
                clock=world.clock,
            ),
            budgets=AdmissionBudgets(
                spending=world.spending,
                clock=world.clock,
                owner_tokens=self._settings.spending.owner_tokens_per_day,
            ),
            pending=world.pending,
            conversations=world.conversations,
            list_run=self.books.list_run,
            remove_row=self.books.remove_row,
            due=world.due,
            agents=self.catalog,
            model=world.model,
            pause=self.pause_switch,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
            vision=self._settings.vision,
        )

    @cached_property
    def pause_switch(self) -> PauseSwitch:
        """Pauses and resumes AOS."""
        world = self._world
        return PauseSwitch(
            world.data, self.catalog, world.clock, held_by_setting=self._settings.paused
        )

    @cached_property
    def delegations(self) -> Delegations:
        """Admits the runs that agents ask for."""
        world = self._world
        return Delegations(self.admissions, runs=self.runs, requests=world.requests, bus=world.bus)

    @cached_property
    def replays(self) -> Replays:
        """Asks ended runs again."""
        return Replays(self.admissions, runs=self.runs)

    @cached_property
    def scheduled_runs(self) -> ScheduledRuns:
        """Admits the runs that schedules start."""
        world = self._world
        return ScheduledRuns(
            self.admissions,
            agents=self.catalog,
            waking=self.catalog,
            watermarks=world.watermarks,
            clock=world.clock,
            telemetry=self._telemetry,
            idle_seconds=self._settings.timers.catalog_seconds + LATE_SECONDS,
        )

    @cached_property
    def event_runs(self) -> EventRuns:
        """Admits the runs that events start."""
        return EventRuns(
            self.admissions,
            agents=self.catalog,
            waking=self.catalog,
            telemetry=self._telemetry,
            max_message_bytes=self._settings.bounds.message_bytes,
        )

    @cached_property
    def approvals(self) -> Approvals:
        """Lists and takes decisions about tool calls."""
        world = self._world
        return Approvals(
            world.decisions, runs=self.runs, waker=self.waker, clock=world.clock, ids=world.ids
        )

    @cached_property
    def questions(self) -> ToolQuestions:
        """Lists and takes answers to the questions of tools."""
        world = self._world
        return ToolQuestions(
            world.questions, runs=self.runs, waker=self.waker, clock=world.clock, ids=world.ids
        )

    @cached_property
    def waker(self) -> Waker:
        """Wakes conversations after people answered."""
        world = self._world
        return Waker(bus=world.bus, pending=world.pending, clock=world.clock)

    @cached_property
    def run_events(self) -> RunEvents:
        """Reads the events of runs."""
        world = self._world
        return RunEvents(
            store=world.run_events,
            conversations=world.conversations,
            bus=world.bus,
            clock=world.clock,
        )

    @cached_property
    def runs(self) -> RunReader:
        """Finds, lists and waits for runs."""
        world = self._world
        return RunReader(
            requests=world.requests,
            conversations=world.conversations,
            index=world.index,
            write_lists=self.books.write_lists,
            clock=world.clock,
            see=self.model_sight.see,
        )

    @cached_property
    def model_sight(self) -> ModelSight:
        """Knows what keeps the model from answering."""
        return ModelSight(clock=self._world.clock)

    @cached_property
    def books(self) -> Bookkeeping:
        """Writes lists, usage and removals in batches."""
        world = self._world
        return Bookkeeping(
            index=world.index,
            ledger=world.ledger,
            pending=world.pending,
            bus=world.bus,
            pause=self._pause,
            telemetry=self._telemetry,
        )

    @cached_property
    def cleaner(self) -> Cleaner:
        """Removes what is old."""
        world = self._world
        return Cleaner(
            due=world.due,
            rows=world.cleaner,
            requests=world.requests,
            conversations=world.conversations,
            deletions=self.deletions,
            letters=self.forgotten_letters,
            logs=world.logs,
            read_ages=self.catalog.read_ages,
            items=self.items,
            clock=world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def forgotten_letters(self) -> ForgottenLetters:
        """Removes dead letters of deleted conversations."""
        from aos.entrypoints.bus.request_messages import RequestSenders

        world = self._world
        return ForgottenLetters(
            queues=world.dead_letters,
            failures=world.failures,
            requests=world.requests,
            conversations=world.conversations,
            senders=RequestSenders(),
            telemetry=self._telemetry,
        )

    @cached_property
    def items(self) -> ConversationItems:
        """Keeps what callers add to conversations without asking."""
        world = self._world
        return ConversationItems(
            data=world.data,
            requests=world.requests,
            conversations=world.conversations,
            due=world.due,
            clock=world.clock,
        )

    @cached_property
    def deletions(self) -> ConversationDeletions:
        """Has conversations deleted."""
        world = self._world
        return ConversationDeletions(
            runs=self.runs,
            due=world.due,
            drop_items=self.items.drop,
            bus=world.bus,
            clock=world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def replies(self) -> Replies:
        """Delivers the ends of runs."""
        world = self._world
        return Replies(
            ledger=world.ledger,
            books=self.books,
            requests=world.requests,
            bus=world.bus,
            clock=world.clock,
            order_transcript=self.transcripts.order,
            has_receivers=self.pushes.has_receivers,
            public_url=self._settings.public_url,
        )

    @cached_property
    def transcripts(self) -> Transcripts:
        """Keeps transcripts of runs."""
        world = self._world
        return Transcripts(
            jobs=world.jobs,
            logs=world.logs,
            conversations=world.conversations,
            requests=world.requests,
            due=world.due,
            days=self._settings.transcripts.days,
        )

    @cached_property
    def pushes(self) -> PushNotifications:
        """Keeps and tells the receivers of push notifications of A2A tasks."""
        from aos.entrypoints.http.a2a.tasks import describe_push

        world = self._world
        return PushNotifications(
            store=world.pushes,
            runs=self.runs,
            describe=describe_push,
            listed_hosts=self._settings.webhooks.hosts,
            bus=world.bus,
            clock=world.clock,
        )

    @cached_property
    def notifications(self) -> Notifications:
        """Tells receivers outside of AOS of the events of runs."""
        world = self._world
        assert world.webhooks is not None
        return Notifications(
            client=world.webhooks,
            pushes=self.pushes,
            secrets=self._settings.webhooks.secrets,
            listed_hosts=self._settings.webhooks.hosts,
            conversations=world.conversations,
            requests=world.requests,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
            public_url=self._settings.public_url,
        )

    @cached_property
    def mender(self) -> Mender:
        """Repeats the steps that are missing from runs."""
        world = self._world
        return Mender(
            requests=world.requests,
            pending=world.pending,
            conversations=world.conversations,
            list_run=self.books.list_run,
            deliver=self.replies.mend,
            bus=world.bus,
            clock=world.clock,
            telemetry=self._telemetry,
            see=self.model_sight.see,
        )

    @cached_property
    def usage(self) -> UsageReports:
        """Sums what was used."""
        return UsageReports(
            usage=self._world.usage,
            write_ends=self.books.write_lists,
            prices=self._settings.spending.prices,
            clock=self._world.clock,
        )

    def make_dead_letters(self, queue_requests: QueueRequests) -> DeadLetters:
        """Lists, replays and announces dead letters."""
        world = self._world

        async def repeat(request: AdmittedRequest, run: Run, key: str) -> str:
            return (await self.replays.repeat(request, run, key=key)).run.run_id

        return DeadLetters(
            queues=world.dead_letters,
            failures=world.failures,
            requests=world.requests,
            conversations=world.conversations,
            queue_requests=queue_requests,
            forgotten=self.forgotten_letters,
            repeat=repeat,
            bus=world.bus,
            clock=world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def _policy(self) -> CardPolicy:
        return self._settings.card_policy
