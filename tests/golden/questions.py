"""Holds filled and minimal values of the questions of tools and their answers."""

from __future__ import annotations

from dataclasses import replace

from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from tests.golden.values import AT, CALL_ID, FREE, LATER, RUN_ID

_QUESTION = QuestionRequest(
    run_id=RUN_ID,
    question_id=f"{CALL_ID}.2",
    tool_call_id=CALL_ID,
    agent_id="ceo",
    conversation_id="board",
    owner="key:laptop",
    tool="github/create_issue",
    message="Welche Größe?",
    requested_schema=FREE,
    requested_at=AT,
    expires_at=LATER,
)
QUESTIONS = {
    "form": _QUESTION,
    "url": replace(
        _QUESTION,
        tool="github/list",
        message="Log in.",
        requested_schema=None,
        url="https://x.example/1",
    ),
}
ANSWERS = {
    "full": QuestionAnswer(
        action="accept", values=FREE, answered_by="ann", answered_at=AT, answer_id="a-1"
    ),
    "minimal": QuestionAnswer(action="cancel", answered_by="aos", answered_at=AT),
}
