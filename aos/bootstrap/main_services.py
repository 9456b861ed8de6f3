"""Which services and entry points make main?"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

from aos.bootstrap.parts import card_policy, catalog_reader, settling
from aos.bootstrap.world import World
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.entrypoints.bus.commands import MainQueue
from aos.entrypoints.bus.requests import RequestQueue
from aos.entrypoints.bus.settling import Settling
from aos.entrypoints.http.about import ContractRoutes
from aos.entrypoints.http.calls import Door
from aos.entrypoints.http.cards import CardRoutes
from aos.entrypoints.http.conversations import ConversationRoutes
from aos.entrypoints.http.runs import RunBounds, RunRoutes
from aos.entrypoints.http.tools import ToolRoutes
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.entrypoints.timers import Ticker
from aos.errors import TransientError
from aos.ports.telemetry import Telemetry
from aos.services.admission import Admissions, Delegations
from aos.services.approvals import Approvals
from aos.services.catalog.announcing import Announcer
from aos.services.catalog.editor import CardEditor
from aos.services.catalog.publisher import CatalogPublisher, PublishOutcome
from aos.services.catalog.reader import CatalogReader
from aos.services.listing_tools import ListedTools
from aos.services.mending import Mender
from aos.services.replies import Replies
from aos.services.runs import RunReader
from aos.settings import Settings

NOTHING_KNOWN: Mapping[str, Any] = {"catalog_version": None, "agents": None}


class MainServices:
    """The parts of main, each made when it is first used."""

    def __init__(
        self,
        settings: Settings,
        *,
        world: World,
        telemetry: Telemetry,
        door: Door,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._world = world
        self._telemetry = telemetry
        self._door = door
        self._ready = ready

    def known_of_the_catalog(self) -> Mapping[str, Any]:
        """The catalog as this process last saw it, without asking."""
        index = self._agents.known
        if index is None:
            return NOTHING_KNOWN
        states = Counter(str(entry.state) for _, entry in index.list_kind(CardKind.AGENT))
        agents = {state: states[state] for state in ("active", "disabled", "rejected")}
        return {"catalog_version": index.version, "agents": agents}

    @cached_property
    def runs(self) -> RunRoutes:
        """The routes of runs."""
        bounds = self._settings.bounds
        return RunRoutes(
            self._door,
            admissions=self._admissions,
            runs=self._runs,
            reply_entities=self._reply_entities,
            bounds=RunBounds(
                message_bytes=bounds.message_bytes,
                body_bytes=bounds.http_body_bytes,
                wait_seconds=float(bounds.wait_seconds),
            ),
            clock=self._world.clock,
        )

    @cached_property
    def conversations(self) -> ConversationRoutes:
        """The routes of conversations."""
        return ConversationRoutes(self._door, runs=self._runs)

    @cached_property
    def tools(self) -> ToolRoutes:
        """The routes of tools and approvals."""
        return ToolRoutes(
            self._door,
            listed=ListedTools(self._world.tools),
            approvals=self._approvals,
            max_body_bytes=self._settings.bounds.http_body_bytes,
        )

    @cached_property
    def agents(self) -> CardRoutes:
        """The routes of agent cards."""
        return self._cards(CardKind.AGENT)

    @cached_property
    def mcp_servers(self) -> CardRoutes:
        """The routes of MCP server cards."""
        return self._cards(CardKind.MCP_SERVER)

    @cached_property
    def contract(self) -> ContractRoutes:
        """OpenAPI document, schemas, and the answer for everything else."""
        return ContractRoutes(
            self._door,
            auth=self._settings.auth,
            reply_to=self._reply_entities.names,
        )

    @cached_property
    def requests(self) -> RequestQueue:
        """Messages on `aos-requests`."""
        return RequestQueue(
            self._settling,
            admissions=self._admissions,
            approvals=self._approvals,
            replies=self._replies,
            reply_entities=self._reply_entities,
            max_message_bytes=self._settings.bounds.message_bytes,
            clock=self._world.clock,
            telemetry=self._telemetry,
        )

    @cached_property
    def commands(self) -> MainQueue:
        """Messages on `aos-main`."""
        return MainQueue(
            self._settling,
            bus=self._world.bus,
            replies=self._replies,
            delegations=self._delegations,
            runs=self._runs,
            publish=self._publish,
        )

    @cached_property
    def catalog_timer(self) -> Ticker:
        """Lists the cards and publishes what changed."""
        return Ticker(
            "publish_catalog", self._publish, telemetry=self._telemetry, ready=self._ready
        )

    @cached_property
    def mender_timer(self) -> Ticker:
        """Repeats what somebody failed to do."""

        async def mend() -> None:
            await self._mender.mend()

        return Ticker("mend", mend, telemetry=self._telemetry, ready=self._ready)

    async def _publish(self) -> None:
        await self._published(await self._publisher.publish())

    async def _published(self, outcome: PublishOutcome) -> None:
        """What this process published, it serves at once."""
        await self._announcer.tell(outcome)
        if outcome.published or self._agents.known is None:
            with contextlib.suppress(TransientError):
                await self._agents.at_least(outcome.version)

    def _cards(self, kind: CardKind) -> CardRoutes:
        return CardRoutes(self._door, kind=kind, editor=self._editor, published=self._published)

    @cached_property
    def _agents(self) -> CatalogReader:
        return catalog_reader(self._settings, self._world)

    @cached_property
    def _settling(self) -> Settling:
        return settling(self._world, telemetry=self._telemetry, ready=self._ready)

    @cached_property
    def _reply_entities(self) -> ReplyEntities:
        return ReplyEntities(self._settings.reply_to)

    @cached_property
    def _policy(self) -> CardPolicy:
        return card_policy(self._settings)

    @cached_property
    def _publisher(self) -> CatalogPublisher:
        world = self._world
        return CatalogPublisher(
            config=world.config, data=world.data, clock=world.clock, policy=self._policy
        )

    @cached_property
    def _editor(self) -> CardEditor:
        world = self._world
        return CardEditor(
            config=world.config,
            data=world.data,
            publisher=self._publisher,
            clock=world.clock,
            policy=self._policy,
        )

    @cached_property
    def _announcer(self) -> Announcer:
        world = self._world
        return Announcer(bus=world.bus, clock=world.clock, telemetry=self._telemetry)

    @cached_property
    def _admissions(self) -> Admissions:
        world = self._world
        return Admissions(
            runs=self._runs,
            requests=world.requests,
            pending=world.pending,
            conversations=world.conversations,
            index=world.index,
            agents=self._agents,
            model=world.model,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=self._telemetry,
        )

    @cached_property
    def _delegations(self) -> Delegations:
        world = self._world
        return Delegations(
            self._admissions, runs=self._runs, requests=world.requests, bus=world.bus
        )

    @cached_property
    def _approvals(self) -> Approvals:
        world = self._world
        return Approvals(
            decisions=world.decisions,
            runs=self._runs,
            pending=world.pending,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
        )

    @cached_property
    def _runs(self) -> RunReader:
        world = self._world
        return RunReader(
            requests=world.requests,
            conversations=world.conversations,
            index=world.index,
            clock=world.clock,
        )

    @cached_property
    def _replies(self) -> Replies:
        world = self._world
        return Replies(
            ledger=world.ledger,
            index=world.index,
            pending=world.pending,
            bus=world.bus,
            clock=world.clock,
            telemetry=self._telemetry,
            public_url=self._settings.public_url,
        )

    @cached_property
    def _mender(self) -> Mender:
        world = self._world
        return Mender(
            requests=world.requests,
            pending=world.pending,
            conversations=world.conversations,
            index=world.index,
            deliver=self._replies.deliver,
            bus=world.bus,
            clock=world.clock,
            telemetry=self._telemetry,
        )
