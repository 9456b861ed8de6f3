"""Reads a response as it is now, and waits for its end. Entry point: `ResponseReader`."""

from __future__ import annotations

from typing import Any

from aos.domain.codec import decode
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus, Usage
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.names import ResponseId
from aos.entrypoints.http.openai.response_object import (
    Asked,
    Outcome,
    ResponseStatus,
    describe_response,
    find_incomplete,
    find_status,
)
from aos.entrypoints.http.openai.unfolding import Unfolding, make_message
from aos.errors import ErrorInfo, Refused
from aos.ports.system import Clock

PAUSE_SECONDS = 0.25
"""Between two looks at a run that has just got a decision."""


class ResponseReader:
    """Responses as they are now."""

    def __init__(self, callers: CallerRuns, *, clock: Clock) -> None:
        self._callers = callers
        self._clock = clock

    async def unfold(self, request: AdmittedRequest, part: int) -> Unfolding:
        """Read what the run has told so far."""
        unfolding = Unfolding(request.run_id, part=part)
        async for events in self._callers.list_all_events(request):
            for event in events:
                unfolding.read(event)
        return unfolding

    async def require_part(self, request: AdmittedRequest, part: int) -> Unfolding:
        """Do the same as `unfold`. Raises Refused `run_not_found` for a part that has not begun."""
        unfolding = await self.unfold(request, part)
        if part > unfolding.parts:
            name = str(ResponseId(request.run_id, part))
            raise Refused("run_not_found", f"there is no response {name!r} of yours")
        return unfolding

    async def read(self, request: AdmittedRequest, part: int) -> dict[str, Any]:
        """Return the response object. Raises Refused `run_not_found`."""
        run = await self._callers.read(request)
        return describe_response(request, await self._find_outcome(request, part, run), part=part)

    async def wait(
        self,
        request: AdmittedRequest,
        part: int,
        *,
        seconds: float,
        asked: Asked | None = None,
        run: Run | None = None,
    ) -> dict[str, Any]:
        """Return the response when it is over, or as it is after `seconds`.

        A response is over when its run has ended, or when it waits for approvals.
        """
        deadline = self._clock.monotonic() + seconds
        run = run or await self._callers.read(request)
        while True:
            left = deadline - self._clock.monotonic()
            run = await self._callers.wait_until(request, run, seconds=left, until=may_be_over)
            outcome = await self._find_outcome(request, part, run)
            is_over = outcome.status not in ("queued", "in_progress")
            left = deadline - self._clock.monotonic()
            if is_over or left <= 0 or self._callers.is_ending:
                return describe_response(request, outcome, part=part, asked=asked)
            await self._clock.sleep(min(PAUSE_SECONDS, left))
            run = await self._callers.read(request)

    async def _find_outcome(self, request: AdmittedRequest, part: int, run: Run) -> Outcome:
        if part == 0 and (run.status is RunStatus.QUEUED or _is_plain(run)):
            return _read_plain(run)
        return conclude(await self.require_part(request, part))


def may_be_over(run: Run) -> bool:
    """Whether a response of the run may be over: the run has ended, or waits for a decision."""
    return run.status.has_ended or run.status is RunStatus.WAITING_APPROVAL


def conclude(unfolding: Unfolding) -> Outcome:
    """How far a response has come, by what its run has told."""
    items, end = tuple(unfolding.items), unfolding.ended_with
    if end is None:
        if not unfolding.waits:
            return Outcome(status="in_progress", output=items)
        return Outcome(status="completed", output=items, usage=unfolding.usage)
    raw, error = end.data.get("usage"), end.data.get("error")
    fault = None if error is None else decode(ErrorInfo, error)
    incomplete = find_incomplete(end.data.get("finish_reason"), fault)
    status: ResponseStatus = "incomplete" if incomplete else _ENDS[end.type]
    whole = decode(Usage, raw) if isinstance(raw, dict) else Usage()
    output = end.data.get("output")
    if output and not items:  # a run of an earlier version, without events of its own
        items = (make_message(unfolding.run_id, 1, str(output)),)
    return Outcome(
        status=status,
        output=items,
        usage=unfolding.usage if unfolding.parts else whole,
        error=fault,
        incomplete=incomplete,
        completed_at=end.time if status == "completed" else None,
    )


_ENDS: dict[str, ResponseStatus] = {
    "run.completed": "completed",
    "run.failed": "failed",
    "run.timed_out": "failed",
    "run.cancelled": "cancelled",
}


def _is_plain(run: Run) -> bool:
    """Whether the run has ended with one answer and no tools: its row says it all."""
    return run.status.has_ended and len(run.turns) <= 1 and not any(t.tools for t in run.turns)


def _read_plain(run: Run) -> Outcome:
    output = (make_message(run.run_id, 1, run.output),) if run.output else ()
    status = find_status(run)
    return Outcome(
        status=status,
        output=output,
        usage=run.usage if run.status.has_ended else None,
        error=run.error,
        incomplete=find_incomplete(run.finish_reason, run.error),
        completed_at=run.ended_at if status == "completed" else None,
    )
