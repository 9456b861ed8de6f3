"""Tasks that tools begin in the simulation. Entry points: `SimTask`, `Tasks`.

A call of the tool `long` becomes a task, which mcp asks for again and again. Some tasks ask a
person in between; some never end, and must be cancelled when their run has ended.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aos.domain.tools.questions import CallPause, CallResume, GivenAnswer, ToolQuestion
from aos.domain.tools.tool import ToolOutcome

if TYPE_CHECKING:
    from tests.simulation.world import World

FORM = {"type": "object", "properties": {"n": {"type": "integer"}}}


@dataclass(slots=True)
class SimTask:
    """One task: it asks a person (`asks`), and ends so many seconds after it has what it needs."""

    task_id: str
    number: int
    asks: bool
    is_endless: bool
    seconds: float
    ready_at: float
    told: tuple[GivenAnswer, ...] = ()
    cancelled_at: float | None = None
    is_done: bool = False
    cancels: int = 0


@dataclass(slots=True)
class Tasks:
    """The tasks of the box; `saved` are those whose ids a call's row held, by run and call."""

    all: dict[str, SimTask] = field(default_factory=dict)
    saved: dict[str, tuple[str, str]] = field(default_factory=dict)
    slow_seconds: float = 0.0
    """For how long questions about tasks hung, all together."""

    def begin(self, number: int, rng: random.Random, now: float) -> ToolOutcome:
        """Begin a task."""
        task = SimTask(
            task_id=f"task-{number}-{len(self.all)}",
            number=number,
            asks=rng.random() < 0.25,
            is_endless=rng.random() < 0.15,
            seconds=rng.choice((0.0, 3.0, 40.0)),
            ready_at=now,
        )
        self.all[task.task_id] = task
        return make_waiting(task, rng)

    def tell(self, task: SimTask, resume: CallResume | None, now: float) -> str | None:
        """Tell a task its answers; what is wrong with them, or None."""
        new = () if resume is None else resume.all_answers
        if not new or task.told == new:
            return None
        if task.told:
            return f"{task.task_id} was told {task.told}, and then {new}"
        task.told, task.ready_at = new, now
        return None

    def note_saved(self, world: World, run_id: str) -> None:
        """A row of a call was written: remember the task in it."""
        if not self.all:
            return
        for key, row in world.tables.tool_calls.items():
            if key[0] == run_id and row.task is not None:
                self.saved[row.task.task_id] = key
            pause = None if row.result is None else row.result.pause
            if key[0] == run_id and pause is not None and pause.task_id is not None:
                self.saved[pause.task_id] = key

    def verdict(self, world: World) -> None:
        """What never ends was cancelled with its run, sooner or later."""
        is_quiet = not world.scenario.outages
        for task_id in sorted(self.saved):
            task = self.all[task_id]
            if task.is_endless and not task.cancels and is_quiet:
                world.checks.fail(f"{task_id} goes on for ever: nobody cancelled it")


def make_waiting(task: SimTask, rng: random.Random) -> ToolOutcome:
    """The outcome of a task that works."""
    pause = CallPause(
        kind="task", task_id=task.task_id, poll_seconds=rng.choice((1.0, 1.0, 5.0, 20.0))
    )
    content = f"the task of {task.number} has not ended"
    return ToolOutcome(outcome="outcome_unknown", content=content, pause=pause)


def make_question(task: SimTask) -> ToolOutcome:
    """The outcome of a task that asks a person."""
    content = f"long {task.number} has no answer"
    question = ToolQuestion(key="q", message=content, requested_schema=FORM)
    pause = CallPause(kind="task", questions=(question,), task_id=task.task_id, poll_seconds=1.0)
    return ToolOutcome(outcome="outcome_unknown", content=content, pause=pause)
