"""What do tools do in the simulation, and who called them?

One MCP server, `box`, with four tools: `look` may be repeated, `put` may not, `guarded` needs a
person, and `asks` asks a person once or twice before it does anything. In worlds of the kind
`tasks` it has a fifth, `long`, which begins a task. Every call carries a number
that the model made up for it, so that its effects can be counted, and its result be told from every
other's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.questions import (
    CallPause,
    CallResume,
    GivenAnswer,
    PauseKind,
    ToolQuestion,
)
from aos.domain.tools.tool import ServerTools, ToolOutcome, ToolSchema
from aos.errors import ServerFailed, TransientError
from aos.ports.servers import ServerWatcher
from tests.simulation.tasks import FORM, SimTask, Tasks, make_question, make_waiting

if TYPE_CHECKING:
    from tests.simulation.apps import App
    from tests.simulation.world import World

SERVER: dict[str, Any] = {
    "server_id": "box",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-box"],
    "repeatable": ["look"],
}
TOOLS = ("look", "put", "guarded", "asks")
NO_ANSWER = "no answer in time"
SLOW_START, NO_START = 0.1, 0.03
LONGEST_START = 160.0


@dataclass(slots=True)
class Box:
    """The outside of all instances of mcp: what was done, and what is being done."""

    effects: Counter[int] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    results: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    busy: dict[int, App] = field(default_factory=dict)
    answers: dict[int, tuple[GivenAnswer, ...]] = field(default_factory=dict)
    tasks: Tasks = field(default_factory=Tasks)


def listed(world: World) -> ServerTools:
    """The server as mcp has listed it."""
    names = (*TOOLS, "long") if world.scenario.has("tasks") else TOOLS
    return ServerTools(
        server_id="box",
        state="ready",
        tools=tuple(ToolSchema(name=name) for name in names),
        listed_at=world.clock.now(),
    )


class SimServers:
    """The servers of one instance of mcp."""

    def __init__(self, app: App, box: Box, rng: random.Random) -> None:
        self._app = app
        self._box = box
        self._rng = rng

    def watch(self, watcher: ServerWatcher) -> None:
        """Nothing changes by itself."""

    @contextlib.asynccontextmanager
    async def hold(self, card: McpServerCard, digest: str) -> AsyncIterator[_Line]:
        """The server; now and then it is slow to start, cannot be had, or does not start."""
        began = self._app.world.loop.seconds
        try:
            await self._app.intercept("servers.hold", card.server_id, lambda: None)
        finally:
            self._box.tasks.slow_seconds += self._app.world.loop.seconds - began
        start = self._rng.random()
        if start < SLOW_START:
            await self._app.world.loop.pause(LONGEST_START * self._rng.random())
        elif start > 1 - NO_START:
            raise ServerFailed(f"the MCP server {card.server_id!r} does not start")
        yield _Line(self._app, self._box, self._rng)

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """Nobody asks: the tools are listed from the beginning."""
        raise NotImplementedError

    async def keep_only(self, serving: Mapping[str, str]) -> None:
        """Nothing runs."""

    async def close(self) -> None:
        """Nothing runs."""


class _Line:
    def __init__(self, app: App, box: Box, rng: random.Random) -> None:
        self._app = app
        self._box = box
        self._rng = rng

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
        resume: CallResume | None = None,
    ) -> ToolOutcome:
        """Soon, slowly, or not in time; what did not answer may have had its effect, or have it
        later."""
        number = int(arguments["n"])
        if resume is not None and resume.kind == "task":
            assert resume.task_id is not None
            return await self.follow_task(
                resume.task_id, timeout_seconds=timeout_seconds, resume=resume
            )
        self._begin(number)
        work = self._app.spawn(self._work(tool, number, resume))
        try:
            done, _ = await asyncio.wait({work}, timeout=timeout_seconds)
            if not done or work.cancelled():
                return ToolOutcome(outcome="outcome_unknown", content=NO_ANSWER)
            return work.result()
        finally:
            if self._app.alive:
                self._box.busy.pop(number, None)

    async def follow_task(
        self, task_id: str, *, timeout_seconds: float, resume: CallResume | None = None
    ) -> ToolOutcome:
        """What the task has come to; a server that does not answer says that it works."""
        task, began = self._box.tasks.all[task_id], self._app.world.loop.seconds
        await self._app.world.loop.pause(self._rng.choice((0.05, 0.5, 3.0)))
        try:
            return await self._app.intercept(
                "servers.follow_task", task_id, lambda: self._look_at(task, resume)
            )
        except TransientError:
            return make_waiting(task, self._rng)
        finally:
            self._box.tasks.slow_seconds += self._app.world.loop.seconds - began

    async def cancel_task(self, task_id: str, *, timeout_seconds: float) -> None:
        """Cancel it, if it goes on."""
        task = self._box.tasks.all[task_id]
        task.cancels += 1

        def act() -> None:
            if not task.is_done and task.cancelled_at is None:
                task.cancelled_at = self._app.world.loop.seconds

        await self._app.intercept("servers.cancel_task", task_id, act)

    def _look_at(self, task: SimTask, resume: CallResume | None) -> ToolOutcome:
        """Tell the task the answers, and look how far it is."""
        now, number = self._app.world.loop.seconds, task.number
        wrong = self._box.tasks.tell(task, resume, now)
        if wrong is not None:
            self._app.world.checks.fail(wrong)
        if task.cancelled_at is not None:
            self._box.results[number].add("the task was cancelled")
            return ToolOutcome(outcome="ok", content="the task was cancelled")
        if task.asks and not task.told:
            self._box.results[number].add(make_question(task).content)
            return make_question(task)
        if task.is_endless or now < task.ready_at + task.seconds:
            return make_waiting(task, self._rng)
        if task.is_done:
            return ToolOutcome(outcome="ok", content=f"long {number} done 1")
        task.is_done = True
        return self._effect("long", number, task.told)

    def _begin(self, number: int) -> None:
        world, holder = self._app.world, self._box.busy.get(number)
        if holder is not None and holder.alive:
            world.checks.fail(f"tool call {number} was begun while another instance is at it")
        self._box.busy[number] = self._app

    async def _work(self, tool: str, number: int, resume: CallResume | None) -> ToolOutcome:
        await self._app.world.loop.pause(self._rng.choice((0.05, 0.5, 3.0, 30.0, 70.0)))

        def act() -> ToolOutcome:
            given = () if resume is None else resume.all_answers
            if tool == "long":
                return self._box.tasks.begin(number, self._rng, self._app.world.loop.seconds)
            if tool == "asks" and len(given) <= number % 2:
                return self._ask(number, len(given))
            return self._effect(tool, number, given)

        try:
            return await self._app.intercept("servers.call", f"box/{tool} {number}", act)
        except TransientError as error:
            return ToolOutcome(outcome="outcome_unknown", content=str(error))

    def _ask(self, number: int, told: int) -> ToolOutcome:
        """Ask a person, as servers of both revisions do it."""
        content = f"asks {number} has no answer {told}"
        self._box.results[number].add(content)
        question = ToolQuestion(key="q", message=content, requested_schema=FORM)
        kind: PauseKind = "retry" if number % 3 else "replay"
        pause = CallPause(kind=kind, questions=(question,), request_state=str(told))
        return ToolOutcome(outcome="ok", content=content, pause=pause)

    def _effect(self, tool: str, number: int, given: tuple[GivenAnswer, ...]) -> ToolOutcome:
        self._box.effects[number] += 1
        self._box.names[number] = tool
        self._box.answers[number] = given
        content = f"{tool} {number} done {self._box.effects[number]}"
        self._box.results[number].add(content)
        return ToolOutcome(outcome="ok", content=content)
