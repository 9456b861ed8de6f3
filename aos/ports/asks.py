"""Keeps what people are asked about tool calls, and what they say. Entry points: `Asks`,
`Decisions`, `Questions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from aos.domain.runs.asks import AskRequest
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.ports.paging import Page

R = TypeVar("R", bound=AskRequest)
A = TypeVar("A", bound=Decision | QuestionAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[R, A]):
    """What was asked, and its answer (None: none yet)."""

    request: R
    answer: A | None = None


class Asks(Protocol[R, A]):
    """What waits for a person, and the answers, table `aostoolcalls`.

    Realm asks and closes, main lists, and the first answer counts.
    """

    async def ask(self, request: R) -> None:
        """Add a request to those that wait. Adding it again changes nothing."""
        ...

    async def find(self, run_id: str, ask_id: str) -> Asked[R, A] | None:
        """Return what was asked and its answer, or None if nothing was asked."""
        ...

    async def answer(self, request: R, answer: A) -> None:
        """Insert the answer. Raises StaleWrite if the request has one.

        It may be that of an earlier attempt of the same call, so look it up.
        """
        ...

    async def list_waiting(self, *, owner: str | None, after: str | None, limit: int) -> Page[R]:
        """List the open requests of an owner, or of all owners (None), oldest first."""
        ...

    async def close(self, request: R) -> None:
        """Remove a request from the list, because it is answered or not needed any more. Removing
        it again changes nothing."""
        ...


Decisions: TypeAlias = Asks[ApprovalRequest, Decision]
"""The tool calls that wait for a decision, and the decisions."""
Questions: TypeAlias = Asks[QuestionRequest, QuestionAnswer]
"""The questions of tools, and the answers."""
