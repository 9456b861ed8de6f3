"""Admits the runs that agents delegate, and cancels those whose parent has ended. Entry point:
`Delegations`.

A delegated run is admitted like any other. A refusal becomes the result of the parent's tool call.
`aos.services.replies` sends the result when the run ends.
"""

from __future__ import annotations

from aos.domain.caller import Caller
from aos.domain.envelope import CancelChild, RequestRun, ToolResult, to_realm
from aos.domain.runs.run import ParentRun
from aos.domain.tools.commands import delegation_key, delegation_scope
from aos.errors import ErrorInfo, Refused
from aos.ports.bus import Bus
from aos.ports.requests import RequestStore
from aos.services.admission.admissions import Admission, Admissions
from aos.services.admission.run_requests import RunRequest
from aos.services.runs import RunReader

PARENT_ENDED = "parent_ended"


class Delegations:
    """Main's use case: runs that agents delegate."""

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
        """Admit the run, or send the parent the refusal; may be repeated.

        A run whose parent has ended is not admitted. The parent is read again after the admission:
        its CancelChild may have come before there was a run to cancel. Raises TransientError.
        """
        parent = command.parent
        if await self._has_ended(parent) and await self._requests.find(command.run_id) is None:
            return
        admission = await self._admit(command)
        if admission is None:
            return
        if admission.request.refusal is not None:
            await self._bus.send(to_realm(_make_refusal(command, admission.request.refusal)))
            return
        if admission.run.status.has_ended:
            return
        if await self._has_ended(parent):
            await self._admissions.cancel_request(admission.request, reason=PARENT_ENDED)

    async def _admit(self, command: RequestRun) -> Admission | None:
        """Admit the run or store its refusal; of two deliveries the first one stored counts.

        None if the run was admitted and its conversation deleted since: its end tells the parent.
        """
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
            if refusal.code == "conversation_deleted":
                return None
            return await self._admissions.store_refusal(
                request, refusal.info, scope=scope, key=key, caller=caller
            )

    async def _has_ended(self, parent: ParentRun) -> bool:
        return await self._runs.has_ended(parent.conversation_id, parent.run_id)

    async def cancel(self, command: CancelChild) -> None:
        """Cancel the run that the parent delegated, if it was admitted; raises TransientError."""
        stored = await self._requests.find(command.child_run_id)
        if stored is None:
            return
        child = stored.request
        if child.refusal is not None:
            return
        if not await self._runs.has_ended(child.conversation_id, child.run_id):
            await self._admissions.cancel_request(child, reason=PARENT_ENDED)


def _make_refusal(command: RequestRun, refusal: ErrorInfo) -> ToolResult:
    parent = command.parent
    return ToolResult(
        run_id=parent.run_id,
        conversation_id=parent.conversation_id,
        tool_call_id=parent.tool_call_id,
        outcome="error",
        content=f"the run was refused ({refusal.code}): {refusal.message}",
        traceparent=command.traceparent,
    )
