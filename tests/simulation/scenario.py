"""Which world does a seed stand for?

Every seed mixes its own: how many instances, which faults and how often, outages, who asks what
and when, cancellations, repeats, catalog edits. Some seeds are of a special kind, because what they
show would come too seldom by chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from tests.simulation.faults import KINDS
from tests.simulation.requests import (
    DAY,
    HOUR,
    Kind,
    Planned,
    plan_in_a_calm_pause,
    plan_of_all,
    plan_requests,
)

LATER_KINDS: dict[int, Kind] = {
    2: "together",
    3: "letters",
    4: "watch",
    5: "delete",
    7: "wake",
    8: "tasks",
    9: "age",
    11: "reject",
    13: "delete",
    14: "budget",
    16: "pause",
    17: "crowd",
}
"""Kinds by the seed's rest, 19 the divisor: so the seeds before them tell the stories they told."""
TOGETHER: tuple[Kind, ...] = (
    "tools",
    "delete",
    "reject",
    "budget",
    "wake",
    "pause",
    "letters",
    "watch",
    "tasks",
)
"""Kinds that happen at once in worlds of the kind `together`."""
DELETED_AT_ITS_START = 0.5
"""How many worlds of kind `delete` delete the conversation that begins first, at its start."""
WITH_MCP: frozenset[Kind] = frozenset({"tools", "delete", "watch", "tasks"})


@dataclass(frozen=True, slots=True)
class Outage:
    """Storage, bus or model are away from `start` for so many seconds."""

    what: str
    start: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """One DELETE of a conversation."""

    at: float
    conversation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of an agent's card."""

    at: float
    what: Literal["edit", "disable", "enable", "remove", "new"]
    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEvent:
    """One event from outside: when it is published, and in which mode."""

    name: str
    at: tuple[float, ...]
    binary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPause:
    """An operator pauses AOS at `at`, and resumes it `seconds` later."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that a world is made of."""

    seed: int
    kind: Kind
    also: frozenset[Kind]
    mixed_versions: bool
    mains: int
    realms: int
    mcps: int
    mean_operations: float
    fault_kinds: tuple[str, ...]
    hang_share: float
    cancel_share: float
    stream_share: float
    copy_share: float
    delay_share: float
    longest_delay: float
    outages: tuple[Outage, ...]
    requests: tuple[Planned, ...]
    deletions: tuple[Deletion, ...]
    edits: tuple[Edit, ...]
    events: tuple[PlannedEvent, ...]
    pauses: tuple[PlannedPause, ...]
    fault_seconds: float
    over_the_wire: bool
    skew: float
    gathering: float
    """How much longer than in the product what main writes in batches is gathered."""

    def has(self, *kinds: Kind) -> bool:
        """Whether the world is of one of these kinds, alone or together with others."""
        return self.kind in kinds or not self.also.isdisjoint(kinds)


