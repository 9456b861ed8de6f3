"""What must every store of questions do?"""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

from aos.errors import StaleWrite
from aos.ports.tools import AskedQuestion, Questions
from tests.samples import CALL_ID, NOON, a_question, an_answer

LARGE = "ü" * 40_000


class QuestionsSuite:
    """Needs the fixture `questions: Questions`."""

    async def test_a_question_is_found_and_listed_once(self, questions: Questions) -> None:
        asked = a_question()
        for _ in range(2):
            await questions.ask(asked)
        assert await questions.find(asked.run_id, CALL_ID) == AskedQuestion(request=asked)
        page = await questions.list_waiting(owner=asked.owner, after=None, limit=10)
        assert (page.items, page.next) == ([asked], None)

    async def test_a_question_about_an_address_is_kept(self, questions: Questions) -> None:
        asked = a_question(requested_schema=None, url="https://login.example/1?a=b")
        await questions.ask(asked)
        assert await questions.find(asked.run_id, CALL_ID) == AskedQuestion(request=asked)

    async def test_what_nobody_asked_is_not_there(self, questions: Questions) -> None:
        assert await questions.find(str(uuid.uuid4()), CALL_ID) is None

    async def test_large_forms_and_answers_are_kept_whole(self, questions: Questions) -> None:
        asked = a_question(requested_schema={"type": "object", "title": LARGE})
        given = an_answer(values={"text": LARGE})
        await questions.ask(asked)
        await questions.answer(asked, given)
        found = await questions.find(asked.run_id, CALL_ID)
        assert found == AskedQuestion(request=asked, answer=given)

    async def test_of_two_answers_at_once_one_stands(self, questions: Questions) -> None:
        asked = a_question()
        await questions.ask(asked)
        both = [an_answer(), an_answer(action="cancel", values=None, answered_by="aos")]
        ends = await asyncio.gather(
            *(questions.answer(asked, one) for one in both), return_exceptions=True
        )
        assert sorted(type(end) for end in ends if end is not None) == [StaleWrite]
        found = await questions.find(asked.run_id, CALL_ID)
        assert found is not None
        assert found.answer == both[ends.index(None)]

    async def test_each_question_of_a_call_has_its_own_answer(self, questions: Questions) -> None:
        first = a_question()
        second = a_question(run_id=first.run_id, question_id=f"{CALL_ID}.2", owner=first.owner)
        for asked in (first, second):
            await questions.ask(asked)
        given = an_answer()
        await questions.answer(second, given)
        assert await questions.find(first.run_id, CALL_ID) == AskedQuestion(request=first)
        found = await questions.find(first.run_id, f"{CALL_ID}.2")
        assert found == AskedQuestion(request=second, answer=given)

    async def test_a_closed_question_is_off_the_list_and_still_found(
        self, questions: Questions
    ) -> None:
        asked = a_question()
        await questions.ask(asked)
        for _ in range(2):
            await questions.close(asked)
        page = await questions.list_waiting(owner=asked.owner, after=None, limit=10)
        assert page.items == []
        assert await questions.find(asked.run_id, CALL_ID) == AskedQuestion(request=asked)

    async def test_the_list_is_the_oldest_first_and_paged(self, questions: Questions) -> None:
        owner = f"ann {uuid.uuid4()}"
        asked = [
            a_question(owner=owner, requested_at=NOON + timedelta(seconds=n)) for n in (2, 0, 1)
        ]
        for item in asked:
            await questions.ask(item)
        first = await questions.list_waiting(owner=owner, after=None, limit=2)
        assert first.items == [asked[1], asked[2]]
        rest = await questions.list_waiting(owner=owner, after=first.next, limit=2)
        assert (rest.items, rest.next) == ([asked[0]], None)

    async def test_everybodys_list_holds_them_all(self, questions: Questions) -> None:
        mine, theirs = a_question(), a_question()
        await questions.ask(mine)
        await questions.ask(theirs)
        page = await questions.list_waiting(owner=None, after=None, limit=1000)
        assert {mine.run_id, theirs.run_id} <= {item.run_id for item in page.items}
