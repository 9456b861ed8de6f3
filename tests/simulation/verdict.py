"""What must be true at the end, when the faults are over and time has run on?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aos.domain.cards.catalog import CatalogIndex
from aos.domain.cards.catalog_json import index_from_json
from aos.domain.cards.identity import CardKind
from aos.domain.codec import encode
from aos.domain.runs.run import Run, RunStatus, Usage
from aos.domain.usage import find_usage_day
from aos.services.catalog import storage
from tests.simulation.histories import delegated, history, tools
from tests.simulation.queues import QUEUES
from tests.simulation.receivers import told

if TYPE_CHECKING:
    from tests.simulation.asks import Ask
    from tests.simulation.world import World

DAY = 86400.0
NO_HISTORY = 2
"""A model call of a new conversation: the system prompt and the question."""


def verdict(world: World) -> None:
    """Look at the end of a world; the first thing that is wrong fails it."""
    _nothing_left(world)
    for run_id in _admitted(world):
        _run(world, run_id)
    for key in sorted(world.tables.conversations):
        history(world, key)
    tools(world)
    world.checks.deletions.verdict()
    world.one_by_one.verdict()
    world.budgets.verdict()
    world.waking.verdict()
    world.letters.verdict()
    world.events.verdict()
    world.watching.verdict()
    world.aging.verdict()
    world.pausing.verdict()
    _accepted(world)
    _usage(world)
    _lists(world)
    _errors(world)


def _admitted(world: World) -> list[str]:
    """The runs that were accepted: a row may also stand for a delegation that was turned down."""
    return sorted(run for run in world.tables.requests if not world.checks.is_refused(run))


def _nothing_left(world: World) -> None:
    fail = world.checks.fail
    for run_id in sorted(world.tables.requests):
        if world.checks.is_refused(run_id) and run_id in world.checks.ended:
            fail(f"{run_id} was turned down and ran all the same")
    for run_id in _admitted(world):
        if run_id not in world.checks.ended:
            fail(f"{run_id} was accepted and never ended")
    for run_id in sorted(world.tables.pending):
        fail(f"the pending row of {run_id} was left")
    for entity in QUEUES:
        for kept in world.broker.messages(entity):
            fail(f"{kept.message_id} was left in {entity}")
    for name, app in world.apps.items():
        if app.tasks:
            fail(f"something in {name} never came to its end: {app.tasks}")


def _run(world: World, run_id: str) -> None:
    fail, checks = world.checks.fail, world.checks
    request, run = world.admitted[run_id], checks.ended.get(run_id)
    ask = world.asks.get(run_id)
    if run is None:
        return
    stands = run.scrub() if checks.is_scrubbed(run_id) else run
    if world.tables.conversations[request.conversation_id].runs.get(run_id) != stands:
        fail(f"the row of {run_id} is not what it ended as")
    _reply(world, run_id, run)
    told(world, run_id)
    if request.parent is not None:
        delegated(world, run, request.parent)
    elif ask is not None:
        _why(world, run, ask)
    if run.card_digest is not None:
        _card_was_new_enough(world, run)
    if run.status is RunStatus.COMPLETED and not run.output:
        fail(f"{run_id} completed without an output")


def _reply(world: World, run_id: str, run: Run) -> None:
    fail, bodies = world.checks.fail, world.checks.replies.get(run_id, [])
    wanted = world.admitted[run_id].reply is not None
    if wanted != bool(bodies):
        fail(f"{run_id} wanted a reply: {wanted}; it got {len(bodies)}")
    expected = {"version": 1, "type": f"run.{run.status.value}", **encode(run)}
    for body in bodies:
        if json.loads(body) != expected:
            fail(f"a reply of {run_id} is not its run: {body!r}")
    if len(bodies) > 1 and run_id not in world.checks.asked_again:
        gap = world.checks.seen_at[run_id] - world.checks.first_reply[run_id]
        if gap < 600:
            fail(f"{run_id} was answered {len(bodies)} times to the outside")


def _why(world: World, run: Run, ask: Ask) -> None:
    """Every end has its reason."""
    fail = world.checks.fail
    code = run.error.code if run.error else None
    stored = world.tables.requests[run.run_id]
    if code == "conversation_deleted":
        if run.run_id not in world.checks.deletions.gone:
            fail(f"{run.run_id} ended {code}, and its conversation was not deleted")
        return
    if run.status is RunStatus.CANCELLED and stored.cancel_requested_at is None:
        fail(f"{run.run_id} was cancelled, and nobody asked for it")
    if not _may_use(world, run):
        _race_lost(world, run, ask)
    elif code in ("agent_disabled", "agent_removed"):
        _agent_was_gone(world, run, code)
    elif code == "run_timeout":
        _clock_was_spent(world, run, ask)
    elif code is not None and not _excused(world, run, ask, code):
        fail(f"{run.run_id} failed with {code}: {run.error}")


def _race_lost(world: World, run: Run, ask: Ask) -> None:
    """Another owner's conversation: the run ends, and has seen nothing of it."""
    code = run.error.code if run.error else None
    if run.status is not RunStatus.CANCELLED and code != "conversation_not_found":
        world.checks.fail(
            f"{run.run_id} has another owner than its conversation and ended {run.status} {code}"
        )
    if any(a.question == ask.question and len(a.messages) > NO_HISTORY for a in world.oracle.asked):
        world.checks.fail(f"{run.run_id} lost the race and saw the conversation")