def scenario(seed: int) -> Scenario:
    """The world of a seed."""
    rng = random.Random(seed * 7919 + 13)
    kind = LATER_KINDS.get(seed % 19, _kind(rng))
    faulty = kind != "quiet" and rng.random() < 0.9
    span = rng.choice((1.0, 3.0) if kind == "catalog" else (0.5, 20.0, 200.0, 2000.0))
    also = _choose_together(rng) if kind == "together" else ()
    kinds = {kind, *also}
    outages = _outages(rng, kind)
    requests = plan_requests(rng, kind, span) if not also else plan_of_all(rng, also, span)
    last = max((o.start + o.seconds for o in outages), default=0.0)
    last = max(last, DAY + 3 * HOUR) if kind == "age" else last
    fault_seconds = max(span + 1800.0, last + 300.0)
    pauses = _pauses(rng, kinds, span, fault_seconds)
    if "pause" in kinds:
        requests += plan_in_a_calm_pause(rng, pauses[-1].at, pauses[-1].seconds)
    return Scenario(
        seed=seed,
        kind=kind,
        also=frozenset(also),
        mixed_versions=random.Random(seed * 31 + 7).random() < (0.8 if kind == "tasks" else 0.15),
        mains=rng.choice((1, 1, 2)),
        realms=rng.choice((1, 2, 2, 3)),
        mcps=rng.choice((1, 2, 2)) if kinds & WITH_MCP else 0,
        mean_operations=_often(rng, kind) if faulty else 0.0,
        fault_kinds=tuple(k for k in KINDS if rng.random() < 0.55) if faulty else (),
        hang_share=rng.choice((0.3 if "budget" in kinds else 0.0, 0.3)) if faulty else 0.0,
        cancel_share=0.3 if faulty and kinds & {"cancel", "delete"} else 0.0,
        stream_share=rng.choice((0.2, 0.4)) if faulty and "watch" in kinds else 0.0,
        copy_share=rng.choice((0.0, 0.05, 0.25)),
        delay_share=rng.choice((0.0, 0.1, 0.5)),
        longest_delay=rng.choice((1.0, 30.0, 600.0)),
        outages=outages,
        requests=requests,
        deletions=_deletions(rng, requests, span) if "delete" in kinds else (),
        edits=_edits(rng, kind, span) + _sleep(rng, kinds, fault_seconds),
        events=_events(rng, span) if "wake" in kinds else (),
        pauses=pauses,
        fault_seconds=fault_seconds,
        over_the_wire=rng.random() < 0.15,
        skew=rng.choice((0.0, 0.0, 0.05, 3.0, 20.0)),
        gathering=random.Random(seed * 37 + 11).choice((1.0, 1.0, 20.0, 100.0)),
    )


def _choose_together(rng: random.Random) -> tuple[Kind, ...]:
    """Two kinds or more. A dead letter of a deleted conversation is not replayed, and one that
    waits for the end of a pause comes late, so these are not together."""
    chosen = tuple(kind for kind in TOGETHER if rng.random() < 0.55)
    if {"delete", "pause"} & set(chosen):
        chosen = tuple(kind for kind in chosen if kind != "letters")
    return chosen if len(chosen) > 1 else ("tools", "delete", "wake", "pause", "budget")


def _pauses(
    rng: random.Random, kinds: set[Kind], span: float, fault_seconds: float
) -> tuple[PlannedPause, ...]:
    """Pauses while requests come, and one when all faults are over."""
    calm = PlannedPause(at=fault_seconds + 150 * rng.random(), seconds=rng.choice((60.0, 240.0)))
    if "pause" in kinds:
        begin = rng.random() * span
        return (PlannedPause(at=begin, seconds=rng.choice((1.0, 20.0, 120.0))), calm)
    if "wake" in kinds and rng.random() < 0.4:
        return (PlannedPause(at=1500 * rng.random(), seconds=rng.choice((30.0, 200.0))),)
    return ()


def _often(rng: random.Random, kind: Kind) -> float:
    """So many operations pass between two faults."""
    often = rng.choice((12.0, 30.0, 30.0, 90.0, 300.0))
    return 12.0 if kind == "letters" else often


def _kind(rng: random.Random) -> Kind:
    weights: dict[Kind, float] = {
        "mixed": 42,
        "quiet": 4,
        "outage": 12,
        "storm": 1,
        "long": 0.7,
        "race": 12,
        "catalog": 22,
        "cancel": 12,
        "full": 0.3,
        "tools": 30,
    }
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def _outages(rng: random.Random, kind: Kind) -> tuple[Outage, ...]:
    if kind in ("storm", "long"):
        hours = 23 if kind == "storm" else 30
        return (Outage("model", rng.random() * 5, hours * HOUR),)
    if kind == "full":  # commands are applied while the model is away, and the runs wait
        return (Outage("model", 0.0, HOUR),)
    if kind == "outage":
        whats = rng.sample(("storage", "bus", "model", "model"), rng.choice((1, 1, 2)))
        return tuple(Outage(what, 30 * rng.random() ** 2, HOUR) for what in set_in_order(whats))
    if kind == "wake" and rng.random() < 0.4:
        hours = rng.choices((1, 2, 6), weights=(60, 35, 5))[0]
        return (Outage("storage", 600 + 600 * rng.random(), hours * HOUR),)
    if kind == "tools" and rng.random() < 0.2:
        what = rng.choice(("storage", "bus", "bus", "model"))
        return (Outage(what, 30 * rng.random() ** 2, HOUR),)
    return ()


