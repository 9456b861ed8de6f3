"""How does a Python program hold an agent in its hands?

    agent = LeadershipAgent(agent_id="ceo", purpose="Lead the company", adapter_name="ceo")
    await agent.initialize()
    print(await agent.ask("What should we do first?"))
    await agent.stop()

The objects are hands, not the agent: it lives in AOS, which runs at `url` (`make run` on a
laptop). `initialize()` uploads its card, which is why it needs an admin's key where keys are on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.http import RUN_SECONDS, AosClient
from aos.domain.cards.agent_card import AgentType

Json: TypeAlias = dict[str, Any]

LIVE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.5
MAX_ATTEMPTS = 5


class AgentOperatingSystem:
    """A running AOS. `url` and `key` default to `AOS_URL`, `AOS_KEY`, then to the laptop."""

    def __init__(self, *, url: str | None = None, key: str | None = None) -> None:
        self.client = AosClient(url=url, key=key)

    async def get_status(self) -> Json:
        """Version and environment."""
        return await asyncio.to_thread(self.client.status)

    async def agents(self) -> list[Json]:
        """Every agent with its state."""
        return await asyncio.to_thread(lambda: list(self.client.agents()))


class PurposeDrivenAgent:
    """An agent with a purpose, by its id. What is not given is left as its card has it.

    Fields beyond these (tools, limits, schedules …) are the card's: an admin sets them there, and
    `initialize()` keeps them.
    """

    agent_type: ClassVar[AgentType] = "PurposeDrivenAgent"

    def __init__(
        self,
        *,
        agent_id: str,
        purpose: str,
        purpose_scope: str | None = None,
        adapter_name: str | None = None,
        instructions: str | None = None,
        system: AgentOperatingSystem | None = None,
    ) -> None:
        """`system`: the AOS it lives in, by default the one of `AOS_URL` or of the laptop."""
        self.agent_id = agent_id
        self._said = {
            "purpose": purpose,
            "purpose_scope": purpose_scope,
            "adapter_name": adapter_name,
            "instructions": instructions,
        }
        self._client = (system or AgentOperatingSystem()).client

    def card(self) -> Json:
        """The card as this object says it."""
        said = {name: value for name, value in self._said.items() if value is not None}
        return {
            "agent_id": self.agent_id,
            "agent_type": self.agent_type,
            **said,
            "enabled": True,
        }

    async def initialize(self) -> None:
        """Upload the card, and return when the agent is live, enabled (again).

        A card that is there keeps every field that this object does not name, also one that was
        changed meanwhile. Raises AosClientError: `invalid_card`, `forbidden` …; AosUnreachable.
        """
        digest = await asyncio.to_thread(self._merge, lambda there: there | self.card())
        await self._until_live(digest)

    async def get_status(self) -> Json:
        """The agent as AOS has it: state, errors, digests, its card (GET /api/agents/{id})."""
        return await asyncio.to_thread(self._client.agent, self.agent_id)

    async def ask(
        self,
        message: str,
        *,
        conversation_id: str | None = None,
        timeout_seconds: float = RUN_SECONDS,
    ) -> str:
        """What the agent answers. Raises AosClientError with the run's error if it fails."""
        run = await asyncio.to_thread(
            lambda: self._client.run(
                self.agent_id,
                message,
                conversation_id=conversation_id,
                timeout_seconds=timeout_seconds,
            )
        )
        if run["status"] != "completed":
            raise AosClientError(run.get("error") or _not_completed(run))
        return str(run["output"])

    async def stop(self) -> None:
        """Disable the agent: new runs are refused, running ones end. The card stays."""
        await asyncio.to_thread(self._merge, lambda there: there | {"enabled": False})

    def _merge(self, change: Callable[[Json], Json]) -> str:
        """Change the card as it lies there; the digest of what was written, or stands already.

        Read again when somebody else wrote first, or when the answer to our own write was lost.
        """
        attempt = 1
        while True:
            there = self._read()
            card = _uploaded(there)
            wanted = change(card)
            if wanted == card:
                return str(there["digest"])
            try:
                etag = there.get("source_etag")
                put = self._client.put_agent(
                    self.agent_id, wanted, if_match=etag, only_new=etag is None
                )
            except AosClientError as error:
                lost = error.code == "precondition_failed" or isinstance(error, AosUnreachable)
                if not lost or attempt == MAX_ATTEMPTS:
                    raise
                attempt += 1
            else:
                return str(put["digest"])

    def _read(self) -> Json:
        """The agent as AOS has it, {} if there is none."""
        try:
            return self._client.agent(self.agent_id)
        except AosClientError as error:
            if error.code in ("agent_not_found", "agent_removed"):
                return {}
            raise

    async def _until_live(self, digest: str) -> None:
        """PUT publishes at once; where another main does it, its timer may take some seconds."""
        end = time.monotonic() + LIVE_SECONDS
        while True:
            status = await self.get_status()
            if status.get("digest") != digest:
                return  # somebody uploaded another card meanwhile: theirs is what stands now
            if status.get("serving_digest") == digest and status.get("state") == "active":
                return
            if time.monotonic() > end:
                message = f"{self.agent_id!r} is not live after {LIVE_SECONDS:g} s: {status!r}"
                raise AosClientError({"code": "unavailable", "message": message})
            await asyncio.sleep(LOOK_EVERY_SECONDS)


class LeadershipAgent(PurposeDrivenAgent):
    """An agent that decides: its instructions hold rules for decisions."""

    agent_type: ClassVar[AgentType] = "LeadershipAgent"


AGENT_CLASSES: Mapping[AgentType, type[PurposeDrivenAgent]] = {
    kind.agent_type: kind for kind in (PurposeDrivenAgent, LeadershipAgent)
}
"""The class of each `agent_type`; `aos.domain.cards.agent_card` says how a type behaves."""


def _uploaded(there: Json) -> Json:
    """The card to build on: as uploaded, or, where that is no JSON object, the one that serves."""
    return dict(there.get("card") or there.get("serving") or {})


def _not_completed(run: Mapping[str, Any]) -> Json:
    """The error of a run that has none: it was cancelled, or it still goes on."""
    message = f"the run {run.get('run_id')!r} is {run.get('status')}; AosClient.wait awaits its end"
    return {"code": "unavailable", "message": message, "type": "retry", "retryable": True}
