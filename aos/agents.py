"""Controls an agent from a Python program. Entry points: `PurposeDrivenAgent`, `LeadershipAgent`.

    agent = LeadershipAgent(agent_id="ceo", purpose="Lead the company", adapter_name="ceo")
    await agent.initialize()
    print(await agent.ask("What should we do first?"))
    await agent.stop()

The object only controls the agent, which runs in AOS at `url` (`make run` on a laptop).
`initialize()` uploads the agent's card, so it needs an admin's key if keys are on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from aos.client.errors import AosClientError, AosUnreachable
from aos.client.http import AosClient
from aos.client.waits import RUN_SECONDS
from aos.domain.cards.agent_card import AgentType

Json: TypeAlias = dict[str, Any]

LIVE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.5
MAX_ATTEMPTS = 5


class AgentOperatingSystem:
    """A running AOS. `url` and `key` default to `AOS_URL` and `AOS_KEY`, then to the laptop's."""

    def __init__(self, *, url: str | None = None, key: str | None = None) -> None:
        self.client = AosClient(url=url, key=key)

    async def get_status(self) -> Json:
        """Return version and environment."""
        return await asyncio.to_thread(self.client.status)

    async def agents(self) -> list[Json]:
        """List all agents with their state."""
        return await asyncio.to_thread(lambda: list(self.client.agents()))


class PurposeDrivenAgent:
    """An agent with a purpose, identified by its id. Arguments that are not given keep the card's
    value.

    An admin sets the card's other fields (tools, limits, schedules …); `initialize()` keeps them.
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
        """`system` is the AOS that the agent runs in; the default is that of `AOS_URL`, or the
        laptop."""
        self.agent_id = agent_id
        self._said = {
            "purpose": purpose,
            "purpose_scope": purpose_scope,
            "adapter_name": adapter_name,
            "instructions": instructions,
        }
        self._client = (system or AgentOperatingSystem()).client

    def card(self) -> Json:
        """Return the card as this object describes it."""
        said = {name: value for name, value in self._said.items() if value is not None}
        return {
            "agent_id": self.agent_id,
            "agent_type": self.agent_type,
            **said,
            "enabled": True,
        }

    async def initialize(self) -> None:
        """Upload the card and enable the agent; return when the agent is live.

        An existing card keeps every field that this object does not set, also a field that was
        changed meanwhile. Raises AosClientError (`invalid_card`, `forbidden` …) and AosUnreachable.
        """
        digest = await asyncio.to_thread(self._merge, lambda there: there | self.card())
        await self._wait_until_live(digest)

    async def get_status(self) -> Json:
        """Return the agent from AOS: state, errors, digests and card (GET /api/agents/{id})."""
        return await asyncio.to_thread(self._client.agent, self.agent_id)

    async def ask(
        self,
        message: str,
        *,
        conversation_id: str | None = None,
        timeout_seconds: float = RUN_SECONDS,
    ) -> str:
        """Return the agent's answer. Raises AosClientError with the error of the run if it
        fails."""
        run = await asyncio.to_thread(
            lambda: self._client.ask(
                self.agent_id,
                message,
                conversation_id=conversation_id,
                timeout_seconds=timeout_seconds,
            )
        )
        if run["status"] != "completed":
            raise AosClientError(run.get("error") or _explain_not_completed(run))
        return str(run["output"])

    async def stop(self) -> None:
        """Disable the agent: new runs are refused, running ones end. The card is kept."""
        await asyncio.to_thread(self._merge, lambda there: there | {"enabled": False})

    def _merge(self, change: Callable[[Json], Json]) -> str:
        """Apply a change to the stored card; return the digest of the card.

        If another writer was first, or the answer to the write was lost, read the card again and
        retry.
        """
        attempt = 1
        while True:
            there = self._read()
            card = _choose_card(there)
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
        """Return the agent from AOS, or {} if it does not exist."""
        try:
            return self._client.agent(self.agent_id)
        except AosClientError as error:
            if error.code in ("agent_not_found", "agent_removed"):
                return {}
            raise

    async def _wait_until_live(self, digest: str) -> None:
        """Wait until the card serves. PUT publishes at once; if another main publishes, its timer
        may take some seconds."""
        end = time.monotonic() + LIVE_SECONDS
        while True:
            status = await self.get_status()
            if status.get("digest") != digest:
                return  # another writer uploaded a newer card, which serves now
            if status.get("serving_digest") == digest and status.get("state") == "active":
                return
            if time.monotonic() > end:
                message = f"{self.agent_id!r} is not live after {LIVE_SECONDS:g} s: {status!r}"
                raise AosClientError({"code": "unavailable", "message": message})
            await asyncio.sleep(LOOK_EVERY_SECONDS)


class LeadershipAgent(PurposeDrivenAgent):
    """An agent that decides: its instructions contain rules for decisions."""

    agent_type: ClassVar[AgentType] = "LeadershipAgent"


AGENT_CLASSES: Mapping[AgentType, type[PurposeDrivenAgent]] = {
    kind.agent_type: kind for kind in (PurposeDrivenAgent, LeadershipAgent)
}
"""The class of each `agent_type`. `aos.domain.cards.agent_card` defines how each type behaves."""


def _choose_card(there: Json) -> Json:
    """Return the card to change: the uploaded one, or, if that is not a JSON object, the serving
    one."""
    return dict(there.get("card") or there.get("serving") or {})


def _explain_not_completed(run: Mapping[str, Any]) -> Json:
    """Make the error for a run without an error: it was cancelled or has not ended."""
    message = (
        f"the run {run.get('run_id')!r} is {run.get('status')}; AosClient.wait waits for its end"
    )
    return {"code": "unavailable", "message": message, "type": "retry", "retryable": True}
