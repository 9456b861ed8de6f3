"""Wires main, which admits work, answers callers and publishes the catalog. Entry point: `Main`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aos.entrypoints.routes import MAIN_ROUTES
from aos.entrypoints.timers import SharedTimer, Ticker, schedule_every
from aos.wiring.every_app import App

if TYPE_CHECKING:
    from aos.domain.cards.identity import CardKind
    from aos.entrypoints.bus.agent_events import AgentEvents
    from aos.entrypoints.bus.commands import MainQueue
    from aos.entrypoints.bus.requests import RequestQueue
    from aos.entrypoints.http.a2a.routes import A2aRoutes
    from aos.entrypoints.http.about import ContractRoutes
    from aos.entrypoints.http.ag_ui.routes import AgUiRoutes
    from aos.entrypoints.http.agent_tools.routes import AgentToolRoutes
    from aos.entrypoints.http.caller_runs import CallerRuns
    from aos.entrypoints.http.cards import CardRoutes
    from aos.entrypoints.http.console.routes import ConsoleRoutes
    from aos.entrypoints.http.conversations import ConversationRoutes
    from aos.entrypoints.http.dead_letters import DeadLetterRoutes
    from aos.entrypoints.http.openai.door import OpenAIDoor
    from aos.entrypoints.http.operations import OperationRoutes
    from aos.entrypoints.http.questions import QuestionRoutes
    from aos.entrypoints.http.replays import ReplayRoutes
    from aos.entrypoints.http.run_events import RunEventRoutes
    from aos.entrypoints.http.runs import RunRoutes
    from aos.entrypoints.http.tools import ToolRoutes
    from aos.entrypoints.http.usage import UsageRoutes
    from aos.entrypoints.jobs import Jobs
    from aos.entrypoints.reply_addresses import ReplyEntities
    from aos.ports.dead_letters import FailureStore
    from aos.ports.pause import PauseState
    from aos.services.dead_letters import DeadLetters
    from aos.wiring.main_services import MainServices

ENTITIES = (
    "aos-requests",
    "aos-main",
    "aos-realm",
    "aos-mcp",
    "agent-events/Subscriptions/wake",
    "system-events/Subscriptions/mcp",
)
"""The queues and subscriptions of AOS. Written out: their constants stand in modules that
`GET /api/status` must not wait for."""
PAUSE_DELAY = timedelta(seconds=28)
"""How long a request on the queue waits before it is tried again in a pause. With the two seconds
for which a catalog's head is trusted, it is served within 30 s after the resume."""
PAUSE_DELAY_ON_A_LAPTOP = timedelta(seconds=3)