def set_in_order(items: list[str]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(items))


def _deletions(
    rng: random.Random, requests: tuple[Planned, ...], span: float
) -> tuple[Deletion, ...]:
    """Some while runs go on, some when all is done; some twice. Some before realm has seen the
    first run."""
    mine = ("chat-ceo", "chat-tooled")
    asked = [planned for planned in requests if planned.conversation_id in mine]
    names = sorted({planned.conversation_id for planned in asked}) or mine
    moments = (rng.random() * span, rng.random() * span, span + 60 * rng.random())
    some = [
        Deletion(at=at, conversation_id=rng.choice(names))
        for at in moments[: rng.choice((1, 2, 2, 3))]
    ]
    if asked and rng.random() < DELETED_AT_ITS_START:
        first = min(asked, key=lambda planned: planned.at)
        at = first.at + rng.choice((0.01, 0.05, 0.5, 2.0))
        some.append(Deletion(at=at, conversation_id=first.conversation_id))
    return tuple(some)


def _edits(rng: random.Random, kind: Kind, span: float) -> tuple[Edit, ...]:
    if kind == "outage" and rng.random() < 0.3:
        return (Edit(at=HOUR * rng.random(), what="disable", agent_id="hasty"),)
    if kind == "tools" and rng.random() < 0.1:
        return (Edit(at=span * rng.random(), what="disable", agent_id="tooled"),)
    if kind == "wake" and rng.random() < 0.4:
        return (Edit(at=span + 900 * rng.random(), what="edit", agent_id="early"),)
    if kind != "catalog":
        return ()
    edits = []
    for number in range(rng.randint(3, 9)):
        what = rng.choice(("edit", "disable", "enable", "remove", "new", "new", "new"))
        agent_id = f"new-{number}" if what == "new" else "ceo"
        edits.append(Edit(at=span * rng.random(), what=what, agent_id=agent_id))
    return tuple(edits)


def _sleep(rng: random.Random, kinds: set[Kind], fault_seconds: float) -> tuple[Edit, ...]:
    """An agent that wakes is disabled or removed when the faults are over, and maybe comes back."""
    if "wake" not in kinds or rng.random() < 0.6:
        return ()
    at = fault_seconds + 100 + 400 * rng.random()
    what: Literal["disable", "remove"] = rng.choice(("disable", "disable", "remove"))
    gone = Edit(at=at, what=what, agent_id="early")
    back = Edit(at=at + 700, what="enable", agent_id="early")
    return (gone, back) if rng.random() < 0.5 else (gone,)


def _events(rng: random.Random, span: float) -> tuple[PlannedEvent, ...]:
    """A few events, some of them twice: at once, in an outage, or days later."""
    again = (None, None, 0.0, 5.0, 1200.0, 3 * HOUR, 2 * 86400.0)
    return tuple(_event(rng, number, span, again) for number in range(rng.randint(1, 4)))


def _event(
    rng: random.Random, number: int, span: float, again: tuple[float | None, ...]
) -> PlannedEvent:
    first, later = rng.random() * (span + 1500), rng.choice(again)
    return PlannedEvent(
        name=f"event-{number}",
        at=(first,) if later is None else (first, first + later),
        binary=rng.random() < 0.5,
    )
