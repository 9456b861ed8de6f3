"""Starts the runs of OpenAI's API. Entry point: `RunStarter.start`.

OpenAI's SDKs repeat a request after a time-out or a 5xx answer. They send no idempotency key with
it, but say that it is a repeat (`x-stainless-retry-count`): it finds the run of the first try.
"""

from __future__ import annotations

from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.responder import Call
from aos.entrypoints.http.runs import read_idempotency_key
from aos.services.admission import Admission, RunRequest

DOOR = "openai"
_RETRIES = "x-stainless-retry-count"


class RunStarter:
    """Starts runs, each request once."""

    def __init__(self, callers: CallerRuns) -> None:
        self._callers = callers

    async def start(self, call: Call, request: RunRequest) -> Admission:
        """Start the run, or find the one that this request has started already."""
        key = read_idempotency_key(call)
        if key is None and (call.header(_RETRIES) or "0") != "0":
            found = await self._callers.find_retried(request, caller=call.known_caller)
            if found is not None:
                return found
        return await self._callers.start(
            request, caller=call.known_caller, key=key, door=DOOR, traceparent=call.traceparent
        )
