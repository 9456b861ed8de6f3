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

Kind = Literal["mixed", "quiet", "outage", "storm", "race", "catalog", "cancel"]
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Storage, bus or model are away from `start` for so many seconds."""

    what: str
    start: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One request: when, who, what, and what its client does beside waiting."""

    at: float
    name: str
    owner: str
    agent_id: str
    conversation_id: str | None
    over_queue: bool
    mood: str
    twins: int
    cancel_after: float | None
    repeat_after: float | None
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of an agent's card."""

    at: float
    what: Literal["edit", "disable", "enable", "remove", "new"]
    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that a world is made of."""

    seed: int
    kind: Kind
    mains: int
    realms: int
    mean_operations: float
    fault_kinds: tuple[str, ...]
    hang_share: float
    cancel_share: float
    copy_share: float
    delay_share: float
    longest_delay: float
    outages: tuple[Outage, ...]
    requests: tuple[Planned, ...]
    edits: tuple[Edit, ...]
    fault_seconds: float
    over_the_wire: bool


def scenario(seed: int) -> Scenario:
    """The world of a seed."""
    rng = random.Random(seed * 7919 + 13)
    kind = _kind(rng)
    faulty = kind != "quiet" and rng.random() < 0.9
    span = rng.choice((0.5, 8.0) if kind == "catalog" else (0.5, 20.0, 200.0, 2000.0))
    outages = _outages(rng, kind)
    requests = _requests(rng, kind, span)
    last = max((o.start + o.seconds for o in outages), default=0.0)
    return Scenario(
        seed=seed,
        kind=kind,
        mains=rng.choice((1, 1, 2)),
        realms=rng.choice((1, 2, 2, 3)),
        mean_operations=rng.choice((12.0, 30.0, 30.0, 90.0, 300.0)) if faulty else 0.0,
        fault_kinds=tuple(k for k in KINDS if rng.random() < 0.55) if faulty else (),
        hang_share=rng.choice((0.0, 0.3)) if faulty else 0.0,
        cancel_share=0.3 if faulty and kind == "cancel" else 0.0,
        copy_share=rng.choice((0.0, 0.05, 0.25)),
        delay_share=rng.choice((0.0, 0.1, 0.5)),
        longest_delay=rng.choice((1.0, 30.0, 600.0)),
        outages=outages,
        requests=requests,
        edits=_edits(rng, kind, span),
        fault_seconds=max(span + 1800.0, last + 300.0),
        over_the_wire=rng.random() < 0.15,
    )


def _kind(rng: random.Random) -> Kind:
    kinds: tuple[Kind, ...] = ("mixed", "quiet", "outage", "storm", "race", "catalog", "cancel")
    return rng.choices(kinds, weights=(44, 4, 10, 1.5, 12, 16, 12))[0]


def _outages(rng: random.Random, kind: Kind) -> tuple[Outage, ...]:
    if kind == "storm":
        return (Outage("model", rng.random() * 5, 23 * HOUR),)
    if kind == "outage":
        whats = rng.sample(("storage", "bus", "model"), rng.choice((1, 1, 2)))
        return tuple(Outage(what, 30 * rng.random() ** 2, HOUR) for what in whats)
    return ()


def _requests(rng: random.Random, kind: Kind, span: float) -> tuple[Planned, ...]:
    number = {"storm": rng.randint(1, 2), "race": rng.randint(2, 5)}.get(kind, rng.randint(1, 6))
    chats = rng.choice((("chat-1",), ("chat-1", "chat-2"), ()))
    if kind == "race":
        chats = ("chat-1",)
    planned = []
    for place in range(number):
        chat = rng.choice((*chats, *chats, None))
        owner = rng.choice(("ann", "bob")) if chat is None or kind == "race" else "ann"
        planned.append(
            Planned(
                at=rng.random() * (0.2 if kind == "race" else span),
                name=f"q{place}",
                owner=owner,
                agent_id="hasty" if chat == "chat-2" or kind == "outage" else "ceo",
                conversation_id=chat,
                over_queue=rng.random() < 0.6,
                mood=_mood(rng, kind),
                twins=rng.choice((0, 0, 0, 1, 2)),
                cancel_after=_cancel(rng, kind),
                repeat_after=rng.choice((None, None, 5.0, 700.0, 90000.0)),
                wait_seconds=rng.choice((0.0, 0.0, 5.0, 100.0)),
            )
        )
    return tuple(planned)


def _mood(rng: random.Random, kind: Kind) -> str:
    if kind in ("storm", "outage"):
        return ""
    moods = ("", "[slow]", "[busy]", "[refused]", "[poison]")
    return rng.choices(moods, weights=(80, 8, 7, 3, 2))[0]


def _cancel(rng: random.Random, kind: Kind) -> float | None:
    share = 0.7 if kind == "cancel" else 0.06
    return rng.choice((0.0, 0.01, 0.1, 1.0, 30.0)) if rng.random() < share else None


def _edits(rng: random.Random, kind: Kind, span: float) -> tuple[Edit, ...]:
    if kind != "catalog":
        return ()
    edits = []
    for number in range(rng.randint(1, 4)):
        what = rng.choice(("edit", "disable", "enable", "remove", "new", "new", "new"))
        agent_id = f"new-{number}" if what == "new" else "ceo"
        edits.append(Edit(at=span * rng.random(), what=what, agent_id=agent_id))
    return tuple(edits)
