"""Starts the runs of OpenAI's API. Entry point: `RunStarter.start`.

OpenAI's SDKs repeat a request after a time-out or a 5xx answer. They send no idempotency key with
it, but say that it is a repeat (`x-stainless-retry-count`): it finds the run of the first try.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.responder import Call
from aos.entrypoints.http.runs import read_idempotency_key
from aos.services.admission import Admission, RunRequest

Check: TypeAlias = Callable[[], Awaitable[None]]
DOOR = "openai"
_RETRIES = "x-stainless-retry-count"


class RunStarter:
    """Starts runs, each request once."""

    def __init__(self, callers: CallerRuns) -> None:
        self._callers = callers

    async def start(
        self, call: Call, request: RunRequest, *, check: Check | None = None
    ) -> Admission:
        """Start the run, or find the one that this request has started already.

        `check` refuses what depends on the moment; a request that is repeated has passed it.
        """
        caller, key = call.known_caller, read_idempotency_key(call)
        if key is None and (call.header(_RETRIES) or "0") != "0":
            found = await self._callers.find_retried(request, caller=caller)
            if found is not None:
                return found
        if check is not None:
            is_repeat = key is not None and await self._callers.find_started(
                key, caller=caller, door=DOOR
            )
            if not is_repeat:
                await check()
        return await self._callers.start(
            request, caller=caller, key=key, door=DOOR, traceparent=call.traceparent
        )
