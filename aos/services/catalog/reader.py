"""Reads the published agents and MCP servers. Entry point: `CatalogReader`.

Main, realm and mcp use it, also as the ports `Agents`, `WakingAgents` and `ServerCards`. It checks
the head at most every two seconds, and at once when a command names a newer version. It fetches a
card when the card is first needed. While storage is away, the known catalog serves.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from aos.domain.cards.agent_card import AgentCard, ToolGrant, agent_card_from_dict
from aos.domain.cards.catalog import CatalogEntry, CatalogIndex
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import LimitBounds
from aos.domain.cards.server_card import McpServerCard, mcp_server_card_from_dict
from aos.domain.pause import Pause
from aos.errors import AosError, Refused, TransientError
from aos.ports.agents import LiveAgent, ScheduledAgent
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.servers import LiveServer
from aos.ports.system import Clock
from aos.services.catalog import storage
from aos.services.catalog.published_catalog import PublishedCatalog

CHECK_EVERY_SECONDS = 2.0
MAX_CARDS_CACHED = 1024


class CatalogReader:
    """The published catalog, as one process sees it."""

    def __init__(
        self,
        data: BlobStore,
        clock: Clock,
        *,
        bounds: LimitBounds | None = None,
        check_every_seconds: float = CHECK_EVERY_SECONDS,
        max_cards_cached: int = MAX_CARDS_CACHED,
    ) -> None:
        self._data = data
        self._clock = clock
        self._bounds = bounds or LimitBounds()
        self._check_every = check_every_seconds
        self._max_cards = max_cards_cached
        self._catalog = PublishedCatalog(data)
        self._checked_at: float | None = None
        self._confirmed_at: float | None = None
        self._checks = 0
        self._lock = asyncio.Lock()
        self._cards: OrderedDict[str, AgentCard | McpServerCard] = OrderedDict()

    async def read_ages(self) -> Mapping[str, int]:
        """Return `memory.ttl_days` of the agents that have it, by agent. Reads storage only if
        nothing is known yet."""
        index = self.known or await self.read()
        agents = index.list_kind(CardKind.AGENT)
        return {agent_id: entry.ttl_days for agent_id, entry in agents if entry.ttl_days}

    @property
    def known(self) -> CatalogIndex | None:
        """The catalog as last read; None before the first read. Does not read storage."""
        return None if self._catalog.known is None else self._catalog.known.index

    @property
    def pause(self) -> Pause | None:
        """The pause as last read with the head. Does not read storage."""
        return None if self._catalog.known is None else self._catalog.known.pause

    async def read_again(self) -> CatalogIndex:
        """The catalog by a check that begins after this call, unless storage is away."""
        return await self._read_after(self._checks)

    async def read(self) -> CatalogIndex:
        """The catalog, at most two seconds old unless storage is away.

        Raises TransientError only when storage is away and no catalog is known.
        """
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    await self._check_head()
        return self._require_known()

    async def read_at_least(self, version: int) -> CatalogIndex:
        """The catalog, read again at once if the known one is older than `version`.

        After a reset versions count from 1 again; then the catalog of now is returned.
        Raises TransientError when storage is away and the known catalog is older.
        """
        known = await self.read()
        if known.version >= version:
            return known
        async with self._lock:
            if self._require_known().version < version:
                self._checks += 1
                snapshot = await self._catalog.refresh()
                self._checked_at = self._clock.monotonic()
                return snapshot.index
        return self._require_known()

    async def version(self) -> int:
        """The version of the catalog; 0 when nothing is published."""
        return (await self.read()).version

    async def find(self, agent_id: str, *, at_least: int = 0) -> LiveAgent:
        """The agent as the catalog has it now; Refused: `agent_not_found`, `agent_removed`.

        An agent that is missing or disabled is looked up in a catalog that was read after the call:
        another process may have answered a moment ago that it is active.
        """
        checks = self._checks
        try:
            live = await self._find(await self.read_at_least(at_least), agent_id)
            if live.state == "active":
                return live
        except Refused:
            if self._checks > checks:
                raise
        return await self._find(await self._read_after(checks), agent_id)

    async def _find(self, index: CatalogIndex, agent_id: str) -> LiveAgent:
        digest = find_agent_digest(index.entry(CardKind.AGENT, agent_id), agent_id)
        card = await self.card(digest)
        return LiveAgent(
            agent_id=agent_id,
            state="active" if card.enabled else "disabled",
            digest=digest,
            card=card,
        )

    async def card(self, digest: str) -> AgentCard:
        """The agent card with this digest, which may be an older one that a run has pinned."""
        cached = self._find_cached(digest)
        if isinstance(cached, AgentCard):
            return cached
        card = agent_card_from_dict(await self._read_body(digest), bounds=self._bounds)
        self._cache(digest, card)
        return card

    async def list_purposes(self, agent_ids: Sequence[str]) -> Mapping[str, str]:
        """The purposes of those agents that may run, by id."""
        index = await self.read()
        found: dict[str, str] = {}
        for agent_id in agent_ids:
            entry = index.entry(CardKind.AGENT, agent_id)
            if entry is not None and entry.serving_digest is not None and entry.enabled:
                found[agent_id] = (await self.card(entry.serving_digest)).purpose
        return found

    async def list_live(self, *, after: str, limit: int) -> list[LiveAgent]:
        """The agents that may run, by id, beginning behind the id `after`."""
        index = await self.read()
        digests = [
            (agent_id, entry.serving_digest)
            for agent_id, entry in sorted(index.list_kind(CardKind.AGENT))
            if agent_id > after and entry.serving_digest is not None and entry.enabled
        ]
        return [
            LiveAgent(
                agent_id=agent_id, state="active", digest=digest, card=await self.card(digest)
            )
            for agent_id, digest in digests[:limit]
        ]

    async def server(self, server_id: str, *, at_least: int = 0) -> McpServerCard:
        """The MCP server that serves now; Refused: `server_not_found`."""
        return await self.server_card(
            find_server_digest(await self.read_at_least(at_least), server_id)
        )

    async def live_server(self, server_id: str) -> LiveServer:
        """The MCP server that serves now, with its digest; Refused: `server_not_found`."""
        digest = find_server_digest(await self.read(), server_id)
        return LiveServer(server_id=server_id, digest=digest, card=await self.server_card(digest))

    async def live_servers(self, *, at_least: int = 0) -> list[LiveServer]:
        """Every MCP server that serves now, by id."""
        index = await self.read_at_least(at_least)
        return [
            LiveServer(
                server_id=server_id,
                digest=entry.serving_digest,
                card=await self.server_card(entry.serving_digest),
            )
            for server_id, entry in index.list_kind(CardKind.MCP_SERVER)
            if entry.serving_digest is not None
        ]

    async def approvals(self, server_id: str) -> tuple[ToolGrant, ...]:
        """The grants of serving agents to this server that need a person's decision."""
        index = await self.read()
        reference = (CardKind.MCP_SERVER, server_id)
        found: list[ToolGrant] = []
        for _, entry in index.list_kind(CardKind.AGENT):
            named = any((r.kind, r.card_id) == reference for r in entry.references)
            if named and entry.serving_digest is not None:
                found += (await self.card(entry.serving_digest)).mcp_tools
        return tuple(
            grant for grant in found if grant.server_id == server_id and grant.approval == "always"
        )

    async def list_scheduled(self, *, max_age_seconds: float) -> list[ScheduledAgent]:
        """The agents that may run and have schedules, by id, of a catalog that may be this old."""
        known = self.known if self._is_younger_than(max_age_seconds) else None
        index = known or await self.read()
        return [
            ScheduledAgent(agent_id=agent_id, digest=entry.serving_digest, since=entry.activated_at)
            for agent_id, entry in index.list_kind(CardKind.AGENT)
            if entry.has_schedules and entry.can_run
            if entry.serving_digest is not None and entry.activated_at is not None
        ]

    async def list_listeners(self, event_type: str) -> list[str]:
        """The agents whose serving card names this type of event, by id, disabled ones too."""
        index = await self.read()
        return [
            agent_id
            for agent_id, entry in index.list_kind(CardKind.AGENT)
            if event_type in entry.event_types and entry.serving_digest is not None
        ]

    def confirm(self, version: int) -> None:
        """Note that this version was current just now: this process's publisher has seen it."""
        known = self.known
        if known is not None and known.version >= version:
            self._confirmed_at = self._clock.monotonic()

    def _is_younger_than(self, seconds: float) -> bool:
        seen = [at for at in (self._checked_at, self._confirmed_at) if at is not None]
        return bool(seen) and self._clock.monotonic() - max(seen) < seconds

    async def serves(self, server_id: str) -> bool:
        """True when an enabled MCP server with this id serves."""
        try:
            return (await self.server(server_id)).enabled
        except Refused:
            return False

    async def server_card(self, digest: str) -> McpServerCard:
        """The MCP server card with this digest."""
        cached = self._find_cached(digest)
        if isinstance(cached, McpServerCard):
            return cached
        card = mcp_server_card_from_dict(await self._read_body(digest))
        self._cache(digest, card)
        return card

    def _is_fresh(self) -> bool:
        checked_at = self._checked_at
        return (
            checked_at is not None
            and self._clock.monotonic() - checked_at < self._check_every
            and self._catalog.known is not None
        )

    async def _read_after(self, checks: int) -> CatalogIndex:
        """The catalog by a check that began after the first `checks` checks. One that failed before
        anything was known does not count."""
        async with self._lock:
            if self._checks <= checks or self._catalog.known is None:
                await self._check_head()
        return self._require_known()

    async def _check_head(self) -> None:
        """Read the head. While storage is away, the known catalog counts as checked."""
        self._checks += 1
        try:
            await self._catalog.refresh()
        except TransientError:
            if self._catalog.known is None:
                raise
        self._checked_at = self._clock.monotonic()

    def _require_known(self) -> CatalogIndex:
        known = self._catalog.known
        assert known is not None
        return known.index

    def _find_cached(self, digest: str) -> AgentCard | McpServerCard | None:
        card = self._cards.get(digest)
        if card is not None:
            self._cards.move_to_end(digest)
        return card

    def _cache(self, digest: str, card: AgentCard | McpServerCard) -> None:
        self._cards[digest] = card
        while len(self._cards) > self._max_cards:
            self._cards.popitem(last=False)

    async def _read_body(self, digest: str) -> dict[str, Any]:
        name = storage.card_body(digest)
        try:
            blob = await self._data.read(name)
        except BlobMissing as error:
            message = f"the published card {name!r} is missing in aos-data; upload the card again"
            raise AosError("internal_error", message) from error
        if hashlib.sha256(blob.body).hexdigest() != digest:
            message = f"the published card {name!r} was altered in aos-data; upload the card again"
            raise AosError("internal_error", message)
        value: dict[str, Any] = json.loads(blob.body.decode("utf-8-sig"))
        return value


def find_server_digest(index: CatalogIndex, server_id: str) -> str:
    """The digest of the MCP server's card that serves; Refused: `server_not_found`."""
    entry = index.entry(CardKind.MCP_SERVER, server_id)
    if entry is None or entry.serving_digest is None:
        raise Refused(
            "server_not_found",
            f"there is no MCP server {server_id!r}; upload mcp-servers/{server_id}.json",
        )
    return entry.serving_digest


def find_agent_digest(entry: CatalogEntry | None, agent_id: str) -> str:
    """The digest of the agent's card that serves; Refused `agent_not_found`, `agent_removed`."""
    if entry is None:
        raise Refused(
            "agent_not_found",
            f"there is no agent {agent_id!r}; upload agents/{agent_id}.json to aos-config",
        )
    if entry.serving_digest is not None:
        return entry.serving_digest
    if entry.state == "removed":
        raise Refused(
            "agent_removed",
            f"the agent {agent_id!r} was removed; upload agents/{agent_id}.json again to restore"
            " it",
        )
    raise Refused(
        "agent_not_found",
        f"the card of agent {agent_id!r} was rejected; status/agents/{agent_id}.json in"
        " aos-config says why",
    )
