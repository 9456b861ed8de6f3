"""Do two versions of the apps work side by side, as in a rolling deployment? Entry points:
`Version`, `Versions`.

In worlds of mixed versions some instances are of a newer version: it writes fields that the others
do not know, into the rows of requests, conversations, runs, tool calls and usage, and into the
commands that hold them. An older instance must not drop them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aos.adapters.memory import (
    Interceptor,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryLedger,
    MemoryTables,
)
from aos.adapters.memory.tables import DayUsage
from aos.domain.codec import decode, encode
from aos.domain.envelope import CancelRun, Outgoing, RunEnded, StartRun
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.tools.tool import ToolCallRow
from aos.ports.system import Clock
from aos.wiring.world import World as Ports
from tests.simulation.wire import WireConversationStore, WireRequestStore, WireToolLedger

if TYPE_CHECKING:
    from tests.simulation.world import World

NEWER = "sim_of_a_newer_version"
SAYS: Mapping[str, Any] = {NEWER: {"says": 1}}


class NewerConversationStore(WireConversationStore):
    """Writes fields that this version does not know, into the head and what it holds, and into the
    rows of runs."""

    def write(self, step: Step) -> str:
        """Write the step with them."""
        raw = json.loads(json.dumps(encode(step.conversation)))
        raw[NEWER] = {"says": 1}
        if raw.get("active"):
            raw["active"][NEWER] = {"says": 2}
            for call in raw["active"].get("calls") or ():
                call[NEWER] = {"says": 3}
        runs = {run.run_id: self._make_newer(step, run) for run in step.runs}
        head = decode(Conversation, raw)
        ends = {**self._list_ends(step), **runs}
        outbox = tuple(_make_outgoing_newer(item, ends) for item in head.outbox)
        newer = replace(head, outbox=outbox)
        return super().write(replace(step, conversation=newer, runs=tuple(runs.values())))

    def _list_ends(self, step: Step) -> dict[str, Run]:
        """The ends that wait in the outbox as it stands. A newer version that saves the head again
        before it sends them still has its fields."""
        rows = self._tables.conversations.get(step.conversation.conversation_id)
        commands = () if rows is None else tuple(item.command for item in rows.head.outbox)
        return {c.run.run_id: c.run for c in commands if isinstance(c, RunEnded)}

    def _make_newer(self, step: Step, run: Run) -> Run:
        """The run with a newer field, unless its end is written already."""
        rows = self._tables.conversations.get(step.conversation.conversation_id)
        known = None if rows is None else rows.runs.get(run.run_id)
        if known is not None and known.status.has_ended:
            return run
        return replace(run, unknown=SAYS)


class NewerRequestStore(WireRequestStore):
    """Writes fields that this version does not know into the rows of requests."""

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row with them."""
        await super().insert(replace(request, unknown=SAYS))


class NewerToolLedger(WireToolLedger):
    """Writes fields that this version does not know into the rows of tool calls."""

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Write the row with them."""
        return await super().start(replace(row, unknown=SAYS))


class NewerLedger(MemoryLedger):
    """Counts something that this version does not know in the rows of usage."""

    def add_up(self, day: DayUsage, run: Run) -> DayUsage:
        """The row of the day with one more run, counted there too."""
        counted = {NEWER: day.unknown.get(NEWER, 0) + 1}
        return replace(super().add_up(day, run), unknown=counted)


class NewerBus(MemoryBus):
    """Sends what the rows hold, with the fields that this version does not know."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        tables: MemoryTables,
        clock: Clock,
        intercept: Interceptor,
    ) -> None:
        super().__init__(broker, clock=clock, intercept=intercept)
        self._tables = tables

    async def send(self, outgoing: Outgoing) -> None:
        """Send the command as its row is."""
        command = outgoing.command
        if isinstance(command, StartRun | CancelRun):
            row = self._tables.requests.get(command.run_id)
            unknown = {} if row is None else row.request.unknown
            request = replace(command.request, unknown=unknown)
            outgoing = replace(outgoing, command=replace(command, request=request))
        elif isinstance(command, RunEnded):
            rows = self._tables.conversations[command.run.conversation_id].runs
            stands = rows.get(command.run.run_id)
            run = replace(command.run, unknown={} if stands is None else stands.unknown)
            outgoing = replace(outgoing, command=replace(command, run=run))
        await super().send(outgoing)


