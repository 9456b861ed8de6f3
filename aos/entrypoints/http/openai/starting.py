"""Starts the runs of OpenAI's API. Entry point: `RunStarter.start`.

OpenAI's SDKs repeat a request after a time-out or a 5xx answer. They send no idempotency key with
it, but say that it is a repeat (`x-stainless-retry-count`): it finds the run of the first try.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aos.domain.caller import Caller
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.taking import ItemTaker
from aos.entrypoints.http.responder import Call
from aos.entrypoints.http.runs import read_idempotency_key
from aos.services.admission import Admission, RunRequest

Check: TypeAlias = Callable[[], Awaitable[None]]
DOOR = "openai"
_RETRIES = "x-stainless-retry-count"


class RunStarter:
    """Starts runs, each request once."""

    def __init__(self, callers: CallerRuns, *, taker: ItemTaker) -> None:
        self._callers = callers
        self._taker = taker

    async def start(
        self,
        call: Call,
        request: RunRequest,
        *,
        check: Check | None = None,
        takes_items: bool = False,
    ) -> Admission:
        """Start the run, or find the one that this request has started already.

        `check` refuses what depends on the moment; a request that is repeated has passed it.
        `takes_items`: the run begins with the items that wait at its conversation.
        """
        caller, key = call.known_caller, read_idempotency_key(call)
        if key is None and (call.header(_RETRIES) or "0") != "0":
            found = await self._callers.find_retried(request, caller=caller)
            if found is not None:
                return found

        async def begin(request: RunRequest, key: str | None) -> Admission:
            return await self._callers.start(
                request, caller=caller, key=key, door=DOOR, traceparent=call.traceparent
            )

        if (check is not None or takes_items) and await self._has_started(key, caller):
            return await begin(request, key)
        if check is not None:
            await check()
        if takes_items:
            return await self._taker.start(request, begin, caller=caller, key=key, door=DOOR)
        return await begin(request, key)

    async def _has_started(self, key: str | None, caller: Caller) -> bool:
        if key is None:
            return False
        return await self._callers.find_started(key, caller=caller, door=DOOR) is not None