class Main(App):
    """The app main; the triggers of `function_app.py` call it."""

    name = "main"
    routes = MAIN_ROUTES
    streams = True
    """Whether an answer can be sent in pieces; `aos.bootstrap.main_app` knows."""
    modules = (
        "aos.services.depths",
        "aos.wiring.main_services",
        "aos.entrypoints.bus.agent_events",
        "aos.entrypoints.bus.commands",
        "aos.entrypoints.bus.requests",
        "aos.entrypoints.jobs",
        "aos.entrypoints.http.ag_ui.routes",
        "aos.entrypoints.http.agent_tools.routes",
        "aos.entrypoints.http.caller_runs",
        "aos.entrypoints.http.a2a.push_configs",
        "aos.entrypoints.http.a2a.requests",
        "aos.entrypoints.http.a2a.routes",
        "aos.entrypoints.http.cards",
        "aos.entrypoints.http.conversations",
        "aos.entrypoints.bus.dead_requests",
        "aos.entrypoints.http.console.routes",
        "aos.entrypoints.http.dead_letters",
        "aos.entrypoints.http.replays",
        "aos.wiring.openai_door",
        "aos.entrypoints.http.operations",
        "aos.entrypoints.http.questions",
        "aos.entrypoints.http.run_events",
        "aos.entrypoints.http.runs",
        "aos.entrypoints.http.tools",
        "aos.entrypoints.http.usage",
        "aos.entrypoints.requests",  # ours, but pydantic stands behind them
        "aos.domain.cards.error_texts",
    )

    @property
    def catalog_schedule(self) -> str:
        """When to list the cards, which finds changes without an event."""
        return schedule_every(self.settings.timers.catalog_seconds)

    @property
    def mender_schedule(self) -> str:
        """When to look for runs whose next step may be missing, for schedules of agents, and for
        what is old: the shortest of their periods."""
        timers = self.settings.timers
        seconds = min(timers.mender_seconds, timers.wake_seconds, timers.clean_seconds)
        return schedule_every(seconds)

    @cached_property
    def runs(self) -> RunRoutes:
        """The routes of runs."""
        from aos.entrypoints.http.runs import RunRoutes

        return RunRoutes(
            self._responder,
            callers=self.caller_runs,
            runs=self.services.runs,
            streams=self.streams,
            reply_entities=self._reply_entities,
            policy=self.settings.card_policy,
            clock=self.world.clock,
        )

    @cached_property
    def caller_runs(self) -> CallerRuns:
        """What every door does for a caller."""
        from aos.entrypoints.http.caller_runs import CallerRuns, RunBounds

        bounds, services = self.settings.bounds, self.services
        return CallerRuns(
            admissions=services.admissions,
            runs=services.runs,
            events=services.run_events,
            approvals=services.approvals,
            questions=services.questions,
            deletions=services.deletions,
            bounds=RunBounds(
                message_bytes=bounds.message_bytes,
                part_bytes=bounds.part_bytes,
                body_bytes=bounds.http_body_bytes,
                wait_seconds=float(bounds.wait_seconds),
            ),
            clock=self.world.clock,
            drain=self.drain,
        )

    @cached_property
    def run_events(self) -> RunEventRoutes:
        """The routes of runs' events."""
        from aos.entrypoints.http.run_events import RunEventRoutes

        return RunEventRoutes(self._responder, callers=self.caller_runs, streams=self.streams)

    @cached_property
    def ag_ui(self) -> AgUiRoutes:
        """The door for clients of AG-UI."""
        from aos.entrypoints.http.ag_ui.routes import AgUiRoutes

        return AgUiRoutes(self._responder, callers=self.caller_runs, streams=self.streams)

    @cached_property
    def agent_tools(self) -> AgentToolRoutes:
        """The door for clients of MCP."""
        from aos.entrypoints.http.agent_tools.routes import AgentToolRoutes

        return AgentToolRoutes(
            self._responder,
            callers=self.caller_runs,
            agents=self.services.catalog,
            clock=self.world.clock,
            streams=self.streams,
        )

    @cached_property
    def replays(self) -> ReplayRoutes:
        """The routes that replay runs."""
        from aos.entrypoints.http.replays import ReplayRoutes

        return ReplayRoutes(self._responder, replays=self.services.replays, clock=self.world.clock)

    @cached_property
    def conversations(self) -> ConversationRoutes:
        """The routes of conversations."""
        from aos.entrypoints.http.conversations import ConversationRoutes

        return ConversationRoutes(
            self._responder, runs=self.services.runs, deletions=self.services.deletions
        )

    @cached_property
    def tools(self) -> ToolRoutes:
        """The routes of tools and approvals."""
        from aos.entrypoints.http.tools import ToolRoutes

        return ToolRoutes(
            self._responder,
            catalog=self.world.tools,
            approvals=self.services.approvals,
            max_body_bytes=self.settings.bounds.http_body_bytes,
        )

    @cached_property
    def questions(self) -> QuestionRoutes:
        """The routes of the questions of tools."""
        from aos.entrypoints.http.questions import QuestionRoutes

        return QuestionRoutes(
            self._responder,
            questions=self.services.questions,
            max_body_bytes=self.settings.bounds.http_body_bytes,
        )

    @cached_property
    def agents(self) -> CardRoutes:
        """The routes of agent cards."""
        from aos.domain.cards.identity import CardKind

        return self._card_routes(CardKind.AGENT)

    @cached_property
    def mcp_servers(self) -> CardRoutes:
        """The routes of MCP server cards."""
        from aos.domain.cards.identity import CardKind

        return self._card_routes(CardKind.MCP_SERVER)

    @cached_property
    def operations(self) -> OperationRoutes:
        """The routes that pause and resume AOS."""
        from aos.entrypoints.http.operations import OperationRoutes

        return OperationRoutes(self._responder, switch=self.services.pause_switch)

    @cached_property
    def dead_letters(self) -> DeadLetterRoutes:
        """The routes of dead letters."""
        from aos.entrypoints.http.dead_letters import DeadLetterRoutes

        return DeadLetterRoutes(self._responder, dead_letters=self.dead_letter_service)

    @cached_property
    def a2a(self) -> A2aRoutes:
        """The routes of A2A."""
        from aos.entrypoints.http.a2a.card import CardFacts
        from aos.entrypoints.http.a2a.messages import TaskMessages
        from aos.entrypoints.http.a2a.operations import A2aOperations
        from aos.entrypoints.http.a2a.push_configs import A2aPushConfigs
        from aos.entrypoints.http.a2a.routes import A2aRoutes

        settings, services, signs = (
            self.settings,
            self.services,
            bool(self.settings.webhooks.secrets),
        )
        pushes = A2aPushConfigs(
            pushes=services.pushes, signs=signs, clock=self.world.clock, ids=self.world.ids
        )
        messages = TaskMessages(callers=self.caller_runs, pushes=pushes)
        return A2aRoutes(
            self._responder,
            operations=A2aOperations(
                callers=self.caller_runs, agents=services.catalog, messages=messages
            ),
            messages=messages,
            pushes=pushes,
            facts=CardFacts(
                public_url=settings.public_url,
                auth=settings.auth,
                streams=self.streams,
                pushes=signs,
                vision=settings.vision,
            ),
            max_body_bytes=settings.bounds.http_body_bytes,
        )

    @cached_property
    def usage(self) -> UsageRoutes:
        """The route of usage."""
        from aos.entrypoints.http.usage import UsageRoutes

        return UsageRoutes(self._responder, reports=self.services.usage)

    @cached_property
    def console(self) -> ConsoleRoutes:
        """The console's page."""
        from aos.entrypoints.http.console.routes import ConsoleRoutes

        return ConsoleRoutes(self._responder, signs_in=self.settings.auth == "easyauth")

    @cached_property
    def openai(self) -> OpenAIDoor:
        """The door for clients of OpenAI's API."""
        from aos.wiring.openai_door import make_openai_door

        return make_openai_door(
            self._responder,
            callers=self.caller_runs,
            services=self.services,
            world=self.world,
            streams=self.streams,
            max_body_bytes=self.settings.bounds.http_body_bytes,
        )

    @cached_property
    def contract(self) -> ContractRoutes:
        """OpenAPI document, schemas, and the answer for everything else."""
        from aos.entrypoints.http.about import ContractRoutes

        return ContractRoutes(
            self._responder, auth=self.settings.auth, reply_to=self._reply_entities.names
        )

    @cached_property
    def requests(self) -> RequestQueue:
        """Messages on `aos-requests`."""
        from aos.entrypoints.bus.requests import RequestQueue
        from aos.entrypoints.bus.senders import SenderRights

        return RequestQueue(
            self._settling,
            admissions=self.services.admissions,
            approvals=self.services.approvals,
            questions=self.services.questions,
            replies=self.services.replies,
            reply_entities=self._reply_entities,
            rights=SenderRights(self.settings.queue_may_act_for),
            max_message_bytes=self.settings.bounds.message_bytes,
            max_part_bytes=self.settings.bounds.part_bytes,
            pause_delay=self._pause_delay,
            bus=self.world.bus,
            policy=self.settings.card_policy,
            clock=self.world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def commands(self) -> MainQueue:
        """Messages on `aos-main`."""
        from aos.entrypoints.bus.commands import MainQueue

        return MainQueue(
            self._settling,
            bus=self.world.bus,
            replies=self.services.replies,
            delegations=self.services.delegations,
            notifications=self.services.notifications,
            runs=self.services.runs,
            run_events=self.services.run_events,
            publish=self.services.publish,
            events=self.agent_events,
        )

    @cached_property
    def agent_events(self) -> AgentEvents:
        """Events from outside on `agent-events`."""
        from aos.entrypoints.bus.agent_events import AgentEvents

        return AgentEvents(
            self._settling,
            events=self.services.event_runs,
            reply_entities=self._reply_entities,
            bus=self.world.bus,
            clock=self.world.clock,
            pause_delay=self._pause_delay,
            telemetry=self._telemetry,
        )

    @cached_property
    def jobs(self) -> Jobs:
        """Messages on the storage queue `aos-jobs`."""
        from aos.entrypoints.jobs import Jobs

        return Jobs(self.services.transcripts, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def housekeeping(self) -> SharedTimer:
        """Repeats the steps that are missing from runs, starts the runs that are due, announces new
        dead letters, and removes what is old."""
        timers = self.settings.timers
        return SharedTimer(
            {
                self.mender_timer: timers.mender_seconds,
                self.wake_timer: timers.wake_seconds,
                # Looks of seconds: beside the catalog's timer they would delay an upload.
                self.dead_letter_timer: timers.catalog_seconds,
                self.clean_timer: timers.clean_seconds,
            },
            clock=self.world.clock,
        )

    @cached_property
    def catalog_timer(self) -> Ticker:
        """Lists the cards and publishes what changed."""
        publish = self.services.publish
        return Ticker("publish_catalog", publish, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def mender_timer(self) -> Ticker:
        """Repeats the steps that are missing from runs."""

        async def mend() -> None:
            await self.services.mender.mend()

        return Ticker("mend", mend, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def wake_timer(self) -> Ticker:
        """Starts the runs of agents whose schedules are due."""

        async def wake() -> None:
            await self.services.scheduled_runs.wake()

        return Ticker("wake", wake, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def dead_letter_timer(self) -> Ticker:
        """Announces new dead letters."""

        async def watch() -> None:
            await self.dead_letter_service.watch()

        return Ticker("watch_dead_letters", watch, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def dead_letter_service(self) -> DeadLetters:
        """Lists, replays and announces dead letters."""
        from aos.entrypoints.bus.dead_requests import DeadRequests

        return self.services.make_dead_letters(
            DeadRequests(replies=self.services.replies, reply_entities=self._reply_entities)
        )

    @property
    def _failures(self) -> FailureStore:
        return self.world.failures

    @cached_property
    def clean_timer(self) -> Ticker:
        """Removes what is old, and follows up deletions."""

        async def clean() -> None:
            await self.services.cleaner.clean()

        return Ticker("clean", clean, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def services(self) -> MainServices:
        """The services of main."""
        from aos.wiring.main_services import MainServices

        return MainServices(
            self.settings, world=self.world, telemetry=self._telemetry, pause=self.gather_batch
        )

    async def gather_batch(self, seconds: float) -> None:
        """Wait while a batch is gathered; less if the process is told to stop."""
        await self.drain.wait(lambda: self.world.clock.sleep(seconds))

    @cached_property
    def _reply_entities(self) -> ReplyEntities:
        from aos.entrypoints.reply_addresses import ReplyEntities

        return ReplyEntities(self.settings.reply_queues)

    def _card_routes(self, kind: CardKind) -> CardRoutes:
        from aos.entrypoints.http.cards import CardRoutes

        return CardRoutes(
            self._responder,
            kind=kind,
            editor=self.services.editor,
            published=self.services.follow_publication,
        )

    @property
    def _pause_delay(self) -> timedelta:
        return PAUSE_DELAY_ON_A_LAPTOP if self.settings.development else PAUSE_DELAY

    @property
    def _pause_state(self) -> PauseState:
        return self.services.pause_switch

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._describe_trouble}

    def _describe_trouble(self) -> str:
        """Return what kept the model from answering lately, or whether one is configured."""
        seen = self.services.model_sight.trouble if "services" in self.__dict__ else None
        return seen or self._describe_model()

    async def _describe_to_admins(self) -> Mapping[str, Any]:
        queues = await super()._describe_to_admins()
        if "services" not in self.__dict__:  # no trigger has used them, so nothing is known
            return {"catalog_version": None, "agents": None, **queues}
        return {**self.services.describe_catalog(), **queues}

    @property
    def _entities(self) -> tuple[str, ...]:
        return (*ENTITIES, *self.settings.reply_to)