def _make_outgoing_newer(outgoing: Outgoing, runs: Mapping[str, Run]) -> Outgoing:
    """The end of a run as this step writes its row, or as it waits in the outbox already."""
    command = outgoing.command
    if not isinstance(command, RunEnded) or command.run.run_id not in runs:
        return outgoing
    run = replace(command.run, unknown=runs[command.run.run_id].unknown)
    return replace(outgoing, command=replace(command, run=run))


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The version of one instance: how it writes rows and messages. `is_newer` None: rows are kept
    as values, nothing goes through JSON."""

    conversations: type[MemoryConversationStore] = MemoryConversationStore
    is_newer: bool | None = None

    def make_ports(
        self, ports: Ports, *, tables: MemoryTables, broker: MemoryBroker, intercept: Interceptor
    ) -> Ports:
        """The ports of an instance of this version."""
        ports = replace(ports, conversations=self.conversations(tables, intercept=intercept))
        if self.is_newer is None:
            return ports
        if not self.is_newer:
            return replace(
                ports,
                requests=WireRequestStore(tables, intercept=intercept),
                tool_calls=WireToolLedger(tables, intercept=intercept),
            )
        return replace(
            ports,
            requests=NewerRequestStore(tables, intercept=intercept),
            tool_calls=NewerToolLedger(tables, intercept=intercept),
            ledger=NewerLedger(tables, intercept=intercept),
            bus=NewerBus(broker, tables=tables, clock=ports.clock, intercept=intercept),
        )


KEPT = Version()
WIRE = Version(conversations=WireConversationStore)
OLDER = Version(conversations=WireConversationStore, is_newer=False)
NEW = Version(conversations=NewerConversationStore, is_newer=True)


class Versions:
    """Watches whether anything that a newer version wrote is dropped."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: set[tuple[str, str]] = set()
        self._usage: dict[tuple[str, str, int, str, str], int] = {}

    def written(self, operation: str, key: str) -> None:
        """A row was written."""
        if not self._world.scenario.mixed_versions:
            return
        if operation == "conversations.save":
            self._saved(key)
        elif operation == "ledger.record":
            self._counted()
        elif operation.startswith("tool_calls."):
            self._called(key)

    def _saved(self, key: str) -> None:
        """The requests in a head are what their rows were."""
        head = self._world.tables.conversations[key].head
        active = () if head.active is None else (head.active.request,)
        for request in (*active, *head.queued):
            admitted = self._world.admitted.get(request.run_id)
            if admitted is not None and not _is_kept(admitted.unknown, request.unknown):
                self._fail(f"the request {request.run_id}")

    def _counted(self) -> None:
        for key, row in self._world.tables.usage.items():
            counted = row.unknown.get(NEWER, 0)
            if counted < self._usage.get(key, 0):
                self._fail(f"the usage of {key}")
            self._usage[key] = counted

    def _called(self, run_id: str) -> None:
        for key, row in self._world.tables.tool_calls.items():
            if key[0] != run_id:
                continue
            if NEWER in row.unknown:
                self._calls.add(key)
            elif key in self._calls and not self._world.checks.is_scrubbed(run_id):
                self._fail(f"the call {key}")

    def _fail(self, what: str) -> None:
        self._world.checks.fail(f"what a newer version wrote into {what} was dropped")


def find_dropped(before: Conversation | None, after: Conversation) -> str | None:
    """What a save has dropped that a newer version wrote; None where it kept all of it."""
    if before is None:
        return None
    if not _is_kept(before.unknown, after.unknown):
        return "the head"
    was, active = before.active, after.active
    if was is None or active is None or was.request.run_id != active.request.run_id:
        return None
    if not _is_kept(was.unknown, active.unknown):
        return "the active run"
    calls = {call.tool_call_id: call.unknown for call in active.calls}
    for call in was.calls:
        if not _is_kept(call.unknown, calls.get(call.tool_call_id, call.unknown)):
            return f"the call {call.tool_call_id}"
    return None


def _is_kept(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return was.keys() <= now.keys()
