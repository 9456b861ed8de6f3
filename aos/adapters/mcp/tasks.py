"""Asks an MCP server for tasks, by MCP's extension for them. Entry point: `Tasks.follow`.

A question of a task that a person has answered may be listed for a while after its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aos.adapters.mcp.asking import make_response
from aos.adapters.mcp.failures import Report, is_away, is_cut_off, is_lost
from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.pauses import read_poll_seconds, read_questions
from aos.adapters.mcp.results import AsksFirst, show
from aos.domain.tools.questions import USUAL_POLL_SECONDS, CallPause, CallResume
from aos.domain.tools.tool import ToolOutcome

if TYPE_CHECKING:
    from aos.adapters.mcp.session import Session


class Tasks:
    """The tasks of one server."""

    def __init__(self, session: Session, report: Report, masker: Masker) -> None:
        self._session = session
        self._report = report
        self._masker = masker

    async def follow(self, task_id: str, resume: CallResume | None) -> ToolOutcome:
        """Tell a task the new answers, and ask what it has come to.

        While it works, or where the server does not answer, the outcome has a pause.
        """
        from mcp.shared.exceptions import MCPError

        try:
            if resume is not None and resume.answers:
                given = {it.question.key: make_response(it) for it in resume.answers}
                await self._session.ask_task("tasks/update", task_id, responses=given)
            told = await self._session.ask_task("tasks/get", task_id)
        except MCPError as error:
            if is_lost(error) or is_cut_off(error) or is_away(error):
                return self.make_waiting(task_id)
            return self._report.make_unknown(f"does not answer for its task: {error}")
        except ValueError as error:
            return self._report.make_unknown(f"gave an answer that is not MCP's: {error}")
        known = () if resume is None else resume.all_answers
        return self._read(task_id, told, frozenset(answer.question.key for answer in known))

    def make_waiting(self, task_id: str, seconds: float = USUAL_POLL_SECONDS) -> ToolOutcome:
        """The outcome of a task that has not ended."""
        pause = CallPause(kind="task", task_id=task_id, poll_seconds=seconds)
        return replace(self._report.make_unknown("has not ended the task"), pause=pause)

    def _read(self, task_id: str, told: Mapping[str, Any], answered: frozenset[str]) -> ToolOutcome:
        match told.get("status"):
            case "completed":
                result = told.get("result")
                return self._report.read_answer(result if isinstance(result, dict) else {})
            case "failed":
                error = told.get("error")
                words = error.get("message") if isinstance(error, dict) else None
                said = words if isinstance(words, str) else show(error)
                return self._report.make_error(f"answered with an error: {said}")
            case "cancelled":
                return self._report.make_error("cancelled the task")
            case "working":
                return self.make_waiting(task_id, read_poll_seconds(told))
            case "input_required":
                return self._ask(task_id, told, answered)
            case other:
                return self._report.make_unknown(f"gave its task the state {show(other)}")

    def _ask(self, task_id: str, told: Mapping[str, Any], answered: frozenset[str]) -> ToolOutcome:
        requests = told.get("inputRequests")
        new = (
            {k: v for k, v in requests.items() if k not in answered}
            if isinstance(requests, dict)
            else {}
        )
        waiting = self.make_waiting(task_id, read_poll_seconds(told))
        if not new:
            return waiting
        try:
            questions = read_questions(new, self._masker)
        except AsksFirst as error:
            return self._report.make_error(str(error))
        assert waiting.pause is not None
        return replace(waiting, pause=replace(waiting.pause, questions=questions))
