"""What is sent to the model's endpoint, and what its answers become."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from aos.adapters.model.answers import MAX_EXTRA_BYTES
from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.codec import encode
from aos.domain.runs.run import Usage
from aos.ports.model import ModelAnswer
from tests.contract.model.calls import KEY, a_call, a_choice, fault
from tests.scripted_model import Request, Say, ScriptedModel


async def test_the_request_holds_model_messages_parameters_and_key(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call(parameters={"temperature": 0.2, "top_k": 5}))
    [request] = endpoint.requests
    assert request.body == {
        "model": "base",
        "messages": [
            {"role": "system", "content": "You lead."},
            {"role": "user", "content": "Grüß dich \U0001f600"},
        ],
        "temperature": 0.2,
        "top_k": 5,
    }
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_the_answer_has_text_tokens_and_the_name_that_answered(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    endpoint.script(Say("Grüße", model="base-2026-11", usage=usage))
    assert await model.complete(a_call(model="base")) == ModelAnswer(
        text="Grüße", usage=Usage(input_tokens=7, output_tokens=3), model="base-2026-11"
    )


async def test_an_answer_without_usage_and_name_counts_nothing_and_has_the_name_asked_for(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(body=a_choice(content="hi")))
    answer = await model.complete(a_call(model="ceo-lora"))
    assert answer == ModelAnswer(text="hi", usage=Usage(), model="ceo-lora")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]},
            "in parts",
        ),
        ({"content": None, "refusal": "I would rather not."}, "I would rather not."),
        ({"content": "lone \ud800"}, "lone ?"),
    ],
)
async def test_texts_come_in_several_shapes(
    endpoint: ScriptedModel, model: OpenAIChatModel, message: dict[str, Any], text: str
) -> None:
    endpoint.script(Say(body=a_choice(**message)))
    assert (await model.complete(a_call())).text == text


async def test_without_an_endpoint_nothing_is_configured() -> None:
    model = OpenAIChatModel(ModelEndpoint(base_url=None))
    assert not model.is_configured()
    assert "AOS_MODEL_ENDPOINT" in str(await fault(model))


async def test_thirty_two_callers_get_their_own_answers(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    def rule(request: Request) -> Say:
        return Say(f"for {request.body['user']}", delay=0.05)

    endpoint.always(rule)
    answers = await asyncio.gather(
        *(model.complete(a_call(parameters={"user": f"u{n}"})) for n in range(32))
    )
    assert [answer.text for answer in answers] == [f"for u{n}" for n in range(32)]


async def test_a_cancelled_call_leaves_the_adapter_working(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say("late", delay=30))
    task = asyncio.create_task(model.complete(a_call()))
    await asyncio.to_thread(endpoint.wait_for, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await model.complete(a_call())).text == "hello"


async def test_a_closed_adapter_opens_again(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.warm()
    await model.close()
    assert (await model.complete(a_call())).text == "hello"


def test_importing_the_adapter_loads_no_sdk() -> None:
    """The first call loads aiohttp, which costs 0.2 s."""
    code = (
        "import sys; import aos.adapters.model.openai_chat as m;"
        " m.OpenAIChatModel(m.ModelEndpoint(base_url='http://x/v1')).is_configured();"
        " print([n for n in ('openai', 'httpx2', 'azure', 'aiohttp') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "beside",
    [
        {f"k{n}": n for n in range(50_000)},
        {f"{n}{'k' * 5_000}": n for n in range(100)},
        {"\ud800": {"\ud800": "\ud800"}},
    ],
    ids=["many", "long", "half a pair"],
)
async def test_an_answer_can_be_stored_whatever_the_names_of_its_extra_fields_are(
    endpoint: ScriptedModel, model: OpenAIChatModel, beside: dict[str, Any]
) -> None:
    endpoint.script(Say(body=a_choice(content="hi", **beside)))
    answer = await model.complete(a_call())
    told = {} if answer.fields is None else encode(answer.fields)
    assert len(json.dumps(told, ensure_ascii=False).encode()) <= MAX_EXTRA_BYTES + 200
