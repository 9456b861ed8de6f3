"""Chat Completions: the messages are the conversation."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from aos.errors import RunFailed, TransientError
from aos.ports.model import ModelCall
from aos.testing import Calls
from tests.unit.openai_door.in_process import Transport, World, connect
from tests.unit.tools.worlds import CLOCK, noon

HISTORY: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?", "name": "ann"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Two?"},
]


async def test_the_messages_are_the_conversation(client: Any, world: World) -> None:
    made = await client.chat.completions.create(model="ceo", messages=HISTORY)
    (choice,) = made.choices
    assert (choice.message.content, choice.finish_reason) == ("answer 1", "stop")
    assert made.id.startswith("chatcmpl-")
    assert made.usage is not None
    assert made.usage.total_tokens > 0
    shown = [(m.role, m.content) for m in world.scripted.calls[0].messages if m.role != "system"]
    assert shown == [
        ("user", "ann: One?"),
        ("assistant", "Yes."),
        ("user", "Instructions for this answer:\nBe brief.\n\nTwo?"),
    ]
    await client.chat.completions.create(model="ceo", messages=HISTORY)
    assert len(world.scripted.calls[1].messages) == len(world.scripted.calls[0].messages)


async def test_a_completion_is_streamed(client: Any, world: World) -> None:
    world.scripted.then("Sell the company now.")
    stream = await client.chat.completions.create(
        model="ceo", messages=HISTORY, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text or "" for text in texts) == "Sell the company now."
    assert len(texts) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


class Plan(BaseModel):
    """What the client asks for."""

    step: str


async def test_an_output_fits_the_schema_of_the_request(client: Any, world: World) -> None:
    world.scripted.then('{"step": "sell"}')
    made = await client.chat.completions.parse(model="ceo", messages=HISTORY, response_format=Plan)
    assert made.choices[0].message.parsed == Plan(step="sell")


async def test_tools_run_on_the_server_and_all_texts_are_told(client: Any, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]})
    answers = (Calls(("clock__now", {}), text="Let me see."), "Noon.")
    world.scripted.then(*answers, *answers)
    made = await client.chat.completions.create(model="ceo", messages=HISTORY)
    assert made.choices[0].message.content == "Noon."
    stream = await client.chat.completions.create(model="ceo", messages=HISTORY, stream=True)
    texts = [c.choices[0].delta.content or "" async for c in stream]
    assert "".join(texts) == "Let me see.\n\nNoon."


async def test_a_run_without_an_answer_is_an_error(client: Any, world: World) -> None:
    world.scripted.then(RunFailed("model_rejected", "no"), RunFailed("model_rejected", "no"))
    with pytest.raises(openai.InternalServerError, match="no") as error:
        await client.chat.completions.create(model="ceo", messages=HISTORY)
    assert error.value.code == "model_rejected"
    stream = await client.chat.completions.create(model="ceo", messages=HISTORY, stream=True)
    with pytest.raises(openai.APIError, match="no"):
        _ = [chunk async for chunk in stream]


async def test_an_answer_that_a_filter_held_back_ends_as_the_api_says(
    client: Any, world: World
) -> None:
    world.scripted.then(*[RunFailed("content_filtered", "filtered")] * 4)
    made = await client.chat.completions.create(model="ceo", messages=HISTORY)
    assert (made.choices[0].finish_reason, made.choices[0].message.content) == (
        "content_filter",
        "",
    )
    stream = await client.chat.completions.create(model="ceo", messages=HISTORY, stream=True)
    reasons = [chunk.choices[0].finish_reason async for chunk in stream]
    assert reasons[-1] == "content_filter"
    response = await client.responses.create(model="ceo", input="?")
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "content_filter"
    events = [e async for e in await client.responses.create(model="ceo", input="?", stream=True)]
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "content_filter"


async def test_a_run_that_goes_on_is_found_by_the_clients_retry(
    transport: Transport, world: World
) -> None:
    def end_the_process(call: ModelCall) -> str:
        world.main.drain.begin()
        return "Sell."

    world.scripted.then(end_the_process)
    client = connect(transport, max_retries=1)
    made = await client.chat.completions.create(model="ceo", messages=HISTORY)
    assert made.choices[0].message.content == "Sell."
    assert (len(transport.requests), len(world.scripted.calls)) == (2, 1)


async def test_a_call_that_needs_a_decision_is_an_error_that_says_where_to_decide(
    client: Any, world: World
) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grant = {"server": "clock", "approval": "always"}
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant]})
    world.scripted.then(Calls(("clock__now", {})))
    with pytest.raises(openai.InternalServerError, match=r"responses/resp_[0-9a-f]{32}"):
        await client.chat.completions.create(model="ceo", messages=HISTORY)


def fail_after_some_words(call: ModelCall) -> str:
    assert call.sink is not None
    call.sink.add("Buy everything")
    raise TransientError("the connection broke")


async def test_a_text_that_was_begun_again_ends_the_stream_with_an_error(
    client: Any, world: World
) -> None:
    world.scripted.then(fail_after_some_words, "Sell everything")
    stream = await client.chat.completions.create(model="ceo", messages=HISTORY, stream=True)
    with pytest.raises(openai.APIError, match="asked again"):
        _ = [chunk async for chunk in stream]


async def test_the_same_in_a_response_begins_another_message(client: Any, world: World) -> None:
    world.scripted.then(fail_after_some_words, "Sell everything")
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    done = [e for e in events if e.type == "response.output_item.done"]
    assert [(e.output_index, getattr(e.item, "status", "")) for e in done] == [
        (0, "incomplete"),
        (1, "completed"),
    ]
    end = events[-1]
    assert end.type == "response.completed"
    assert end.response.output_text == "Sell everything"
