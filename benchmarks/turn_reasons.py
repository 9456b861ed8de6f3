"""Says why an ordinary turn makes each of its storage calls and sends each of its messages. Entry
point: `find_reason`.

An ordinary turn is asked over HTTP, without tools. A later turn of a conversation reads more than
its first one. docs/COST.md has the same lines, with the times that
`python -m benchmarks account --write` measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One call of a turn: who makes it, why, and what else could carry it, if anything could."""

    app: str
    what: str
    why: str
    instead: str = "-"


CATALOG = "blob GET aos-data/catalog/head.json"
REASONS: tuple[Reason, ...] = (
    Reason(
        app="main",
        what=CATALOG,
        why="which cards are live; at most once in 2 s and app, whatever the number of turns",
    ),
    Reason(
        app="main",
        what="table read aosconversations/head",
        why="later turns only: whose conversation it is, which agent's, and whether it is deleted;"
        " at the same time as the pending row",
        instead="realm, which reads it too, if a refusal may come after admission",
    ),
    Reason(
        app="main",
        what="table write aospending/pending",
        why="the mender finds the run if main dies before its message is sent; it must be there"
        " before the request is",
        instead="a scheduled message on the bus, or a row in the transaction of the request",
    ),
    Reason(
        app="main",
        what="table write aosruns/request",
        why="admits the run once: an insertion that a repeated request finds",
    ),
    Reason(
        app="main",
        what="bus send StartRun to aos-realm",
        why="starts the run, in the session of its conversation",
    ),
    Reason(
        app="main",
        what="table write aosindex/agent",
        why="the list of an agent's runs; written 250 ms later, with those of other runs",
    ),
    Reason(
        app="main",
        what="table write aosindex/everybody",
        why="the list of all runs, and of conversations; written with that of an agent's runs",
    ),
    Reason(
        app="main",
        what="table write aosindex/owner",
        why="the list of a caller's runs; written with that of an agent's runs",
    ),
    Reason(
        app="realm",
        what="table read aosruns/request",
        why="the request as admitted, and whether it is to be cancelled",
        instead="the message, except for the cancellation",
    ),
    Reason(
        app="realm",
        what="table read aosconversations/head",
        why="later turns only: the state of the conversation and its ETag; at the same time as the"
        " request",
    ),
    Reason(
        app="realm",
        what=CATALOG,
        why="the agent's card as it is now; at most once in 2 s and app, at the same time as the"
        " request",
    ),
    Reason(
        app="realm",
        what="table write aosconversations/head, 2 aosconversations/message,"
        " aosconversations/run, aosconversations/event",
        why="the turn as one transaction: the messages, the run's end, its events, and in the head"
        " what is still to be sent",
    ),
    Reason(
        app="realm",
        what="bus send RunEnded to aos-main",
        why="tells main, which answers the waiting caller",
    ),
    Reason(
        app="main",
        what="bus send run.completed to agent-events",
        why="the CloudEvent that others subscribe to; with those of other runs that ended in these"
        " 250 ms",
    ),
    Reason(
        app="main",
        what="table write aosusage/day, aosusage/seen",
        why="counts the usage once, and remembers that the end was delivered; written with the"
        " lists, one call for all runs of an agent",
    ),
    Reason(
        app="main",
        what="table delete aospending/pending",
        why="the run's end was delivered, so the mender has nothing to look at; 2 s later, one call"
        " for all runs of a partition",
        instead="the completion of a scheduled message",
    ),
)
"""In the order in which they begin."""


def find_reason(app: str, what: str) -> Reason | None:
    """Return the reason for a call, or None if nobody wrote one."""
    for reason in REASONS:
        if (reason.app, reason.what) == (app, what):
            return reason
    return None
