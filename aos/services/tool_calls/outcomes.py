"""Makes the outcomes of calls that are not made, or of which nothing is known. Entry point:
`make_uncalled_outcome`."""

from __future__ import annotations

from aos.domain.envelope import CallTool
from aos.domain.tools.tool import ToolCallRow, ToolOutcome
from aos.ports.servers import LiveServer

TIME_OVER = "the run's time was over"


def find_task(command: CallTool, row: ToolCallRow | None) -> str | None:
    """The task that the call has become, or that asked what the command answers."""
    if row is not None and row.task is not None:
        return row.task.task_id
    return None if command.resume is None else command.resume.task_id


def find_card_refusal(live: LiveServer, command: CallTool) -> str | None:
    """Why the card forbids this call; None when it allows it."""
    if not live.card.enabled:
        return f"the MCP server {live.server_id!r} is disabled by its card"
    if not live.card.can_offer(command.tool):
        return f"the card of the MCP server {live.server_id!r} does not list {command.tool!r}"
    return None


def make_uncalled_outcome(command: CallTool, row: ToolCallRow | None, why: str) -> ToolOutcome:
    """The outcome of a call that is not made; unknown when it was begun before."""
    if row is None and command.resume is None:
        return ToolOutcome(outcome="not_called", content=f"The tool was not called: {why}.")
    if row is None:
        return ToolOutcome(
            outcome="outcome_unknown",
            content=f"The call asked a person, and did not go on with the answer: {why}.",
        )
    if row.task is not None:
        return ToolOutcome(
            outcome="outcome_unknown",
            content=f"The call had begun a task, and how it ended is not known: {why}.",
        )
    return ToolOutcome(
        outcome="outcome_unknown",
        content=f"The call was begun, and how it ended is not known. It was not repeated: {why}.",
    )


def describe_absence(command: CallTool) -> str:
    """The reason for the model. The server's own output may hold paths; only admins read it."""
    return f"the MCP server {command.server_id!r} is not available now"


def make_lost_outcome(command: CallTool) -> ToolOutcome:
    return ToolOutcome(
        outcome="outcome_unknown",
        content=(
            f"The call of {command.tool!r} was begun, and how it ended is not known: it may or may"
            " not have had its effect. It was not repeated, because that may not be safe; find out"
            " whether it took effect before you try again."
        ),
    )
