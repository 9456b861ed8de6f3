"""Lists what waits for a person, and takes the answers. Entry point: `PeopleAsks`.

An answer is a row that is inserted once; the first one counts. The command that follows only wakes
the conversation: realm reads the row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from aos.domain.caller import Caller
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import AdmittedRequest
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.asks import A, Asked, Asks, R
from aos.ports.paging import Page
from aos.ports.system import Clock, Ids
from aos.services.runs import RunReader
from aos.services.waking import Waker


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWords:
    """What one kind of request is called in refusals, and the codes of them.

    `field` names what was said in the details of the refusal of a second answer.
    """

    request: str
    answer: str
    waits_for: str
    answered: str
    field: str
    path: str
    not_found: str
    already: str


class PeopleAsks(Generic[R, A]):
    """Main's use case: list the waiting requests of one kind, and take the answers to them."""

    words: AskWords

    def __init__(
        self,
        asks: Asks[R, A],
        *,
        runs: RunReader,
        waker: Waker,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._asks = asks
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._waker = waker

    async def list_waiting(self, caller: Caller, *, after: str | None, limit: int) -> Page[R]:
        """The requests that the caller may answer, oldest first. A page may be shorter than
        `limit`.

        Removes requests from the list that were answered or whose run has ended.
        """
        page = await self._asks.list_waiting(owner=caller.deciding_owner, after=after, limit=limit)
        items = [item for item in page.items if await self._still_waits(item)]
        return Page(items=items, next=page.next)

    async def find_answer(self, run_id: str, ask_id: str) -> A | None:
        """The answer to a request, or None."""
        asked = await self._asks.find(run_id, ask_id)
        return None if asked is None else asked.answer

    @abstractmethod
    def _find_waiting(self, head: Conversation | None, run_id: str, ask_id: str) -> R | None:
        """The request as the run's state has it; None if it does not wait."""

    async def _take(
        self,
        run_id: str,
        ask_id: str,
        *,
        said: str,
        said_id: str | None,
        make: Callable[[R], A],
        caller: Caller,
    ) -> A:
        """Take an answer; of two at once exactly one counts.

        A repeated message has the same `said_id`: its answer is returned, and the conversation is
        woken again. Raises Refused and TransientError.
        """
        request = await self._runs.find_request(run_id, owner=caller.deciding_owner)
        asked = await self._find_asked(request, ask_id)
        if asked is None:
            # realm removes the row of an earlier try that was written after the deletion
            await self._wake_if_deleted(request, ask_id.partition(".")[0])
            raise self._not_found(run_id, ask_id)
        call_id, stands = asked.request.tool_call_id, asked.answer
        if stands is not None:
            if (stands.said_id, stands.said) != (said_id, said):
                raise self._already(ask_id, stands)
            await self._waker.wake(request, call_id)
            return stands
        if await self._runs.has_ended(request.conversation_id, run_id):
            await self._waker.wake(request, call_id)  # realm cleans what came after a deletion
            raise self._already(ask_id, stands)
        answer = make(asked.request)
        await self._insert(asked.request, answer)
        if not await self._waker.wake(request, call_id):
            await self._wake_if_deleted(request, call_id)
        return answer

    async def _find_asked(self, request: AdmittedRequest, ask_id: str) -> Asked[R, A] | None:
        """What was asked, and its answer; None if nothing was asked.

        The run's row and events say that it waits some milliseconds before realm writes what it
        asks, and their reader may answer at once. Then the row is written here, of the same state.
        """
        asked = await self._asks.find(request.run_id, ask_id)
        if asked is not None:
            return asked
        head = await self._runs.find_head(request.conversation_id)
        waiting = self._find_waiting(head, request.run_id, ask_id)
        if waiting is not None:
            await self._asks.ask(waiting)
        return await self._asks.find(request.run_id, ask_id)

    async def _wake_if_deleted(self, request: AdmittedRequest, tool_call_id: str) -> None:
        """Let realm remove what was written after the deletion of the conversation."""
        if await self._runs.was_deleted(request):
            await self._waker.wake_to_clean(request, tool_call_id)

    async def _insert(self, request: R, answer: A) -> None:
        try:
            await self._asks.answer(request, answer)
        except (StaleWrite, OutcomeUnknown) as error:
            stands = await self.find_answer(request.run_id, request.ask_id)
            if stands is None:
                raise TransientError(
                    f"storage did not say whether the {self.words.answer} was stored; send it again"
                ) from error
            if (stands.said_id, stands.said) != (answer.said_id, answer.said):
                raise self._already(request.ask_id, stands) from error

    async def _still_waits(self, item: R) -> bool:
        asked = await self._asks.find(item.run_id, item.ask_id)
        is_open = asked is not None and asked.answer is None
        if is_open and not await self._runs.has_ended(item.conversation_id, item.run_id):
            return True
        await self._asks.close(item)
        return False

    def _not_found(self, run_id: str, ask_id: str) -> Refused:
        words = self.words
        return Refused(
            words.not_found,
            f"no {words.request} {ask_id[:80]!r} of run {run_id!r} waits for"
            f" {words.waits_for}; see GET {words.path}",
        )

    def _already(self, ask_id: str, stands: A | None) -> Refused:
        words = self.words
        if stands is None:
            return Refused(
                words.already,
                f"the run of {words.request} {ask_id!r} has ended; nothing waits",
            )
        details = {words.field: stands.said}
        return Refused(
            words.already,
            f"{words.request} {ask_id!r} was {words.answered}: {stands.said}, by"
            f" {stands.said_by!r}",
            **details,
        )
