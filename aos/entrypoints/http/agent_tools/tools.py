"""Describes agents as tools of MCP, and runs as their results. Entry points: `write_tool`,
`write_result`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.domain.cards.agent_card import AgentCard
from aos.domain.conversation_ids import CONVERSATION_PATTERN
from aos.domain.json_writer import write_json
from aos.domain.runs.run import Run, RunStatus

PREFIX = "ask_"
RUN_ID = "aos/run_id"
CONVERSATION_ID = "aos/conversation_id"
INPUT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "minLength": 1, "description": "What to ask the agent."},
        "conversation_id": {
            "type": "string",
            "pattern": CONVERSATION_PATTERN,
            "description": "A name for the conversation. The agent remembers what was said under"
            " the same name. Leave it out for a question of its own.",
        },
    },
    "required": ["message"],
    "additionalProperties": False,
}


def write_tool(card: AgentCard) -> dict[str, Any]:
    """Return the agent as a tool."""
    scope = f"\n\nIts scope: {card.purpose_scope}" if card.purpose_scope else ""
    tool: dict[str, Any] = {
        "name": f"{PREFIX}{card.agent_id}",
        "title": f"Ask {card.agent_id}",
        "description": f"Ask the agent {card.agent_id!r}. Its purpose: {card.purpose}{scope}",
        "inputSchema": dict(INPUT_SCHEMA),
        "annotations": {"openWorldHint": True, "readOnlyHint": False, "destructiveHint": False},
    }
    if returns_object(card):
        tool["outputSchema"] = dict(card.output_schema or {})
    return tool


def returns_object(card: AgentCard) -> bool:
    """Whether the agent's output is an object, as MCP's structured content is."""
    return card.output_schema is not None and card.output_schema.get("type") == "object"


def write_result(run: Run) -> dict[str, Any]:
    """Return an ended run as the result of a call."""
    meta = {RUN_ID: run.run_id, CONVERSATION_ID: run.conversation_id}
    if run.status is not RunStatus.COMPLETED:
        return {**write_error(_explain_end(run)), "_meta": meta}
    data = next((part.get("data") for part in run.output_parts or ()), None)
    text = run.output if data is None else write_json(data, ensure_ascii=False)
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
    if isinstance(data, dict):
        result["structuredContent"] = data
    return {**result, "_meta": meta}


def write_unfinished(run: Run) -> dict[str, Any]:
    """Return the result for a client that cannot wait for the run's end any longer."""
    why = "it goes on" if run.waiting is None else run.waiting.reason
    text = (
        f"The agent has not answered yet: {why}. Its run {run.run_id} goes on; ask again in the"
        f" conversation {run.conversation_id!r} later, or read GET /api/runs/{run.run_id}"
    )
    meta = {RUN_ID: run.run_id, CONVERSATION_ID: run.conversation_id}
    return {**write_error(text), "_meta": meta}


def write_error(text: str) -> dict[str, Any]:
    """Return the result of a call that failed, for the model that made it."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _explain_end(run: Run) -> str:
    error = run.error
    if error is not None:
        return f"The agent's run ended {run.status.value}: {error.message} ({error.code})"
    return f"The agent's run was {run.status.value}"
