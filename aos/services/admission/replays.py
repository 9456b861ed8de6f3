"""Asks ended runs again as new ones. Entry points: `Replays.replay`, `Replays.replay_all`.

A replay has the content, the owner, the metadata and the reply address of the run that it repeats,
and a run id, a reply and an end of its own. Its idempotency key is made of the ended run's id, so
that a repeated call finds the first replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aos.domain.caller import Caller
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import ErrorInfo, Refused
from aos.ports.paging import Page
from aos.services.admission.admissions import Admission, Admissions
from aos.services.admission.run_requests import RunRequest
from aos.services.runs import RunReader

PAGES_SEARCHED = 10
"""Pages of the list of runs that one call reads at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter:
    """Which ended runs are asked again: those with this error code, admitted since a time."""

    error_code: str
    since: datetime
    agent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """An ended run and its replay, or why there is none. In a dry run both are None."""

    run_id: str
    replay_run_id: str | None = None
    error: ErrorInfo | None = None


class Replays:
    """Main's use case: ask ended runs again."""

    def __init__(self, admissions: Admissions, *, runs: RunReader) -> None:
        self._admissions = admissions
        self._runs = runs

    async def replay(
        self,
        run_id: str,
        *,
        owner: str | None,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Admission:
        """Ask the run again; return its replay.

        `owner` is the owner whose runs the caller may see, None for an admin. Another `key` makes
        another replay. Raises Refused: `run_not_found`, `precondition_failed` (the run goes on),
        `conversation_deleted`, and what an admission raises.
        """
        request, run = await self._runs.find(run_id, owner=owner)
        if not run.status.has_ended:
            raise Refused(
                "precondition_failed",
                f"run {run_id!r} is {run.status}; replay it when it has ended, or cancel it first",
            )
        return await self.repeat(request, run, key=key, traceparent=traceparent)

    async def repeat(
        self,
        request: AdmittedRequest,
        run: Run,
        *,
        key: str | None = None,
        traceparent: str | None = None,
    ) -> Admission:
        """Ask an ended run again. Raises as `replay` does."""
        await self._require_content(request)
        own = request.conversation_id == request.run_id
        return await self._admissions.admit(
            RunRequest(
                agent_id=request.agent_id,
                message=request.message,
                conversation_id=None if own else request.conversation_id,
                metadata=request.metadata,
                reply=request.reply,
                parts=request.parts,
                replay_of=request.run_id,
                notify=request.notify,
                options=request.options,
            ),
            door="http",
            scope=f"replay:{request.run_id}",
            key=key or "",
            caller=Caller(owner=request.owner, is_admin=request.as_admin),
            traceparent=traceparent,
        )

    async def replay_all(
        self, wanted: ReplayFilter, *, after: str | None, limit: int, dry_run: bool
    ) -> Page[Replayed]:
        """Ask the runs that the filter finds again, newest first, at most `limit`.

        A page may be shorter than `limit`. A run that is refused does not stop the others.
        """
        found: list[Replayed] = []
        for _ in range(PAGES_SEARCHED):
            page = await self._runs.list_runs(
                owner=None,
                agent_id=wanted.agent_id,
                since=wanted.since,
                after=after,
                limit=limit - len(found),
            )
            for run in page.items:
                if run.error is not None and run.error.code == wanted.error_code:
                    found.append(await self._replay_listed(run, dry_run=dry_run))
            after = page.next
            if after is None or len(found) >= limit:
                break
        return Page(items=found, next=after)

    async def _replay_listed(self, run: Run, *, dry_run: bool) -> Replayed:
        try:
            if dry_run:
                request, _ = await self._runs.find(run.run_id, owner=None)
                await self._require_content(request)
                return Replayed(run_id=run.run_id)
            admission = await self.replay(run.run_id, owner=None)
        except Refused as refusal:
            return Replayed(run_id=run.run_id, error=refusal.info)
        return Replayed(run_id=run.run_id, replay_run_id=admission.run.run_id)

    async def _require_content(self, request: AdmittedRequest) -> None:
        """Refuse a run whose conversation was deleted, whether or not the cleaning is done.

        A message is never empty, but in a request that the cleaning has emptied.
        """
        if not request.message or await self._runs.was_deleted(request):
            raise Refused(
                "conversation_deleted",
                f"the conversation of run {request.run_id!r} was deleted, and what was asked with"
                " it; send the request again",
            )
