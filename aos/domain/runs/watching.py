"""Decides which runs are streamed while somebody reads their events, and in which rhythm. Entry
points: `watch`, `is_watched`, `count_batch_seconds`.

The rules are pure, as in `aos.domain.runs.advance`. A watched run costs storage calls, so a watch
ends by itself; main renews it while there are readers.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.envelope import WatchRun
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import AdmittedRequest

WATCH = timedelta(minutes=10)
"""The longest time that one watch lasts, whatever its command says."""
BATCH_SECONDS = 0.25
"""From the start of one write of a model's text to the next: at most four a second."""
LATER_BATCH_SECONDS = 0.5
"""The same, once the reader has seen that the text comes."""
SOON_PARTS = 2
"""After parts up to this one of an attempt the next text comes after BATCH_SECONDS. Part 1 is
`attempt.started`, part 2 the first text."""
RENEW = timedelta(minutes=4)
"""Main renews the watch of a run that is read this often."""


def watch(conversation: Conversation, command: WatchRun, *, now: datetime) -> Step:
    """Apply a WatchRun to the run, active or queued here. A watch is never made shorter."""
    until = min(command.until, now + WATCH)

    def extend(request: AdmittedRequest) -> AdmittedRequest:
        known = request.watched_until
        if request.run_id != command.run_id or (known is not None and known >= until):
            return request
        return replace(request, watched_until=until)

    active = conversation.active
    return Step(
        conversation=replace(
            conversation,
            active=None if active is None else replace(active, request=extend(active.request)),
            queued=tuple(extend(request) for request in conversation.queued),
        )
    )


def count_batch_seconds(part: int) -> float:
    """The seconds from the write of this part of an attempt to the write of the next one."""
    return BATCH_SECONDS if part <= SOON_PARTS else LATER_BATCH_SECONDS


def is_watched(request: AdmittedRequest, *, now: datetime) -> bool:
    """Whether a turn of the run that begins now is streamed."""
    return request.watched_until is not None and now < request.watched_until