def _clock_was_spent(world: World, run: Run, ask: Ask) -> None:
    """A run without tools has one turn: its clock is spent when one call took as long as that."""
    if "[tools]" in ask.question:
        return
    taken = max((a.seconds for a in world.oracle.asked if a.question == ask.question), default=0.0)
    limit = 90.0 if ask.agent_id == "hasty" else 1800.0
    if taken < limit - 1.0:
        world.checks.fail(f"{run.run_id} timed out, its longest call took {taken:.0f} s")


def _excused(world: World, run: Run, ask: Ask, code: str) -> bool:
    """What its question names, what it waited for, or a session that crashed again and again."""
    assert run.ended_at is not None
    waited = (run.ended_at - run.created_at).total_seconds()
    match code:
        case "internal_error":
            return run.conversation_id in world.checks.worn_out
        case "model_rejected":
            return "[refused]" in ask.question
        case "model_unavailable":
            return waited >= DAY and world.scenario.has("long")
        case "start_timeout":  # a run waits for a question that nobody answers, or for the model
            return waited >= DAY and world.scenario.has("long", "tools", "delete", "watch", "tasks")
        case "budget_spent":
            return world.budgets.is_spent()
        case "conversation_busy":
            return world.one_by_one.was_late(run.conversation_id)
        case "conversation_full":
            return world.scenario.has("full")
        case "agent_mismatch":
            head = world.tables.conversations[run.conversation_id].head
            return head.agent_id != run.agent_id
        case _:
            return False


def _may_use(world: World, run: Run) -> bool:
    head = world.tables.conversations[run.conversation_id].head
    request = world.admitted[run.run_id]
    return head.owner == request.owner or request.as_admin


def _agent_was_gone(world: World, run: Run, code: str) -> None:
    """Only a catalog at least as new as the one main judged by may end a run."""
    admitted = world.admitted[run.run_id].catalog_version
    for index in read_catalogs(world):
        entry = index.entry(CardKind.AGENT, run.agent_id)
        gone = entry is None or entry.state == "removed"
        if index.version >= admitted and (
            gone if code == "agent_removed" else entry is not None and not entry.enabled
        ):
            return
    world.checks.fail(f"{run.run_id} ended {code}, but its agent was there since {admitted}")


def _card_was_new_enough(world: World, run: Run) -> None:
    """A run pins a card of the catalog that main judged by, or of a later one."""
    admitted = world.admitted[run.run_id].catalog_version
    for index in read_catalogs(world):
        entry = index.entry(CardKind.AGENT, run.agent_id)
        if index.version >= admitted and entry and entry.serving_digest == run.card_digest:
            return
    world.checks.fail(f"{run.run_id} ran on a card older than catalog {admitted}, its admission's")


def read_catalogs(world: World) -> list[CatalogIndex]:
    """The catalogs that were published, in the order of `world.catalog`."""
    for published in world.catalog[len(world.indexes) :]:
        body = world.data.body_of(storage.index(published.index))
        world.indexes.append(index_from_json(body))
    return world.indexes


def _accepted(world: World) -> None:
    for run_id in world.accepted:
        if run_id not in world.tables.requests:
            world.checks.fail(f"{run_id} was accepted over HTTP and has no request row")
    for run_id, ask in world.asks.items():
        known = run_id in world.tables.requests
        if ask.over_queue and not known and run_id not in world.checks.refused:
            world.checks.fail(f"{run_id} came over the queue: no run, no refusal")


def _lists(world: World) -> None:
    """What was accepted is in the lists."""
    for run_id in _admitted(world):
        if run_id not in world.tables.index:
            world.checks.fail(f"{run_id} was accepted, ended, and is in no list")


def _usage(world: World) -> None:
    """Each ended run is counted once: on its day, for its agent, owner and model."""
    counted: dict[tuple[str, ...], tuple[int, Usage]] = {}
    for (agent_id, day, _, owner, model), row in world.tables.usage.items():
        _add(counted, (agent_id, day, owner, model), row.runs, row.usage)
    expected: dict[tuple[str, ...], tuple[int, Usage]] = {}
    for run_id, stored in world.tables.requests.items():
        run = world.checks.ended.get(run_id)
        if run is not None:
            key = (run.agent_id, find_usage_day(run), stored.request.owner, run.model or "")
            _add(expected, key, 1, run.usage)
    if counted != expected:
        world.checks.fail(f"usage counted {counted}, the runs say {expected}")


def _add(
    sums: dict[tuple[str, ...], tuple[int, Usage]], key: tuple[str, ...], runs: int, usage: Usage
) -> None:
    before, used = sums.get(key, (0, Usage()))
    sums[key] = (before + runs, used + usage)


def _errors(world: World) -> None:
    for context in world.loop.errors:
        world.checks.fail(f"nobody looked at {context.get('exception')!r}: {context['message']}")
