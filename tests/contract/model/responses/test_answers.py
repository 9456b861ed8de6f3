"""The ChatModel port on the Responses API: answers and faults."""

from __future__ import annotations

from typing import Any

import pytest

from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall
from aos.errors import (
    AosError,
    EmptyAnswer,
    OperatorFault,
    RunFailed,
    TransientError,
    UnreadableAnswer,
)
from aos.ports.model import ModelAnswer
from tests.contract.model.calls import a_call, fault
from tests.contract.model.responses.turns import (
    CALL,
    REASONING,
    a_response,
    a_turn,
    said,
    text,
)
from tests.scripted_model import Say, ScriptedModel


async def test_an_answer_has_text_tokens_and_the_name_that_answered(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    endpoint.script(
        a_response(
            {"type": "web_search_call", "id": "ws_1"},
            said(text("Grü"), text("ße")),
            model="base-2026-11",
            usage=usage,
        )
    )
    assert await model.complete(a_call()) == ModelAnswer(
        text="Grüße",
        usage=Usage(input_tokens=7, output_tokens=5, cached_tokens=4, reasoning_tokens=3),
        model="base-2026-11",
    )


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([said({"type": "refusal", "refusal": "I would rather not."})], "I would rather not."),
        ([said(text("One.")), said(text(" ")), said(text("Two."))], "One.\n\nTwo."),
        ([said(text("lone \ud800"))], "lone ?"),
        ([{"type": "message", "content": "as a text"}, "rubbish", {}], "as a text"),
    ],
)
async def test_texts_come_in_several_shapes(
    endpoint: ScriptedModel, model: OpenAIChatModel, items: list[Any], words: str
) -> None:
    endpoint.script(a_response(*items))
    assert await model.complete(a_call()) == ModelAnswer(text=words, usage=Usage(), model="base")


async def test_arguments_come_as_a_text_or_as_an_object(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(
        a_response({**CALL, "arguments": "{broken"}, {**CALL, "arguments": {"zone": "CET"}})
    )
    assert (await model.complete(a_turn())).tool_calls == (
        AskedCall(name="time__now", arguments="{broken"),
        AskedCall(name="time__now", arguments='{"zone": "CET"}'),
    )


@pytest.mark.parametrize(
    ("answer", "kind", "code", "says"),
    [
        (
            a_response(
                status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}
            ),
            TransientError,
            "unavailable",
            "slow down",
        ),
        (
            a_response(status="failed", error={"code": "server_error", "message": "oops"}),
            TransientError,
            "unavailable",
            "oops",
        ),
        (
            a_response(status="failed", error={"code": "insufficient_quota", "message": "pay"}),
            OperatorFault,
            "model_quota",
            "pay",
        ),
        (
            a_response(status="failed", error={"code": "invalid_prompt", "message": "flagged"}),
            RunFailed,
            "content_filtered",
            "flagged",
        ),
        (
            a_response(status="failed", error={"code": "invalid_image", "message": "no picture"}),
            RunFailed,
            "model_rejected",
            "no picture",
        ),
        (a_response(status="failed", error=None), TransientError, "unavailable", "502"),
        (Say(finish="content_filter"), RunFailed, "content_filtered", "filter"),
        (Say(finish="length"), RunFailed, "model_output_invalid", "max_tokens"),
        (a_response(REASONING), EmptyAnswer, "model_output_invalid", "has no text"),
        (Say(body={"choices": []}), UnreadableAnswer, "unavailable", "without output"),
        (Say(body=b"["), UnreadableAnswer, "unavailable", "broken JSON"),
        (
            Say(status=404, body={"error": {"message": "Invalid URL (POST /v1/responses)"}}),
            OperatorFault,
            "model_misconfigured",
            "AOS_MODEL_API",
        ),
    ],
)
async def test_faults_are_told_apart_and_keep_the_endpoints_words(
    endpoint: ScriptedModel,
    model: OpenAIChatModel,
    answer: Say,
    kind: type[AosError],
    code: str,
    says: str,
) -> None:
    endpoint.script(answer)
    error = await fault(model)
    assert (type(error), error.code) == (kind, code)
    assert says in str(error)
    assert len(endpoint.requests) == 1


async def test_other_refusals_are_not_asked_again(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.always(Say(status=400, body={"error": {"message": "Unknown parameter: 'top_k'."}}))
    error = await fault(model)
    assert (error.code, len(endpoint.requests)) == ("model_rejected", 1)
