"""Declares every kind of table row, and when it ends. Entry points: `ROW_KINDS`, `find_row_kind`.

A row of a kind that is not declared here is an error of the tests: the stores in memory name the
kinds that they keep, the tests of the real stores compare each row that they write, and
docs/contracts/storage.md lists the same kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

REQUEST_RETENTION = timedelta(days=30)
"""The rows of a run end so long after its admission; those of a deletion, after the deletion."""
USAGE_RETENTION = timedelta(days=400)
LARGEST_PROPERTY = 32 * 1024
"""UTF-16 units that a property of a row holds. The service refuses a row with a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """One kind of row: where it is, what it holds, when it ends, and who removes it then.

    `partition` and `row` are forms: text in `<…>` stands for any text. `removed_by` names the
    method that removes the rows (`module:Class.method`).
    """

    name: str
    partition: str
    row: str
    ends: str
    removed_by: str

    @property
    def table(self) -> str:
        """The table of the rows."""
        return self.name.partition("/")[0]

    def fits(self, table: str, partition: str, row: str) -> bool:
        """Whether a row of this table with these keys is of this kind."""
        return table == self.table and _fits(self.partition, partition) and _fits(self.row, row)


DELIVERY = "aos.services.replies:Replies.deliver"
SERVERS = "aos.services.tool_calls.tool_listing:ToolListing.follow"
SCHEDULES = "aos.services.admission.schedules:ScheduledRuns.wake"
WATCH = "aos.services.dead_letters:DeadLetters.watch"
ASKS = "aos.services.execution.asks:RealmAsks.apply"
CLEANER = "aos.services.cleaner:Cleaner.clean"
REALM = "aos.services.execution.deletion:Deletions.clean"

ROW_KINDS: tuple[RowKind, ...] = (
    RowKind(
        name="aosruns/request",
        partition="<run_id>",
        row="run",
        ends="30 days after the run's admission; scrubbed when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosruns/child",
        partition="<run_id>",
        row="child:<run_id>",
        ends="with the request row of its partition",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosruns/push",
        partition="<run_id>",
        row="push:<config_id>",
        ends="with the request row, or when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosruns/slot",
        partition="<conversation_id>",
        row="busy",
        ends="30 days after the conversation's deletion",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosconversations/head",
        partition="<conversation_id>",
        row="head",
        ends="30 days after the conversation's deletion",
        removed_by=REALM,
    ),
    RowKind(
        name="aosconversations/run",
        partition="<conversation_id>",
        row="run:<run_id>",
        ends="with the head; scrubbed when the conversation is deleted",
        removed_by=REALM,
    ),
    RowKind(
        name="aosconversations/message",
        partition="<conversation_id>",
        row="msg:<10 digits>",
        ends="when the conversation is deleted",
        removed_by=REALM,
    ),
    RowKind(
        name="aosconversations/event",
        partition="<conversation_id>",
        row="event:<run_id>:<id>",
        ends="when the conversation is deleted",
        removed_by=REALM,
    ),
    RowKind(
        name="aospending/pending",
        partition="<00-15>",
        row="<run_id>",
        ends="when the run's end is delivered",
        removed_by=DELIVERY,
    ),
    RowKind(
        name="aosindex/first",
        partition="everybody",
        row="first:<conversation_id>",
        ends="30 days after the conversation's deletion",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/first-of-owner",
        partition="owner:<hash>",
        row="first:<conversation_id>",
        ends="30 days after the conversation's deletion",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/everybody",
        partition="everybody",
        row="<inverted time>-<run_id>",
        ends="with the request row; of a conversation's first run, with the conversation",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/agent",
        partition="agent:<agent_id>",
        row="<inverted time>-<run_id>",
        ends="as in everybody",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/owner",
        partition="owner:<hash>",
        row="<inverted time>-<run_id>",
        ends="as in everybody",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/due",
        partition="due",
        row="<time>-<kind>-<id>-<time>",
        ends="when it is done",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosindex/window",
        partition="windows",
        row="<name>",
        ends="never: one row, and one for each agent with `memory.ttl_days`",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostoolcalls/waiting",
        partition="approvals",
        row="<time>-<run_id>-<tool_call_id>",
        ends="when the call is decided",
        removed_by=ASKS,
    ),
    RowKind(
        name="aostoolcalls/approval",
        partition="<run_id>",
        row="<tool_call_id>:approval",
        ends="with the request row, or when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostoolcalls/decision",
        partition="<run_id>",
        row="<tool_call_id>:decision",
        ends="with the request row, or when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostoolcalls/unanswered",
        partition="questions",
        row="<time>-<run_id>-<question_id>",
        ends="when the question is answered",
        removed_by=ASKS,
    ),
    RowKind(
        name="aostoolcalls/question",
        partition="<run_id>",
        row="<question_id>:question",
        ends="with the request row, or when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostoolcalls/answer",
        partition="<run_id>",
        row="<question_id>:answer",
        ends="with the request row, or when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostoolcalls/call",
        partition="<run_id>",
        row="<tool_call_id>",
        ends="with the request row; scrubbed when the conversation is deleted",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aostools/server",
        partition="tools",
        row="<server_id>",
        ends="when the server's card is removed",
        removed_by=SERVERS,
    ),
    RowKind(
        name="aosschedules/watermark",
        partition="<agent_id>",
        row="<schedule_id>",
        ends="when the schedule leaves the card, or its agent is disabled or removed",
        removed_by=SCHEDULES,
    ),
    RowKind(
        name="aosfailures/failure",
        partition="<entity>",
        row="<sequence number>",
        ends="when the dead letter is replayed, purged or gone",
        removed_by=WATCH,
    ),
    RowKind(
        name="aosusage/day",
        partition="<agent_id>",
        row="day:<date>:<00-15>:<hash>",
        ends="400 days after its day",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosusage/spent-by-owner",
        partition="owner:<hash>",
        row="spent:<date>",
        ends="400 days after its day",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosusage/spent",
        partition="<agent_id>",
        row="spent:<date>",
        ends="400 days after its day",
        removed_by=CLEANER,
    ),
    RowKind(
        name="aosusage/seen",
        partition="<agent_id>",
        row="seen:<run_id>",
        ends="with the request row",
        removed_by=CLEANER,
    ),
)
"""Every kind of row. If several fit a row, the first one counts."""


def find_row_kind(table: str, partition: str, row: str) -> RowKind:
    """Return the kind of a row. Raises KeyError if no declared kind fits."""
    for kind in ROW_KINDS:
        if kind.fits(table, partition, row):
            return kind
    raise KeyError(
        f"row {row!r} of {partition!r} in table {table!r} is of no declared kind: add it to"
        " aos.domain.row_kinds.ROW_KINDS, with its end"
    )


def check_declared(names: tuple[str, ...]) -> None:
    """Raise KeyError for a name that is not of a declared kind."""
    known = {kind.name for kind in ROW_KINDS}
    for name in names:
        if name not in known:
            raise KeyError(
                f"row kind {name!r} is not declared: add it to aos.domain.row_kinds.ROW_KINDS,"
                " with its end"
            )


def _fits(form: str, key: str) -> bool:
    parts = form.replace(">", "<").split("<")  # text and the names of placeholders in turn
    pattern = ".+".join(re.escape(text) for text in parts[::2])
    return re.fullmatch(pattern, key, re.DOTALL) is not None
