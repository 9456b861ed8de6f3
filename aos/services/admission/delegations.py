"""How does main admit the runs that agents delegate, and end those that nobody waits for?

A delegated run is admitted like any other; what would be a refusal to a caller is the result of the
parent's tool call. Of its end the parent is told by `aos.services.replies`.
"""

from __future__ import annotations

from aos.domain.caller import Caller
from aos.domain.envelope import CancelChild, RequestRun, ToolResult, to_realm
from aos.domain.runs.run import ParentRun
from aos.domain.tools.commands import delegation_key, delegation_scope
from aos.errors import ErrorInfo, Refused
from aos.ports.bus import Bus
from aos.ports.requests import RequestStore
from aos.services.admission.admissions import Admission, Admissions, RunRequest
from aos.services.runs import RunReader

PARENT_ENDED = "parent_ended"


class Delegations:
    """Main's use case: runs that agents ask for."""

    def __init__(
        self,
        admissions: Admissions,
        *,
        runs: RunReader,
        requests: RequestStore,
        bus: Bus,
    ) -> None:
        self._admissions = admissions
        self._runs = runs
        self._requests = requests
        self._bus = bus

    async def request(self, command: RequestRun) -> None:
        """Admit the run, or tell the parent why not; safe to repeat.

        For a parent that has ended nothing is begun. One that has ended meanwhile is looked for
        after the admission: its CancelChild may have come before there was anything to cancel.
        Raises TransientError.
        """
        parent = command.parent
        if await self._has_ended(parent) and await self._requests.find(command.run_id) is None:
            return
        admission = await self._admit(command)
        if admission.request.refusal is not None:
            await self._bus.send(to_realm(_refused(command, admission.request.refusal)))
            return
        if admission.run.status.has_ended:
            return
        if await self._has_ended(parent):
            await self._admissions.end(admission.request, reason=PARENT_ENDED)

    async def _admit(self, command: RequestRun) -> Admission:
        """Admit the run, or keep its refusal; of two deliveries the first to be kept stands."""
        parent = command.parent
        request = RunRequest(agent_id=command.agent_id, message=command.message, parent=parent)
        scope, key = delegation_scope(command.owner), delegation_key(parent)
        caller = Caller(owner=command.owner, is_admin=command.as_admin)
        try:
            return await self._admissions.admit(
                request,
                door="delegation",
                scope=scope,
                key=key,
                caller=caller,
                traceparent=command.traceparent,
            )
        except Refused as refusal:
            return await self._admissions.turn_down(
                request, refusal.info, scope=scope, key=key, caller=caller
            )

    async def _has_ended(self, parent: ParentRun) -> bool:
        return await self._runs.has_ended(parent.conversation_id, parent.run_id)

    async def cancel(self, command: CancelChild) -> None:
        """End the run that the parent delegated, if it was admitted; raises TransientError."""
        stored = await self._requests.find(command.child_run_id)
        if stored is None:
            return
        child = stored.request
        if child.refusal is not None:
            return
        if not await self._runs.has_ended(child.conversation_id, child.run_id):
            await self._admissions.end(child, reason=PARENT_ENDED)


def _refused(command: RequestRun, refusal: ErrorInfo) -> ToolResult:
    parent = command.parent
    return ToolResult(
        run_id=parent.run_id,
        conversation_id=parent.conversation_id,
        tool_call_id=parent.tool_call_id,
        outcome="error",
        content=f"the run was refused ({refusal.code}): {refusal.message}",
        traceparent=command.traceparent,
    )
