"""Defines how tools of the application that asks are offered and called: the application runs them.
Entry points: `fit_client_tools`, `ask_client`, `read_client_result`.

A call of such a tool waits as a question of a tool does, and the answer is its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aos.domain.runs.run_options import ClientTool
from aos.domain.tools.endpoint_rules import FittedTool, fit_tool
from aos.domain.tools.questions import (
    MAX_MESSAGE_CHARACTERS,
    CallPause,
    QuestionAnswer,
    ToolQuestion,
)
from aos.domain.tools.schema_mender import SchemaBudget
from aos.domain.tools.tool import ToolOutcome, cut_for_model

MAX_PARTS = 10_000
"""Parts of the schemas of all tools together; a tool behind them is not offered."""
RESULT, IS_ERROR = "result", "is_error"
RESULT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {RESULT: {"type": "string"}, IS_ERROR: {"type": "boolean"}},
    "required": [RESULT],
}
"""The form of an answer: the result's text, and whether it is an error."""
NOT_ANSWERED = "the application gave no result"


def fit_client_tools(tools: Iterable[ClientTool]) -> dict[str, FittedTool]:
    """Return the tools as model endpoints accept them.

    They share one budget: references make schemas of megabytes out of a request of some KiB, and
    this runs in every turn.
    """
    budget = SchemaBudget(nodes=MAX_PARTS)
    return {tool.name: fit_tool(tool.description, tool.parameters, budget=budget) for tool in tools}


def ask_client(name: str, written: str) -> CallPause:
    """Return the pause of a call that the application makes. `written`: the arguments."""
    text = f"Run the application's tool {name} and answer with its result. Its arguments: {written}"
    question = ToolQuestion(
        key="", message=text[:MAX_MESSAGE_CHARACTERS], requested_schema=RESULT_SCHEMA
    )
    return CallPause(kind="client", questions=(question,))


def read_client_result(answer: QuestionAnswer) -> ToolOutcome:
    """Return the result that the application gave."""
    if answer.action != "accept":
        return ToolOutcome(outcome="error", content=NOT_ANSWERED)
    values = answer.values or {}
    text = cut_for_model(str(values.get(RESULT, "")))
    return ToolOutcome(outcome="error" if values.get(IS_ERROR) is True else "ok", content=text)
