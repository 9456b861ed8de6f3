"""Answers the questions that servers of the older revisions ask during a call. Entry points:
`Asking.call`, `Asking.answer`.

Such a server waits for the answer inside its process. A person takes longer than a handler may run,
so the question is answered with `cancel`, and kept: when the person has answered, the call is made
again, and the question is answered then. The server does not say which call it asks in. Where
several are under way, that is known once all others have ended; where all of them ask, all but
one are refused. A server that has asked once gets its calls one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aos.adapters.mcp.masking import Masker
from aos.adapters.mcp.pauses import is_same_question, read_question
from aos.domain.tools.questions import CallPause, GivenAnswer, ToolQuestion


class NoAsker(Exception):
    """It is not known in which call the server asks. The text is for the server."""


class OpenCall:
    """A call under way: the answers that it may be given, and what it asked beyond them."""

    def __init__(self, answers: Sequence[GivenAnswer]) -> None:
        self._spare = list(answers)
        self._new: list[ToolQuestion] = []

    @property
    def pause(self) -> CallPause | None:
        """Why the call has to be made again; None if it asked nothing new."""
        return CallPause(kind="replay", questions=tuple(self._new)) if self._new else None

    def answer(self, question: ToolQuestion) -> dict[str, Any]:
        """The answer that a person gave to this question, used once; else `cancel`."""
        for given in self._spare:
            if is_same_question(given.question, question):
                self._spare.remove(given)
                return make_response(given)
        self._new.append(question)
        return {"action": "cancel"}


class Asking:
    """What one server asks during the calls of one connection."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._open: list[OpenCall] = []
        self._asked = 0
        self._changed = asyncio.Event()
        self._alone = asyncio.Lock()
        self._asks = False

    @contextlib.asynccontextmanager
    async def call(self, answers: Sequence[GivenAnswer]) -> AsyncIterator[OpenCall]:
        """A call under way. A server that has asked before is called once at a time."""
        async with self._alone if self._asks or answers else contextlib.nullcontext():
            call = OpenCall(answers)
            self._open.append(call)
            self._tell()
            try:
                yield call
            finally:
                self._open.remove(call)
                self._tell()

    async def answer(self, params: Any) -> dict[str, Any]:
        """Answer a question of the server. Raises NoAsker and AsksFirst."""
        question = read_question("", params, self._masker)
        self._asks = True
        self._asked += 1
        self._tell()
        try:
            return await self._find_asker(question)
        finally:
            self._asked -= 1

    async def _find_asker(self, question: ToolQuestion) -> dict[str, Any]:
        """Wait until it is clear in which call this is asked; the calls' time limit bounds it."""
        while len(self._open) > 1:
            if self._asked >= len(self._open):
                raise NoAsker(
                    "several calls ask a person at the same time, and nothing says which question"
                    " is whose; make the calls one after the other"
                )
            await self._changed.wait()
        if not self._open:
            raise NoAsker("the tool asks a person a question, and no call is under way")
        return self._open[0].answer(question)

    def _tell(self) -> None:
        """Let those look again that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()


def make_response(given: GivenAnswer) -> dict[str, Any]:
    """An answer in MCP's form."""
    response: dict[str, Any] = {"action": given.action}
    if given.action == "accept" and given.question.url is None:
        response["content"] = dict(given.values or {})
    return response
