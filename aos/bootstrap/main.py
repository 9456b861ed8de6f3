"""How is main put together?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property

from aos.bootstrap.app import App
from aos.domain.card import CardKind, CardPolicy
from aos.entrypoints.bus.commands import MainQueue
from aos.entrypoints.bus.requests import RequestQueue
from aos.entrypoints.http.about import ContractRoutes
from aos.entrypoints.http.cards import CardRoutes
from aos.entrypoints.http.conversations import ConversationRoutes
from aos.entrypoints.http.runs import RunBounds, RunRoutes
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.entrypoints.routes import MAIN_ROUTES
from aos.entrypoints.timers import IN_AZURE, ON_A_LAPTOP, Schedules, Ticker
from aos.errors import TransientError
from aos.services.admission import Admissions
from aos.services.catalog.announcing import Announcer
from aos.services.catalog.editor import CardEditor
from aos.services.catalog.publisher import CatalogPublisher, PublishOutcome
from aos.services.mending import Mender
from aos.services.reading import Reading
from aos.services.replies import Replies
from aos.services.waiting import RunWaiters


class MainApp(App):
    """Admits work, answers callers, publishes the catalog, keeps house."""

    routes = MAIN_ROUTES

    @property
    def schedules(self) -> Schedules:
        """When the timers fire."""
        return ON_A_LAPTOP if self.settings.development else IN_AZURE

    @cached_property
    def runs(self) -> RunRoutes:
        """The routes of runs."""
        bounds = self.settings.bounds
        return RunRoutes(
            self._door,
            admissions=self._admissions,
            waiters=self._waiters,
            reading=self._reading,
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
        return ConversationRoutes(self._door, reading=self._reading)

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
            secured=self.settings.auth != "off",
            reply_to=self._reply_entities.names,
        )

    @cached_property
    def requests(self) -> RequestQueue:
        """Messages on `aos-requests`."""
        return RequestQueue(
            self._settling,
            admissions=self._admissions,
            replies=self._replies,
            reply_entities=self._reply_entities,
            max_message_bytes=self.settings.bounds.message_bytes,
            clock=self._world.clock,
            telemetry=self._world.telemetry,
        )

    @cached_property
    def commands(self) -> MainQueue:
        """Messages on `aos-main`."""
        return MainQueue(
            self._settling,
            replies=self._replies,
            waiters=self._waiters,
            publish=self._publish,
        )

    @cached_property
    def catalog_timer(self) -> Ticker:
        """Lists the cards and publishes what changed."""
        return Ticker(
            "publish_catalog", self._publish, telemetry=self._world.telemetry, ready=self._ready
        )

    @cached_property
    def mender_timer(self) -> Ticker:
        """Repeats what somebody failed to do."""

        async def mend() -> None:
            await self._mender.mend()

        return Ticker("mend", mend, telemetry=self._world.telemetry, ready=self._ready)

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
    def _reply_entities(self) -> ReplyEntities:
        return ReplyEntities(self.settings.reply_to)

    @cached_property
    def _policy(self) -> CardPolicy:
        return CardPolicy(
            allowed_models=self.settings.model.allowed,
            bounds=self._limit_bounds,
            mcp_allowed=self.settings.mcp_allowed,
            key_vault_uri=self.settings.key_vault_uri,
        )

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
        return Announcer(bus=world.bus, clock=world.clock, telemetry=world.telemetry)

    @cached_property
    def _admissions(self) -> Admissions:
        world = self._world
        return Admissions(
            requests=world.requests,
            pending=world.pending,
            conversations=world.conversations,
            index=world.index,
            agents=self._agents,
            model=world.model,
            bus=world.bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=world.telemetry,
        )

    @cached_property
    def _waiters(self) -> RunWaiters:
        return RunWaiters(conversations=self._world.conversations, clock=self._world.clock)

    @cached_property
    def _reading(self) -> Reading:
        world = self._world
        return Reading(
            requests=world.requests, conversations=world.conversations, index=world.index
        )

    @cached_property
    def _replies(self) -> Replies:
        world = self._world
        return Replies(
            ledger=world.ledger,
            pending=world.pending,
            bus=world.bus,
            clock=world.clock,
            telemetry=world.telemetry,
            public_url=self.settings.public_url,
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
            telemetry=world.telemetry,
        )

    @property
    def _facts(self) -> Mapping[str, Callable[[], str]]:
        return {"model": self._model_fact}
