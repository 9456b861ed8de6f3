"""Every list in a table row has a bound: a row that grows with load is refused some day."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from aos.adapters.tables.rows import FREE_FIELDS
from aos.domain import budgets
from aos.domain.dead_letters import Failure
from aos.domain.pushes import PushConfig
from aos.domain.runs import advance, conversation, waiting
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import EventRow
from aos.domain.tools import offer, questions
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import DELEGATE, ApprovalRequest, Decision, ToolCallRow
from aos.ports.cleaning import Due, Window
from aos.ports.index import IndexedRun
from aos.ports.requests import PendingRun
from aos.ports.schedules import Watermark
from aos.ports.slots import Slot
from tests.samples import NOON, a_request

KEPT = (
    *(AdmittedRequest, Conversation, Run, Message, EventRow, ToolCallRow),
    *(ApprovalRequest, Decision, QuestionRequest, QuestionAnswer, PushConfig, Failure),
    *(budgets.DaySpending, IndexedRun, PendingRun, Slot, Watermark, Due, Window),
)
"""What the rows of the tables hold. `ServerTools` is not here: it is kept as texts, each of which
may be stored outside the row."""

BOUNDS: Mapping[str, int | str] = {
    "ActiveRun.calls": offer.MAX_ASKED,
    "ActiveRun.child_run_ids": waiting.MAX_CHILDREN,
    "ActiveRun.turn_log": waiting.MAX_TURNS,
    "ActiveRun.unavailable_servers": "the servers of a card",
    "CallPause.questions": questions.MAX_QUESTIONS,
    "CallResume.answers": questions.MAX_QUESTIONS,
    "CallResume.earlier": questions.MAX_QUESTIONS,
    "Cleaning.late": "runs of before the deletion whose StartRun comes after it",
    "Conversation.outbox": "the calls of a turn, and the ends of the runs that waited",
    "Conversation.queued": advance.MAX_QUEUED_RUNS + 1,
    "Conversation.withheld_runs": conversation.MAX_WITHHELD,
    "DaySpending.open_turns": budgets.MOST_OPEN_TURNS,
    "DeliverNotification.data": "one event, whose texts are cut",
    "EndpointFields.calls": "MAX_EXTRA_BYTES of aos.adapters.model.answers",
    "EndpointFields.message": "MAX_EXTRA_BYTES of aos.adapters.model.answers",
    "EventRow.events": "the calls of a turn, or a batch of a text",
    "Message.tool_calls": offer.MAX_ASKED,
    "Notify.events": "the types of events",
    "OpenCall.answers": questions.MAX_QUESTIONS,
    "RunEvent.data": "one event, whose texts are cut",
    "Run.child_run_ids": waiting.MAX_CHILDREN,
    "Run.turns": waiting.MAX_TURNS,
    "Run.unavailable_servers": "the servers of a card",
    "Turn.tools": waiting.MAX_TOOLS,
    "Waiting.tool_call_ids": offer.MAX_ASKED,
}
"""How many items each list may have. A text says what bounds a list without a number of its own."""


def test_every_list_in_a_row_has_a_bound_or_is_stored_outside_the_row() -> None:
    """A new list: give it a bound, drop the oldest items beyond it, and add it to `BOUNDS`."""
    assert {name for kind in KEPT for name in find_lists(kind)} == set(BOUNDS)


def test_a_run_shows_the_last_runs_that_it_delegated() -> None:
    active = ActiveRun(
        request=a_request(), card_digest="d", run_timeout_seconds=60.0, started_at=NOON
    )
    for number in range(waiting.MAX_CHILDREN + 2):
        call = OpenCall(
            tool_call_id=f"call-{number}", name="ask", written="{}", state="called", tool=DELEGATE
        )
        active = replace(active.with_calls((call,), now=NOON), calls=())
    assert len(active.child_run_ids) == waiting.MAX_CHILDREN
    assert active.run.child_run_ids == active.child_run_ids
    assert active.child_run_ids[-1] == active.with_calls((call,), now=NOON).child_run_ids[-1]


def find_lists(kind: type, *, seen: set[type] | None = None) -> Iterator[str]:
    """Yield the fields that hold many values, `Class.field`, of this class and those in it.

    Fields that rows keep outside themselves, as a whole, are left out, with all that they hold; so
    is what only newer versions know.
    """
    seen = set() if seen is None else seen
    if kind in seen:
        return
    seen.add(kind)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name in FREE_FIELDS or field.name == "unknown":
            continue
        for inner in _walk(hints[field.name]):
            if dataclasses.is_dataclass(inner):
                yield from find_lists(typing.cast("type", inner), seen=seen)
            elif _is_list(inner):
                yield f"{kind.__name__}.{field.name}"


def _walk(kind: Any) -> Iterator[Any]:
    yield kind
    if typing.get_origin(kind) is not typing.Literal:
        for inner in typing.get_args(kind):
            yield from _walk(inner)


def _is_list(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, tuple | list | Mapping | set | frozenset)
