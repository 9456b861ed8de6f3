"""Is what conversations say true, of questions, answers, tools and delegated runs?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aos.domain.runs.conversation import Message
from aos.domain.runs.run import ParentRun, Run, RunStatus, run_id_for
from aos.domain.runs.transcript import NO_ANSWER
from aos.domain.tools.commands import delegation_scope
from aos.domain.tools.questions import make_question_id
from aos.domain.tools.tool import MessageCall
from tests.simulation.loop import START

if TYPE_CHECKING:
    from tests.simulation.world import World

HEARD_SECONDS = 300.0
"""A task that ended so long before its result was read was asked for meanwhile."""
UNHEARD_SECONDS = 1200.0
"""A result that was sent so long before its run ended was heard, whatever delayed it."""


def history(world: World, key: str) -> None:
    """Runs one after the other, without gap, each once: a question, turns with tools, an answer."""
    fail, rows = world.checks.fail, world.tables.conversations[key]
    messages = [rows.messages[sequence] for sequence in sorted(rows.messages)]
    if [message.sequence for message in messages] != list(range(rows.head.next_sequence)):
        fail(f"the history of {key} has a gap: {[m.sequence for m in messages]}")
    runs: list[str] = []
    for message in messages:
        if not runs or runs[-1] != message.run_id:
            runs.append(message.run_id)
    if len(set(runs)) != len(runs):
        fail(f"the history of {key} is interleaved: {runs}")
    for run_id in runs:
        _of_a_run(world, key, [m for m in messages if m.run_id == run_id])
    _was_shown(world, key, messages)
    gone = world.checks.deletions.gone
    completed = {
        r.run_id
        for r in rows.runs.values()
        if r.status is RunStatus.COMPLETED and r.run_id not in gone
    }
    if not completed <= set(runs):
        fail(f"completed runs of {key}: {completed}, in its history: {runs}")


def _was_shown(world: World, key: str, messages: list[Message]) -> None:
    """Each answer was given to the end of the history as it then stood."""
    shown = {
        asked.answer: [
            message.content
            for message in asked.messages
            if message.role in ("assistant", "tool") and message.content != NO_ANSWER
        ]
        for asked in world.oracle.asked
    }
    said: list[str] = []
    for message in messages:
        if message.role == "assistant":
            seen = shown[message.content]
            if seen != said[len(said) - len(seen) :] or bool(seen) != bool(said):
                world.checks.fail(f"{message.content!r} in {key} follows {said}, it was {seen}")
        if message.role != "user":
            said.append(message.content)


def _of_a_run(world: World, key: str, messages: list[Message]) -> None:
    fail = world.checks.fail
    run = world.checks.ended.get(messages[0].run_id)
    if run is None:
        fail(f"{messages[0].run_id} is in the history of {key} and did not end")
        return
    asked = world.admitted[run.run_id].message
    question, *rest = messages
    if (question.role, question.content) != ("user", asked):
        fail(f"the history of {key} says {question.content!r}, {run.run_id} asked {asked!r}")
    while rest and rest[0].tool_calls:
        turn, rest = rest[0], rest[1:]
        results, rest = rest[: len(turn.tool_calls)], rest[len(turn.tool_calls) :]
        wanted = [("tool", call.tool_call_id) for call in turn.tool_calls]
        if [(m.role, m.tool_call_id) for m in results] != wanted:
            fail(f"a turn of {run.run_id} asked for {wanted}, its results are {results}")
            return
        for call, result in zip(turn.tool_calls, results, strict=True):
            _result(world, run, call, result)
    done = run.status is RunStatus.COMPLETED
    expected = [("assistant", run.output)] if done else []
    if [(m.role, m.content) for m in rest] != expected:
        fail(f"{run.run_id} ended {run.status}: the history says {rest}, the run {run.output!r}")


def _result(world: World, run: Run, call: MessageCall, result: Message) -> None:
    """A result tells what happened, and nothing else."""
    number = _number(call)
    if number is None or result.content.startswith("error: there is no tool"):
        return
    if call.name == "delegate":
        _of_a_child(world, run, call, result)
        return
    effects = world.box.effects[number]
    if result.content in world.box.results[number]:
        return
    if call.name == "box__long":
        _of_a_task(world, run, call, result, number)
    if result.content.startswith(("not called: ", "denied: ")) and effects:
        world.checks.fail(f"{call} was made, and the model read {result.content!r}")
    if result.content.startswith("denied: "):
        decision = world.tables.decisions.get((run.run_id, call.tool_call_id))
        if decision is None or decision.decision != "deny":
            world.checks.fail(f"{call} was denied, and what stands is {decision}")
    elif result.content.startswith("error: ") and call.name == "box__look":
        return  # lost twice, which is no matter where it may be repeated
    elif not result.content.startswith(("not called: ", "outcome unknown: ")):
        world.checks.fail(f"{call} did not say {result.content!r}")


def _of_a_task(world: World, run: Run, call: MessageCall, result: Message, number: int) -> None:
    """Whose task was saved, and would have ended, is told its end."""
    mine = [task for task in world.box.tasks.all.values() if task.number == number]
    if len(mine) > 1:
        world.checks.fail(f"{call} began {len(mine)} tasks")
    if not mine or mine[0].task_id not in world.box.tasks.saved or world.scenario.outages:
        return
    task, read_at = mine[0], (result.created_at - START).total_seconds()
    read_at = read_at if task.cancelled_at is None else min(read_at, task.cancelled_at)
    if task.asks and not task.told:
        return
    call_id = f"{run.run_id}:{call.tool_call_id}"
    slow = _late_by(world, call_id) + world.box.tasks.slow_seconds
    ends_at = task.ready_at + task.seconds + HEARD_SECONDS + slow
    sent = world.checks.results_sent.get(call_id, ends_at)
    is_over = not task.is_endless and ends_at < read_at and sent >= ends_at
    tells = "task" in result.content or "the run ended before" in result.content
    if (is_over or not tells) and not world.watching.locks_lost:
        world.checks.fail(f"{call} has a task, and the model read {result.content!r}")


def _late_by(world: World, call_id: str) -> float:
    """How long the messages that ask for the task of a call, in any round, were late."""
    rounds = (f"{call_id}:", f"{call_id}.")
    found = [name for name in world.delays if name.startswith(rounds) and name.endswith(":call")]
    return sum(world.delays[name] for name in found)


def _of_a_child(world: World, run: Run, call: MessageCall, result: Message) -> None:
    owner = world.admitted[run.run_id].owner
    child_id = run_id_for(scope=delegation_scope(owner), key=f"{run.run_id}:{call.tool_call_id}")
    child = world.checks.ended.get(child_id)
    if child is None:
        if not result.content.startswith(("error: ", "outcome unknown: ")):
            world.checks.fail(f"{call} has the result {result.content!r}, and led to no run")
        return
    told = result.content == child.output or result.content.startswith("error: the run of agent")
    if told:
        return
    assert child.ended_at is not None
    assert run.ended_at is not None
    late = (run.ended_at - child.ended_at).total_seconds()
    unheard = UNHEARD_SECONDS + sum(outage.seconds for outage in world.scenario.outages)
    if not result.content.startswith("outcome unknown: ") or late > unheard:
        world.checks.fail(
            f"{call} led to a run that ended {child.status}, {late:.0f} s before its parent did;"
            f" the model read {result.content!r}"
        )


def delegated(world: World, run: Run, parent: ParentRun) -> None:
    """A delegated run is cancelled when its parent ends, and otherwise has its own reasons."""
    ended = world.checks.ended.get(parent.run_id)
    if ended is None:
        world.checks.fail(f"{run.run_id} was delegated by {parent.run_id}, which never ended")
        return
    assert run.ended_at is not None
    assert ended.ended_at is not None
    if run.status is RunStatus.CANCELLED:
        code = None if run.error is None else run.error.code
        if code == "conversation_deleted" and run.run_id in world.checks.deletions.gone:
            return  # its own conversation was deleted while it waited for a person
        if code != "parent_ended":
            world.checks.fail(f"{run.run_id} was cancelled, and nobody asked for it: {code}")
        if (ended.ended_at - run.ended_at).total_seconds() > 10 + 2 * world.scenario.skew:
            world.checks.fail(f"{run.run_id} was cancelled before its parent ended")


def tools(world: World) -> None:
    """What may not be repeated was not, and nothing was done that nobody asked for."""
    fail, asked = world.checks.fail, _asked(world)
    world.box.tasks.verdict(world)
    for number, effects in world.box.effects.items():
        name = world.box.names[number]
        if effects > 1 and name != "look":
            fail(f"{name} {number} was done {effects} times")
        if number not in asked:
            fail(f"{name} {number} was done, and no history asks for it")
        elif name in ("asks", "long"):
            _answered(world, number, asked[number])
        elif name == "guarded" and asked[number][0] not in world.checks.deletions.gone:
            decision = world.tables.decisions.get(asked[number])
            if decision is None or decision.decision != "approve":
                fail(f"guarded {number} was done, and what stands is {decision}")


def _answered(world: World, number: int, call: tuple[str, str]) -> None:
    """A tool that asks was told the answers that stand, in their order."""
    run_id, call_id = call
    for place, given in enumerate(world.box.answers[number], 1):
        stands = world.tables.answers.get((run_id, make_question_id(call_id, place)))
        if stands is None and world.scenario.has("delete"):
            continue  # it went with its conversation
        if stands is None or (stands.action, stands.values) != (given.action, given.values):
            world.checks.fail(f"asks {number} was told {given}, and what stands is {stands}")
        elif world.box.names[number] == "asks" and stands.action == "cancel" and not number % 3:
            world.checks.fail(f"asks {number} was called again after a cancel")


def _asked(world: World) -> dict[int, tuple[str, str]]:
    """Every call of every history, by its number: its run's id and its own."""
    found: dict[int, tuple[str, str]] = {}
    for key, call in world.checks.calls.items():
        number = _number(call)
        if number is not None:
            found[number] = key
    for rows in world.tables.conversations.values():
        for message in rows.messages.values():
            for call in message.tool_calls:
                number = _number(call)
                if number is not None:
                    found[number] = (message.run_id, call.tool_call_id)
    return found


def _number(call: MessageCall) -> int | None:
    try:
        return int(json.loads(call.arguments)["n"])
    except (ValueError, TypeError, KeyError):
        return None
