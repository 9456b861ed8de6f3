"""Admits the runs that schedules start. Entry point: `ScheduledRuns.wake`.

A tick is admitted like any request, under the key of its schedule and its time, so that a tick that
is followed twice starts one run. The watermark moves after the admission. Ticks that nobody
followed become one run, if the last of them is at most an hour old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import NEW_CONVERSATION, Schedule, name_own_owner
from aos.domain.cards.ticks import CATCH_UP, find_last_tick, find_next_tick, name_schedules
from aos.domain.wire_time import to_wire_time
from aos.errors import AosError, Refused
from aos.ports.agents import Agents, ScheduledAgent, WakingAgents
from aos.ports.schedules import Watermark, Watermarks
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.services.admission.admissions import Admissions
from aos.services.admission.run_requests import RunRequest

PAUSED = "paused"
"""The code of a refusal that leaves a tick or an event to later."""
AT_ONCE = 8
"""Schedules that one tick of the timer follows at the same time."""


@dataclass(slots=True, kw_only=True)
class _Followed:
    """One schedule of an agent that may run; `due` None: its row has not been read yet."""

    agent: ScheduledAgent
    schedule_id: str
    schedule: Schedule
    due: datetime | None = None


class ScheduledRuns:
    """Main's use case: agents that wake by the clock.

    An instance remembers when each schedule is due, so that it reads and writes a row only then.
    While no agent has a schedule, a catalog that is `idle_seconds` old is new enough, so that an
    idle app makes no call.
    """

    def __init__(
        self,
        admissions: Admissions,
        *,
        agents: Agents,
        waking: WakingAgents,
        watermarks: Watermarks,
        clock: Clock,
        telemetry: Telemetry,
        idle_seconds: float,
    ) -> None:
        self._admissions = admissions
        self._agents = agents
        self._waking = waking
        self._watermarks = watermarks
        self._clock = clock
        self._telemetry = telemetry
        self._idle_seconds = idle_seconds
        self._followed: dict[tuple[str, str], _Followed] = {}
        self._rows: set[tuple[str, str]] | None = None
        self._latest = clock.now()

    async def wake(self) -> None:
        """Start the runs that are due, and remove the rows of schedules that are gone.

        Raises TransientError when the catalog or the rows cannot be read. What fails for one
        schedule is logged and left to the next tick.
        """
        age = self._idle_seconds if self._rows == set() else 0.0
        agents = await self._waking.list_scheduled(max_age_seconds=age)
        if self._rows is None:
            rows = await self._watermarks.list_all()
            self._rows = {(row.agent_id, row.schedule_id) for row in rows}
        await self._refresh(agents)
        now, limit = self._see_time(), asyncio.Semaphore(AT_ONCE)
        due = [one for one in self._followed.values() if one.due is None or one.due <= now]
        gone = sorted(self._rows - self._followed.keys())
        await asyncio.gather(
            *(self._attempt(key[0], partial(self._drop, *key), limit) for key in gone),
            *(self._attempt(o.agent.agent_id, partial(self._follow, o, now), limit) for o in due),
        )

    def _see_time(self) -> datetime:
        """Return the time. After a clock was set back, every row is read again: its time may be
        that of the wrong clock."""
        now = self._clock.now()
        if now < self._latest - CATCH_UP:
            for one in self._followed.values():
                one.due = None
            self._latest = now
        self._latest = max(self._latest, now)
        return now

    async def _refresh(self, agents: list[ScheduledAgent]) -> None:
        """Follow the schedules of the cards that serve now; what is known of the others stays."""
        before, self._followed = self._followed, {}
        known: dict[ScheduledAgent, dict[str, _Followed]] = {}
        for (_, name), one in before.items():
            known.setdefault(one.agent, {})[name] = one
        for agent in agents:
            named = known.get(agent) or await self._read_schedules(agent, before)
            self._followed |= {(agent.agent_id, name): one for name, one in named.items()}

    async def _read_schedules(
        self, agent: ScheduledAgent, before: dict[tuple[str, str], _Followed]
    ) -> dict[str, _Followed]:
        """Read the schedules of an agent's new card. A schedule with the same times goes on."""
        try:
            card = await self._agents.card(agent.digest)
        except AosError as error:
            self._log("wake_failed", agent.agent_id, reason=str(error))
            return {name: one for (owner, name), one in before.items() if owner == agent.agent_id}
        read = {}
        for name, schedule in name_schedules(card.schedules).items():
            earlier = before.get((agent.agent_id, name))
            due = earlier.due if earlier else None
            read[name] = _Followed(agent=agent, schedule_id=name, schedule=schedule, due=due)
        return read

    async def _attempt(
        self, agent_id: str, work: Callable[[], Awaitable[None]], limit: asyncio.Semaphore
    ) -> None:
        """Do the work of one schedule. A fault leaves it to the next tick."""
        async with limit:
            try:
                await work()
            except AosError as error:
                self._log("wake_failed", agent_id, reason=str(error))

    async def _follow(self, one: _Followed, now: datetime) -> None:
        """Admit the last tick that is due, then move the watermark."""
        agent_id, name = one.agent.agent_id, one.schedule_id
        assert self._rows is not None
        self._rows.add((agent_id, name))
        row = await self._watermarks.find(agent_id, name)
        last = one.agent.since if row is None else row.last
        if last > now + CATCH_UP:  # the clock that wrote it was wrong
            last = now
        tick = find_last_tick(one.schedule, after=last, until=now)
        if tick is not None:
            await self._admit(one, tick)
        mark = tick or max(last, now - CATCH_UP)
        if row is None or tick is not None or row.last > now + CATCH_UP:
            watermark = Watermark(agent_id=agent_id, schedule_id=name, last=mark)
            await self._watermarks.put(watermark)
        one.due = find_next_tick(one.schedule, after=mark)

    async def _admit(self, one: _Followed, tick: datetime) -> None:
        """Admit the run of a tick. A refusal is logged, and the tick is done."""
        agent_id, schedule = one.agent.agent_id, one.schedule
        new, time = schedule.conversation == NEW_CONVERSATION, to_wire_time(tick)
        woken_by = {"cron": schedule.cron, "time_zone": schedule.time_zone, "tick": time}
        try:
            admission = await self._admissions.admit(
                RunRequest(
                    agent_id=agent_id,
                    message=schedule.message,
                    conversation_id=None if new else schedule.conversation,
                    metadata={"woken_by": {"schedule": woken_by}},
                ),
                door="schedule",
                scope=f"schedule:{agent_id}",
                key=f"{one.schedule_id}@{time}",
                caller=Caller(owner=name_own_owner(agent_id)),
            )
        except Refused as refusal:
            if refusal.code == PAUSED:
                raise
            self._log("wake_refused", agent_id, code=refusal.code, tick=time)
            return
        if admission.created:
            run_id = admission.request.run_id
            self._telemetry.log("agent_woken", agent_id=agent_id, run_id=run_id, tick=time)

    async def _drop(self, agent_id: str, name: str) -> None:
        """Remove the row of a schedule that is gone, or whose agent may not run."""
        await self._watermarks.drop(agent_id, name)
        assert self._rows is not None
        self._rows.discard((agent_id, name))

    def _log(self, event: str, agent_id: str, **fields: object) -> None:
        self._telemetry.log(event, level="warning", agent_id=agent_id, **fields)
