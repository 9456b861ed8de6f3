"""Goes on with a call that asked a person, in the newest revision. Entry point: `talk`.

The continuation holds the answers and the server's own state. A server may have forgotten the key
of its state, as after a restart, or the state is too old: it refuses the state and has done
nothing. Then the call is made from its start, and its questions are answered as a person answered
them before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aos.adapters.mcp.asking import make_response
from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.pauses import is_same_question, read_pause
from aos.domain.tools.questions import MAX_QUESTIONS, CallResume, GivenAnswer

Send: TypeAlias = Callable[[Mapping[str, Any] | None, str | None], Awaitable[dict[str, Any]]]
"""Sends the call with answers and the server's state, and returns the result. Raises MCPError."""
STATE_DELAY_SECONDS = 0.25
"""How long to wait where a server wants the call again without asking anything."""
_INVALID_PARAMS = -32_602


async def talk(send: Send, resume: CallResume | None, masker: Masker) -> dict[str, Any]:
    """Make a call, or go on with it; return its result, or its next questions.

    Raises MCPError and AsksFirst.
    """
    result, spare = await _begin(send, resume)
    for _ in range(2 * MAX_QUESTIONS):
        pause = read_pause(result, masker)
        if pause is None or pause.kind != "retry":
            return result
        if not pause.questions:
            await asyncio.sleep(STATE_DELAY_SECONDS)
            result = await send(None, pause.request_state)
            continue
        known = [_take_answer(spare, question) for question in pause.questions]
        given = [answer for answer in known if answer is not None]
        if len(given) < len(known):
            return result
        responses = {
            question.key: make_response(answer)
            for question, answer in zip(pause.questions, given, strict=True)
        }
        result = await send(responses, pause.request_state)
    return result


async def _begin(send: Send, resume: CallResume | None) -> tuple[dict[str, Any], list[GivenAnswer]]:
    """Send the call; return its result, and the answers that may be given again."""
    from mcp.shared.exceptions import MCPError

    if resume is None or resume.kind != "retry":
        return await send(None, None), []
    responses = {answer.question.key: make_response(answer) for answer in resume.answers}
    try:
        return await send(responses, resume.request_state), []
    except MCPError as error:
        if resume.request_state is None or error.code != _INVALID_PARAMS:
            raise
    return await send(None, None), list(resume.all_answers)


def _take_answer(spare: list[GivenAnswer], question: Any) -> GivenAnswer | None:
    """Take the answer to this question from those that may be given again."""
    for given in spare:
        if is_same_question(given.question, question):
            spare.remove(given)
            return given
    return None
