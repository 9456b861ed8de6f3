"""Who asks what and when, in the world of a seed? Entry points: `Planned`, `plan_requests`,
`plan_of_all`.

Each kind of world has its own requests; a seed's are always the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "mixed",
    "quiet",
    "outage",
    "storm",
    "long",
    "race",
    "catalog",
    "cancel",
    "full",
    "tools",
    "reject",
    "budget",
    "wake",
    "delete",
    "letters",
    "pause",
    "together",
    "watch",
    "tasks",
    "age",
    "crowd",
]
HOUR = 3600.0
DAY = 86400.0
_CHATS: tuple[tuple[str, ...], ...] = (("chat-1",), ("chat-1", "chat-2"), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One request: when, who, what, and what its client does beside waiting.

    `stream` asks for the model's text while it is written; `readers` read the run's events. What is
    `keyless` is sent once.
    """

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
    stream: bool = False
    readers: int = 0
    keyless: bool = False


def plan_requests(rng: random.Random, kind: Kind, span: float) -> tuple[Planned, ...]:
    number = {
        "storm": rng.randint(1, 2),
        "long": rng.randint(1, 3),
        "race": rng.randint(2, 5),
        "catalog": rng.randint(3, 6),
        "full": 36,
        "tools": rng.randint(1, 4),
        "reject": rng.randint(3, 9),
        "budget": rng.randint(4, 10),
        "delete": rng.randint(2, 6),
        "letters": 9,
        "watch": rng.randint(1, 4) if kind == "watch" else 0,
        "tasks": rng.randint(1, 3) if kind == "tasks" else 0,
        "age": 5,
        "crowd": rng.randint(6, 16),
    }.get(kind, rng.randint(1, 6))
    chats = ("chat-1",) if kind in ("race", "full") else rng.choice(_CHATS)
    planned = tuple(_request(rng, kind, chats, place, span) for place in range(number))
    if kind != "letters":
        return planned
    # what nobody repeats, only the operator can save
    return tuple(replace(one, twins=0, repeat_after=None) for one in planned[:-2]) + planned[-2:]


def _request(
    rng: random.Random, kind: Kind, chats: tuple[str, ...], place: int, span: float
) -> Planned:
    if kind == "tools":
        return _with_tools(rng, place, span)
    if kind == "budget":
        return _of_a_thrifty_agent(rng, place, span)
    if kind == "reject":
        return _to_one_at_a_time(rng, place, span)
    if kind == "delete":
        return _to_be_deleted(rng, place, span)
    if kind == "watch":
        return _to_be_watched(rng, place, span)
    if kind == "tasks":
        return replace(_with_tools(rng, place, span), agent_id="tasked", conversation_id=None)
    if kind == "crowd":
        return _in_a_crowd(rng, place)
    if kind == "age":
        return _in_an_old_conversation(rng, place, span)
    chat = rng.choice((*chats, *chats, None)) if kind != "full" else "chat-1"
    agent_id = {"chat-2": "hasty", None: rng.choice(("ceo", "tuned"))}.get(chat, "ceo")
    if kind == "outage" or (kind == "race" and rng.random() < 0.15):
        agent_id = "hasty"
    return Planned(
        at=rng.random() * (0.2 if kind in ("race", "full") else span),
        name=f"q{place}",
        owner=rng.choice(("ann", "bob")) if chat is None or kind == "race" else "ann",
        agent_id=agent_id,
        conversation_id=chat,
        over_queue=rng.random() < 0.6 or kind == "letters",
        mood=_mood(rng, kind),
        twins=rng.choice((0, 0, 0, 1, 2)) if kind != "full" else 0,
        cancel_after=_cancel(rng, kind),
        repeat_after=rng.choice((None, None, 5.0, 700.0, 90000.0)),
        wait_seconds=rng.choice((0.0, 0.0, 5.0, 100.0)),
    )


def _with_tools(rng: random.Random, place: int, span: float) -> Planned:
    """A request of an agent that has tools, or a team."""
    agent_id = rng.choice(("tooled", "tooled", "lead"))
    return Planned(
        at=rng.random() * span,
        name=f"q{place}",
        owner="ann",
        agent_id=agent_id,
        conversation_id=rng.choice((f"chat-{agent_id}", None)),
        over_queue=rng.random() < 0.6,
        mood="[tools]",
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=rng.choice((1.0, 5.0, 60.0, 400.0)) if rng.random() < 0.15 else None,
        repeat_after=rng.choice((None, None, 700.0)),
        wait_seconds=rng.choice((0.0, 5.0)),
    )


def _to_be_deleted(rng: random.Random, place: int, span: float) -> Planned:
    """A request in a conversation that is deleted, with or without tools, maybe repeated later."""
    agent_id = rng.choice(("ceo", "ceo", "tooled", "tooled"))
    return Planned(
        at=rng.random() * span,
        name=f"q{place}",
        owner="ann",
        agent_id=agent_id,
        conversation_id=f"chat-{agent_id}",
        over_queue=rng.random() < 0.6,
        mood="[tools]" if agent_id == "tooled" else rng.choice(("", "", "[slow]")),
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=rng.choice((1.0, 5.0, 60.0)) if rng.random() < 0.1 else None,
        repeat_after=rng.choice((None, 5.0, 40.0, 700.0, 90000.0)),
        wait_seconds=rng.choice((0.0, 5.0, 5.0)),
    )


