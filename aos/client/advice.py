"""Says what to do about a run that did not complete. Entry points: `advise`, `advise_error`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY_CODE = {
    "adapter_unavailable": "load the LoRA adapter at the model's endpoint, or remove"
    " adapter_required from the agent's card",
    "budget_spent": "wait for the reset that the error names, or raise the budget; then {replay}",
    "content_filtered": "change the message: the endpoint's content filter refused it",
    "conversation_deleted": "ask in another conversation",
    "max_tokens": "raise limits.max_tokens_per_run in the agent's card, then {replay}",
    "max_tool_calls": "raise limits.max_tool_calls in the agent's card, or see above what the agent"
    " tried again and again",
    "max_turns": "raise limits.max_turns in the agent's card, or see above what the agent tried"
    " again and again",
    "model_misconfigured": "correct the model's endpoint, key or name (AOS_MODEL…), then {replay}",
    "model_not_configured": "set AOS_MODEL_ENDPOINT and AOS_MODEL, then {replay}",
    "model_quota": "raise the quota at the model's provider, then {replay}",
    "model_rejected": "read what the endpoint says in the error; change the message or the card",
    "parent_ended": "look at the run that delegated this one: {parent}",
    "run_timeout": "raise limits.run_timeout_seconds in the agent's card, then {replay}",
    "too_many_tools": "grant fewer tools in the agent's card (mcp_tools)",
}
_BY_TYPE = {
    "caller": "change the request or the agent's card, and ask again",
    "model": "change the message or the card's model, and ask again",
    "operator": "an operator has to mend this; then {replay}",
    "retry": "it may work later: {replay}",
}


def advise(run: Mapping[str, Any]) -> str | None:
    """Return what to do, in one sentence; None where nothing has to be done."""
    error = run.get("error")
    if not isinstance(error, Mapping):
        return None
    return _fill(
        error,
        replay=f"ask again with: aos replay {run.get('run_id')}",
        parent=f"aos show {run.get('parent_run_id')}",
    )


def advise_error(error: Mapping[str, Any]) -> str | None:
    """Return what to do about an error whose run is not known, in one sentence, or None."""
    return _fill(error, replay="ask again", parent="its parent_run_id")


def _fill(error: Mapping[str, Any], *, replay: str, parent: str) -> str | None:
    found = _BY_CODE.get(str(error.get("code"))) or _BY_TYPE.get(str(error.get("type")))
    return None if found is None else found.format(replay=replay, parent=parent)
