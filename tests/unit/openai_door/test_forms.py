"""What AOS writes has the form of the API, as the types of OpenAI's client say it; and no JSON that
is sent to it is answered in another form."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.conversations import Conversation, ConversationItem
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import TypeAdapter

from aos.testing import Calls
from tests.unit.openai_door.in_process import BASE, Transport, World
from tests.unit.openai_door.test_malformed import CHAT
from tests.unit.tools.worlds import CLOCK, noon

ASKED = {"model": "ceo", "input": "?"}


async def send(transport: Transport, method: str, path: str, body: Any = None) -> bytes:
    async with httpx2.AsyncClient(transport=transport) as client:
        answer = await client.request(method, f"{BASE}/openai/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


def read_events(raw: bytes) -> list[Any]:
    lines = raw.decode().split("\n")
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in told if line != "[DONE]"]


def check(kind: Any, value: Any) -> None:
    TypeAdapter(kind).validate_python(value)


@pytest.fixture
async def tools(world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grants = ["clock/now"]
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": grants})
    for _ in range(2):
        world.scripted.then(Calls(("clock__now", {}), text="Let me see."), "Noon.")


@pytest.mark.usefixtures("tools")
async def test_responses_and_their_streams_have_the_form_of_the_api(transport: Transport) -> None:
    whole = json.loads(await send(transport, "POST", "responses", ASKED))
    check(Response, whole)
    for item in json.loads(await send(transport, "GET", f"responses/{whole['id']}/input_items"))[
        "data"
    ]:
        check(ResponseItem, item)
    name = whole["conversation"]["id"]
    check(Conversation, json.loads(await send(transport, "GET", f"conversations/{name}")))
    listed = json.loads(await send(transport, "GET", f"conversations/{name}/items"))
    assert [item["type"] for item in listed["data"]] == [
        "message",
        "mcp_call",
        "message",
        "message",
    ]
    for item in listed["data"]:
        check(ConversationItem, item)
    events = read_events(await send(transport, "POST", "responses", {**ASKED, "stream": True}))
    assert len(events) > 15
    for event in events:
        check(ResponseStreamEvent, event)


async def test_completions_and_models_have_the_form_of_the_api(transport: Transport) -> None:
    check(ChatCompletion, json.loads(await send(transport, "POST", "chat/completions", CHAT)))
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    chunks = read_events(await send(transport, "POST", "chat/completions", asked))
    assert len(chunks) > 3
    for chunk in chunks:
        check(ChatCompletionChunk, chunk)
    for model in json.loads(await send(transport, "GET", "models"))["data"]:
        check(Model, model)


async def test_an_approval_has_the_form_of_the_api(transport: Transport, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grant = {"server": "clock", "approval": "always"}
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant]})
    world.scripted.then(Calls(("clock__now", {})))
    events = read_events(await send(transport, "POST", "responses", {**ASKED, "stream": True}))
    assert events[-1]["response"]["output"][0]["type"] == "mcp_approval_request"
    for event in events:
        check(ResponseStreamEvent, event)


NAMES = (
    *("model", "input", "messages", "instructions", "conversation", "previous_response_id", "text"),
    *("metadata", "stream", "include", "agent", "type", "role", "content", "image_url", "file"),
    *("file_data", "filename", "format", "schema", "approval_request_id", "approve", "name", "id"),
    *("max_output_tokens", "response_format", "json_schema", "stream_options", "tools", "n"),
)
WORDS = ("ceo", "user", "assistant", "message", "input_text", "input_image", "input_file", "file")
TEXTS = st.sampled_from((*WORDS, "mcp_approval_response", "json_schema", "data:;base64,", "", "x"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


ITEMS = st.lists(
    VALUES
    | st.fixed_dictionaries(
        {"role": st.sampled_from(("user", "system", "assistant"))},
        optional={
            "content": VALUES
            | st.lists(st.fixed_dictionaries({"type": TEXTS}, optional={"file": VALUES})),
            "type": TEXTS,
        },
    ),
    min_size=1,
    max_size=3,
)


@given(
    said=VALUES | ITEMS,
    more=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=1),
    chat=st.booleans(),
)
@example(said=[7], more={}, chat=False)
@example(said=[{"type": ["x"]}], more={}, chat=False)
@example(said=[{"role": "user", "content": [{"type": {}}]}], more={}, chat=True)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_json_is_answered_in_the_form_of_the_api(
    said: Any, more: dict[str, Any], chat: bool
) -> None:
    body = {"model": "ceo", ("messages" if chat else "input"): said, **more}

    async def ask() -> httpx2.Response:
        world = World()
        await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
        path = "chat/completions" if chat else "responses"
        async with httpx2.AsyncClient(transport=Transport(world)) as client:
            return await client.post(f"{BASE}/openai/v1/{path}", json=body)

    answer = asyncio.run(ask())
    if answer.status_code != 200:
        assert answer.status_code in (400, 404), answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
