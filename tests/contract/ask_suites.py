"""What must every store of what people are asked do?"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from aos.errors import StaleWrite
from aos.ports.asks import Asked, Asks, Questions
from tests.samples import CALL_ID, NOON, a_decision, a_question, an_answer, an_approval

LARGE = "ü" * 40_000


class AsksSuite:
    """Needs the fixture `asks`, and samples of its kind."""

    a_request: ClassVar[Callable[..., Any]]
    two_answers: ClassVar[tuple[Any, Any]]
    large: ClassVar[tuple[dict[str, Any], Any]]

    async def test_what_was_asked_is_found_and_listed_once(self, asks: Asks[Any, Any]) -> None:
        asked = self.a_request()
        for _ in range(2):
            await asks.ask(asked)
        assert await asks.find(asked.run_id, CALL_ID) == Asked(request=asked)
        page = await asks.list_waiting(owner=asked.owner, after=None, limit=10)
        assert (page.items, page.next) == ([asked], None)

    async def test_what_nobody_asked_is_not_there(self, asks: Asks[Any, Any]) -> None:
        assert await asks.find(str(uuid.uuid4()), CALL_ID) is None

    async def test_large_requests_and_their_answers_are_kept_whole(
        self, asks: Asks[Any, Any]
    ) -> None:
        fields, answer = self.large
        asked = self.a_request(**fields)
        await asks.ask(asked)
        await asks.answer(asked, answer)
        assert await asks.find(asked.run_id, CALL_ID) == Asked(request=asked, answer=answer)

    async def test_of_two_answers_at_once_one_stands(self, asks: Asks[Any, Any]) -> None:
        asked = self.a_request()
        await asks.ask(asked)
        ends = await asyncio.gather(
            *(asks.answer(asked, one) for one in self.two_answers), return_exceptions=True
        )
        assert sorted(type(end) for end in ends if end is not None) == [StaleWrite]
        stands = self.two_answers[ends.index(None)]
        assert await asks.find(asked.run_id, CALL_ID) == Asked(request=asked, answer=stands)

    async def test_a_closed_request_is_off_the_list_and_still_found(
        self, asks: Asks[Any, Any]
    ) -> None:
        asked = self.a_request()
        await asks.ask(asked)
        for _ in range(2):
            await asks.close(asked)
        page = await asks.list_waiting(owner=asked.owner, after=None, limit=10)
        assert page.items == []
        assert await asks.find(asked.run_id, CALL_ID) == Asked(request=asked)

    async def test_the_list_is_the_oldest_first_and_paged(self, asks: Asks[Any, Any]) -> None:
        owner = f"ann {uuid.uuid4()}"
        asked = [
            self.a_request(owner=owner, requested_at=NOON + timedelta(seconds=n)) for n in (2, 0, 1)
        ]
        for item in asked:
            await asks.ask(item)
        first = await asks.list_waiting(owner=owner, after=None, limit=2)
        assert first.items == [asked[1], asked[2]]
        rest = await asks.list_waiting(owner=owner, after=first.next, limit=2)
        assert (rest.items, rest.next) == ([asked[0]], None)

    async def test_everybodys_list_holds_them_all(self, asks: Asks[Any, Any]) -> None:
        mine, theirs = self.a_request(), self.a_request()
        await asks.ask(mine)
        await asks.ask(theirs)
        page = await asks.list_waiting(owner=None, after=None, limit=1000)
        assert {mine.run_id, theirs.run_id} <= {item.run_id for item in page.items}


class DecisionsSuite(AsksSuite):
    """Needs the fixture `asks: Decisions`."""

    a_request = staticmethod(an_approval)
    two_answers = (a_decision(), a_decision(decision="deny", decided_by="bob"))
    large = ({"arguments": {"text": LARGE}}, a_decision())


class QuestionsSuite(AsksSuite):
    """Needs the fixture `asks: Questions`."""

    a_request = staticmethod(a_question)
    two_answers = (an_answer(), an_answer(action="cancel", values=None, answered_by="aos"))
    large = (
        {"requested_schema": {"type": "object", "title": LARGE}},
        an_answer(values={"text": LARGE}),
    )

    async def test_a_question_about_an_address_is_kept(self, asks: Questions) -> None:
        asked = a_question(requested_schema=None, url="https://login.example/1?a=b")
        await asks.ask(asked)
        assert await asks.find(asked.run_id, CALL_ID) == Asked(request=asked)

    async def test_each_question_of_a_call_has_its_own_answer(self, asks: Questions) -> None:
        first = a_question()
        second = a_question(run_id=first.run_id, question_id=f"{CALL_ID}.2", owner=first.owner)
        for asked in (first, second):
            await asks.ask(asked)
        given = an_answer()
        await asks.answer(second, given)
        assert await asks.find(first.run_id, CALL_ID) == Asked(request=first)
        found = await asks.find(first.run_id, f"{CALL_ID}.2")
        assert found == Asked(request=second, answer=given)
