"""Makes the commands about a turn's tool calls: to make them, and to cancel them. Entry points:
`make_call_command`, `cancel_calls`."""

from __future__ import annotations

from datetime import datetime

from aos.domain.envelope import (
    CallTool,
    CancelCall,
    CancelChild,
    Outgoing,
    RequestRun,
    to_main,
    to_mcp,
)
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.run import ParentRun
from aos.domain.tools.questions import CallResume


def make_call_command(active: ActiveRun, call: OpenCall) -> Outgoing:
    """The command that makes a call or goes on with it: CallTool to mcp, RequestRun to main."""
    assert active.clock_end is not None  # the clock runs while a call is under way
    deadline = cut_to_milliseconds(active.clock_end)
    if call.server_id is None:
        return to_main(_make_request(active, call, deadline))
    request = active.request
    return to_mcp(
        CallTool(
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            tool_call_id=call.tool_call_id,
            agent_id=request.agent_id,
            server_id=call.server_id,
            tool=call.tool,
            arguments=call.arguments,
            deadline=deadline,
            server_digest=call.server_digest,
            schema_digest=call.schema_digest,
            traceparent=request.traceparent,
            round_number=call.round_number,
            resume=_make_resume(call),
        )
    )


def cancel_calls(active: ActiveRun) -> tuple[Outgoing, ...]:
    """The commands that cancel what the active run still waits for: delegated runs, and calls."""
    commands = [_cancel_call(active, call) for call in active.calls]
    return tuple(command for command in commands if command is not None)


def _make_request(active: ActiveRun, call: OpenCall, deadline: datetime) -> RequestRun:
    request, parent = active.request, active.request.parent
    return RequestRun(
        parent=ParentRun(
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            tool_call_id=call.tool_call_id,
            root_run_id=request.run_id if parent is None else parent.root_run_id,
            depth=1 if parent is None else parent.depth + 1,
            deadline=deadline,
            tokens_left=active.share_of_tokens,
        ),
        owner=request.owner,
        agent_id=str(call.arguments["agent_id"]),
        message=str(call.arguments["message"]),
        as_admin=request.as_admin,
        traceparent=request.traceparent,
    )


def _make_resume(call: OpenCall) -> CallResume | None:
    """How a call goes on after its pause; None for its beginning."""
    if call.pause is None:
        return None
    earlier = len(call.answers) - call.answered
    return CallResume(
        kind=call.pause.kind,
        answers=call.answers[earlier:],
        earlier=call.answers[:earlier],
        request_state=call.pause.request_state,
        task_id=call.pause.task_id,
    )


def _cancel_call(active: ActiveRun, call: OpenCall) -> Outgoing | None:
    """The command that cancels a call; None where nothing is under way."""
    request, server_id = active.request, call.server_id
    has_task = call.pause is not None and call.pause.task_id is not None
    if server_id is not None and (call.state == "called" or (call.is_undecided and has_task)):
        return to_mcp(
            CancelCall(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                tool_call_id=call.tool_call_id,
                server_id=server_id,
                tool=call.tool,
                round_number=call.round_number,
            )
        )
    if call.state == "called" and call.delegates:
        return to_main(
            CancelChild(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                owner=request.owner,
                tool_call_id=call.tool_call_id,
            )
        )
    return None


def cut_to_milliseconds(moment: datetime) -> datetime:
    """Cut a time to the milliseconds of the wire, so that it is equal when read back."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
