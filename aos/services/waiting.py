"""How does an HTTP caller wait for its run's end?

A RunEnded that arrives in this process wakes the waiter at once; another instance may get it, so
the run's row is read too, after 250 ms, growing by half to 1 s. One reader serves all waiters of a
run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass

from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import TransientError
from aos.ports.conversations import ConversationStore
from aos.ports.system import Clock

FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 1.0
RECENT_RUNS = 128
"""A fast run ends before its caller has begun to wait: that many ends are remembered."""


@dataclass(slots=True)
class _Watched:
    """One run that somebody waits for."""

    ended: asyncio.Future[Run]
    poller: asyncio.Task[None] | None = None
    seen: Run | None = None
    waiters: int = 0


class RunWaiters:
    """The runs that callers of this process wait for."""

    def __init__(self, *, conversations: ConversationStore, clock: Clock) -> None:
        self._conversations = conversations
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._recent: OrderedDict[str, Run] = OrderedDict()

    async def wait(self, request: AdmittedRequest, *, seconds: float) -> Run | None:
        """The ended run; when `seconds` went by first, the run as last seen, if it was seen."""
        if request.run_id in self._recent:
            return self._recent[request.run_id]
        watched = self._watched.get(request.run_id)
        if watched is None:
            watched = self._watched[request.run_id] = self._watch(request)
        watched.waiters += 1
        try:
            done, _ = await asyncio.wait({watched.ended}, timeout=seconds)
            return watched.ended.result() if done else watched.seen
        finally:
            watched.waiters -= 1
            if not watched.waiters and watched.poller is not None:
                watched.poller.cancel()
                self._watched.pop(request.run_id, None)

    def notify(self, run: Run) -> None:
        """Wake whoever waits for this run, or is about to."""
        self._recent[run.run_id] = run
        if len(self._recent) > RECENT_RUNS:
            self._recent.popitem(last=False)
        watched = self._watched.get(run.run_id)
        if watched is not None and not watched.ended.done():
            watched.ended.set_result(run)

    def _watch(self, request: AdmittedRequest) -> _Watched:
        watched = _Watched(ended=asyncio.get_running_loop().create_future())
        watched.poller = asyncio.create_task(self._poll(request, watched))
        return watched

    async def _poll(self, request: AdmittedRequest, watched: _Watched) -> None:
        pause = FIRST_POLL_SECONDS
        while not watched.ended.done():
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
            with contextlib.suppress(TransientError):
                run = await self._conversations.find_run(request.conversation_id, request.run_id)
                watched.seen = run or watched.seen
                if run is not None and run.status.ended and not watched.ended.done():
                    watched.ended.set_result(run)
