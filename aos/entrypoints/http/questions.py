"""Lists the questions of tools and takes answers over HTTP. Entry point: `QuestionRoutes`."""

from __future__ import annotations

import azure.functions as func

from aos.domain.codec import encode
from aos.entrypoints.http.answers import AnswerAnswer, QuestionItem
from aos.entrypoints.http.queries import Query, make_next
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_media_type, read_run_id
from aos.entrypoints.ids import take_question_id
from aos.services.questions import ToolQuestions


class QuestionRoutes:
    """The routes of the questions of tools."""

    def __init__(
        self, responder: HttpResponder, *, questions: ToolQuestions, max_body_bytes: int
    ) -> None:
        self._responder = responder
        self._questions = questions
        self._max_body_bytes = max_body_bytes

    async def list(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/questions"""
        return await self._responder.answer("list_questions", req, self._list_waiting)

    async def answer(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/runs/{run_id}/questions/{question_id}"""
        return await self._responder.answer("answer_question", req, self._answer)

    async def _list_waiting(self, call: Call) -> Answer:
        query = Query(call.request)
        page = await self._questions.list_waiting(
            call.known_caller, after=query.after(), limit=query.limit()
        )
        items = [encode(QuestionItem.of(item)) for item in page.items]
        return Answer(body={"items": items, "next": make_next(call, page.next)})

    async def _answer(self, call: Call) -> Answer:
        from aos.entrypoints.requests import AnswerBody, take_object, validate

        read_media_type(call, text_too=False)
        run_id, question_id = read_run_id(call), take_question_id(call.part("question_id"))
        raw = await take_object(call.request.get_body(), max_bytes=self._max_body_bytes)
        body = validate(AnswerBody, raw)
        stored = await self._questions.answer(
            run_id, question_id, body.action, body.content, caller=call.known_caller
        )
        answer = AnswerAnswer(
            run_id=run_id,
            question_id=question_id,
            action=stored.action,
            answered_by=stored.answered_by,
            answered_at=stored.answered_at,
        )
        return Answer(body=encode(answer))
