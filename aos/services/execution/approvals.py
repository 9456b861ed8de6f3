"""Asks people about tool calls and applies their decisions. Entry point: `RealmApprovals`.

The stored row is what counts. A time-out is a decision too, which realm inserts. If
two decisions are made at once, the first row counts for both.
"""

from __future__ import annotations

from datetime import datetime

from aos.domain.codec import encode
from aos.domain.envelope import AGENT_EVENTS, Event, to_main
from aos.domain.runs import tool_turns
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.events import make_notification, name_source
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.tools import Decisions
from aos.services.execution.unit_of_work import UnitOfWork

DECIDED_BY_TIME = "aos"


class RealmApprovals:
    """Asks people about tool calls, and applies decisions to a unit of work."""

    def __init__(self, *, decisions: Decisions, bus: Bus) -> None:
        self._decisions = decisions
        self._bus = bus

    async def ask(self, unit: UnitOfWork) -> None:
        """Add the saved calls that need a decision to the list, and publish an event for each.

        The receiver of the run's `notify` gets it too.
        """
        active = unit.conversation.active
        calls = () if active is None else active.calls
        wanted = tuple(c for c in calls if c.state == "to_ask" and c.question is None)
        if active is None or not wanted:
            return
        for call in wanted:
            request = _make_approval(active, call)
            await self._decisions.ask(request)
            event = _approval_requested(active, request)
            await self._bus.publish(event)
            await self._notify(active, event)
        unit.add(tool_turns.mark_asked(unit.conversation, tuple(c.tool_call_id for c in wanted)))

    async def _notify(self, active: ActiveRun, event: Event) -> None:
        request = active.request
        command = make_notification(
            event,
            request.notify,
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
            data=event.data,
        )
        if command is not None:
            await self._bus.send(to_main(command))

    async def apply_decisions(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Apply the decisions about calls that wait for one, and the time-outs."""
        active = unit.conversation.active
        for call in () if active is None else active.calls:
            if call.state != "asked" or call.question is not None or active is None:
                continue
            decision = await self._find_decision(active, call, now=now)
            if decision is None:
                continue
            await self._decisions.close(_make_approval(active, call))
            unit.add(
                tool_turns.take_decision(
                    unit.conversation, tool_call_id=call.tool_call_id, decision=decision, now=now
                )
            )

    async def _find_decision(
        self, active: ActiveRun, call: OpenCall, *, now: datetime
    ) -> Decision | None:
        run_id, call_id = active.request.run_id, call.tool_call_id
        asked = await self._decisions.find(run_id, call_id)
        if asked is not None and asked.decision is not None:
            return asked.decision
        if call.expires_at is None or now < call.expires_at:
            return None
        timed_out = Decision(
            decision="deny",
            reason="nobody decided about this call in time",
            decided_by=DECIDED_BY_TIME,
            decided_at=now,
        )
        try:
            await self._decisions.decide(run_id, call_id, timed_out)
        except (StaleWrite, OutcomeUnknown) as error:
            stands = await self._decisions.find(run_id, call_id)
            if stands is None or stands.decision is None:
                raise TransientError("storage did not say what was decided; try again") from error
            return stands.decision
        return timed_out


def _make_approval(active: ActiveRun, call: OpenCall) -> ApprovalRequest:
    """The request for a person's decision about a call."""
    assert call.asked_at is not None
    assert call.expires_at is not None
    request = active.request
    return ApprovalRequest(
        run_id=request.run_id,
        tool_call_id=call.tool_call_id,
        agent_id=request.agent_id,
        conversation_id=request.conversation_id,
        owner=request.owner,
        tool=f"{call.server_id}/{call.tool}",
        arguments=call.arguments,
        requested_at=call.asked_at,
        expires_at=call.expires_at,
        server_digest=call.server_digest,
        schema_digest=call.schema_digest,
    )


def _approval_requested(active: ActiveRun, request: ApprovalRequest) -> Event:
    """The event, without the arguments: only those who may decide see them."""
    return Event(
        topic=AGENT_EVENTS,
        id=f"{request.run_id}:{request.tool_call_id}:approval",
        type="approval.requested",
        source=name_source(request.agent_id),
        time=request.requested_at,
        data=encode(request, without=("owner", "arguments")),
        traceparent=active.request.traceparent,
    )
