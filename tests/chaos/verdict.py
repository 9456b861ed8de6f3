"""Judges what a chaos run saw. Entry points: `Seen`, `judge`.

A request is lost if it was accepted and nobody was told its end. It is doubled if its caller, its
run and its conversation do not hold one and the same answer. The scripted model never says the same
twice, so two turns that both became the answer cannot look alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MARKED = "marked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request: its number, its door (`http` or `queue`), the effects it asks for."""

    number: int
    door: str
    effects: int
    conversation_id: str

    @property
    def text(self) -> str:
        """The message for the agent."""
        return f"question {self.number} effects {self.effects}"

    def list_effects(self) -> list[str]:
        """The names under which its tool calls write their effects."""
        return [f"{self.number}-{letter}" for letter in "abcd"[: self.effects]]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An end as somebody was told it; `reply_id` is `""` outside the queue."""

    status: str
    text: str
    reply_id: str = ""


@dataclass(slots=True)
class Seen:
    """What a chaos run saw; times are seconds of one clock."""

    requests: dict[int, Request] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    ends: dict[int, list[End]] = field(default_factory=dict)
    """Each reply on the queue, and the run as HTTP shows it."""
    questions: Counter[int] = field(default_factory=Counter)
    """How often each question stands in its conversation."""
    answers: dict[int, list[str]] = field(default_factory=dict)
    """The last answers to each question in its conversation."""
    effects: Counter[str] = field(default_factory=Counter)
    dead: Mapping[str, int] = field(default_factory=dict)
    """Dead letters by entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, a line for each fault."""

    lost: Sequence[str]
    failed: Sequence[str]
    doubled: Sequence[str]
    repeated: Sequence[str]
    untrue: Sequence[str]
    """Calls that the model was told had been made, and that had no effect."""
    dead: Sequence[str]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(
            (self.lost, self.failed, self.doubled, self.repeated, self.untrue, self.dead)
        )

    def list_faults(self) -> list[str]:
        """All lines, each with its kind."""
        return [
            f"{kind}: {line}"
            for kind in ("lost", "failed", "doubled", "repeated", "untrue", "dead")
            for line in getattr(self, kind)
        ]


def judge(seen: Seen) -> Verdict:
    """Compare what was accepted with what came of it."""
    known = [seen.requests[number] for number in sorted(seen.accepted)]
    ended = [request for request in known if seen.ends.get(request.number)]
    return Verdict(
        lost=[f"{request}" for request in known if request.number not in seen.ends],
        failed=[
            f"question {request.number}: {end.status}, {end.text}"
            for request in ended
            for end in seen.ends[request.number]
            if end.status != "completed"
        ],
        doubled=[line for request in ended for line in _find_doubles(seen, request)],
        repeated=[f"{name}: {count} times" for name, count in seen.effects.items() if count > 1],
        untrue=[line for request in ended for line in _find_untrue(seen, request)],
        dead=[f"{entity}: {count}" for entity, count in seen.dead.items() if count],
    )


def _find_doubles(seen: Seen, request: Request) -> Iterable[str]:
    number = request.number
    ends = seen.ends[number]
    contents = {(end.status, end.text) for end in ends}
    if len(contents) > 1:
        yield f"question {number} has {len(contents)} contents: {sorted(contents)}"
    ids = {end.reply_id for end in ends if end.reply_id}
    if len(ids) > 1:
        yield f"question {number} has replies with {len(ids)} ids: {sorted(ids)}"
    told = {end.text for end in ends if end.status == "completed"}
    answers = seen.answers.get(number, [])
    if seen.questions[number] != 1:
        yield f"question {number} stands {seen.questions[number]} times in its conversation"
    elif told and answers != sorted(told):
        yield f"question {number}: the caller has {sorted(told)}, the conversation {answers}"


def _find_untrue(seen: Seen, request: Request) -> Iterable[str]:
    done = sum(1 for name in request.list_effects() if seen.effects[name])
    for end in seen.ends[request.number]:
        if (told := end.text.split().count(MARKED)) > done:
            yield f"question {request.number}: {told} calls were told as made, {done} were"


# times


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: what was done to whom, from when till when (a kill is one moment)."""

    kind: str
    target: str
    began: float
    over: float

    @property
    def name(self) -> str:
        """The kind and its target, for the table."""
        return f"{self.kind} {self.target}"


def list_latencies(seen: Seen) -> list[float]:
    """Seconds from acceptance to the end that the caller saw."""
    return [seen.ended[number] - seen.accepted[number] for number in seen.ended]


def list_recoveries(seen: Seen, faults: Sequence[Fault]) -> list[float]:
    """For each request that a fault met: seconds from the first fault to the end of the request.

    The time while a process is frozen, storage slow or a disk full does not count: until then there
    is nothing to recover. Later kills that meet the same request add to its time.
    """
    return [seconds for _, seconds in _measure_recoveries(seen, faults)]


def describe_slowest(seen: Seen, faults: Sequence[Fault], *, count: int = 5) -> list[str]:
    """The requests that took longest to recover, with the faults that met them."""
    slowest = sorted(_measure_recoveries(seen, faults), key=lambda pair: -pair[1])[:count]
    return [_describe_request(seen, faults, number, seconds) for number, seconds in slowest]


def _measure_recoveries(seen: Seen, faults: Sequence[Fault]) -> Iterable[tuple[int, float]]:
    for number, ended in seen.ended.items():
        accepted = seen.accepted[number]
        met = _find_met(faults, accepted, ended)
        if not met:
            continue
        start = max(accepted, min(fault.began for fault in met))
        spans = [(max(start, fault.began), min(ended, fault.over)) for fault in met]
        yield number, ended - start - _add_up(spans)


def _add_up(spans: Iterable[tuple[float, float]]) -> float:
    """The seconds that lie in at least one of the spans."""
    total, reached = 0.0, 0.0
    for began, over in sorted(spans):
        total += max(0.0, over - max(began, reached))
        reached = max(reached, over)
    return total


def _find_met(faults: Sequence[Fault], accepted: float, ended: float) -> list[Fault]:
    return [fault for fault in faults if fault.began < ended and fault.over > accepted]


def _describe_request(seen: Seen, faults: Sequence[Fault], number: int, seconds: float) -> str:
    accepted, ended = seen.accepted[number], seen.ended[number]
    met = ", ".join(
        f"{fault.name} at {fault.began - accepted:.1f} till {fault.over - accepted:.1f}"
        for fault in sorted(_find_met(faults, accepted, ended), key=lambda it: it.began)
    )
    request = seen.requests[number]
    return (
        f"recovered in {seconds:.1f} s: {request.text} ({request.door}, "
        f"{request.conversation_id}), ended {ended - accepted:.1f} s after its acceptance; {met}"
    )