def _to_be_watched(rng: random.Random, place: int, span: float) -> Planned:
    """A request whose events somebody reads, or whose text is streamed."""
    agent_id = rng.choice(("ceo", "ceo", "tooled"))
    mood = rng.choices(("", "[slow]", "[busy]", "[refused]"), weights=(70, 15, 10, 5))[0]
    return Planned(
        at=rng.random() * span,
        name=f"q{place}",
        owner="ann",
        agent_id=agent_id,
        conversation_id=rng.choice((f"chat-{agent_id}", None)),
        over_queue=rng.random() < 0.5,
        mood="[tools]" if agent_id == "tooled" else mood,
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=rng.choice((0.5, 5.0, 60.0)) if rng.random() < 0.1 else None,
        repeat_after=rng.choice((None, None, 700.0)),
        wait_seconds=rng.choice((0.0, 5.0)),
        stream=rng.random() < 0.7,
        readers=rng.choice((1, 1, 2, 3)),
    )


def _in_an_old_conversation(rng: random.Random, place: int, span: float) -> Planned:
    """A request in a conversation that ends by its age: now, or when a day is just over."""
    late = 0.0 if place < 3 else DAY + rng.choice((-600.0, -2.0, 0.0, 2.0, 30.0, 1500.0))
    return Planned(
        at=rng.random() * min(span, 20.0) + late,
        name=f"q{place}",
        owner="ann",
        agent_id="notes",
        conversation_id="chat-notes",
        over_queue=rng.random() < 0.5,
        mood=rng.choices(("", "[slow]"), weights=(70, 30))[0],
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=None,
        repeat_after=rng.choice((None, None, 40.0, 2 * DAY)),
        wait_seconds=rng.choice((0.0, 5.0)),
    )


def _in_a_crowd(rng: random.Random, place: int) -> Planned:
    """One of many requests of two moments, whose ends nobody but the events' subscribers is told:
    main records several of them at once."""
    return Planned(
        at=rng.choice((0.0, 1.0)) + rng.random() * 0.2,
        name=f"crowd-{place}-",
        keyless=place % 2 == 0,
        owner=rng.choice(("ann", "bob")),
        agent_id="ceo",
        conversation_id=rng.choice((None, "chat-1")),
        over_queue=False,
        mood=rng.choices(("", "[slow]"), weights=(85, 15))[0],
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=None,
        repeat_after=rng.choice((None, None, 40.0)),
        wait_seconds=rng.choice((0.0, 100.0)),
    )


def _to_one_at_a_time(rng: random.Random, place: int, span: float) -> Planned:
    """A request of an agent that rejects what comes while it is busy."""
    moods = ("", "[slow]", "[busy]", "[refused]")
    return Planned(
        at=rng.random() * rng.choice((0.2, span)),
        name=f"q{place}",
        owner="ann",
        agent_id="single",
        conversation_id="chat-single",
        over_queue=rng.random() < 0.4,
        mood=rng.choices(moods, weights=(60, 25, 10, 5))[0],
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=rng.choice((0.01, 1.0, 30.0)) if rng.random() < 0.1 else None,
        repeat_after=rng.choice((None, 40.0, 700.0)),
        wait_seconds=rng.choice((0.0, 5.0)),
    )


def _of_a_thrifty_agent(rng: random.Random, place: int, span: float) -> Planned:
    """A request of an agent whose budget lasts for some of them."""
    return Planned(
        at=rng.random() * rng.choice((0.2, span)),
        name=f"q{place}",
        owner="ann",
        agent_id="thrifty",
        conversation_id=rng.choice(("chat-thrifty", None, None)),
        over_queue=rng.random() < 0.4,
        mood=rng.choices(("", "[slow]", "[busy]"), weights=(70, 20, 10))[0],
        twins=rng.choice((0, 0, 0, 1)),
        cancel_after=rng.choice((0.01, 1.0, 30.0)) if rng.random() < 0.05 else None,
        repeat_after=rng.choice((None, 700.0, 90000.0)),
        wait_seconds=rng.choice((0.0, 5.0)),
    )


def _mood(rng: random.Random, kind: Kind) -> str:
    if kind in ("storm", "long", "full"):
        return ""
    moods = ("", "[slow]", "[busy]", "[refused]", "[poison]")
    return rng.choices(moods, weights=(80, 8, 7, 3, 2))[0]


def _cancel(rng: random.Random, kind: Kind) -> float | None:
    share = {"cancel": 0.7, "outage": 0.3, "full": 0.0}.get(kind, 0.06)
    moments = (5.0, 100.0, 400.0, 2000.0) if kind == "outage" else (0.0, 0.01, 0.1, 1.0, 30.0)
    return rng.choice(moments) if rng.random() < share else None


def plan_of_all(rng: random.Random, also: tuple[Kind, ...], span: float) -> tuple[Planned, ...]:
    """Requests of each of these kinds, and others, in one world."""
    asking: tuple[Kind, ...] = (
        "mixed",
        "tools",
        "delete",
        "reject",
        "budget",
        "watch",
        "tasks",
    )
    kinds = [kind for kind in asking if kind == "mixed" or kind in also]
    chats = rng.choice(_CHATS)
    return tuple(
        _request(rng, rng.choice(kinds), chats, place, span) for place in range(rng.randint(4, 10))
    )


def plan_in_a_calm_pause(rng: random.Random, begin: float, seconds: float) -> tuple[Planned, ...]:
    """Requests that come in the last pause, over the queue and over HTTP."""
    return tuple(
        Planned(
            at=begin + 10 + (seconds - 15) * rng.random(),
            name=f"paused-{place}",
            owner="ann",
            agent_id="ceo",
            conversation_id=None,
            over_queue=place < 2,
            mood="",
            twins=0,
            cancel_after=None,
            repeat_after=None,
            wait_seconds=0.0,
        )
        for place in range(3)
    )
