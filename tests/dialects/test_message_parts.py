"""Images and files in the request that a model's endpoint gets, over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.scripted_model import Request, Say, ScriptedModel
from tests.unit.entrypoints.laptop_in_memory import call

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "model": ["eyes", "blind"]}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\npixels").decode()
PDF = base64.b64encode(b"%PDF-1.7 pages").decode()
NOTES = base64.b64encode(b"a,b\n1,2\n").decode()
QUESTION = [
    {"type": "text", "text": "What is this?"},
    {"type": "image", "media_type": "image/png", "data": PNG},
    {"type": "image", "url": "https://example.com/cat.png"},
    {"type": "file", "name": "a.pdf", "media_type": "application/pdf", "data": PDF},
    {"type": "file", "name": "b.csv", "media_type": "text/csv", "data": NOTES},
]
TEXT = "What is this?\n\nFile 'b.csv' (text/csv):\na,b\n1,2\n"
SHOWN = [
    {"type": "text", "text": TEXT},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
    },
]
NOT_SHOWN = (
    f"{TEXT}\n\n"
    "[image: image/png, about 15 bytes, not shown to this model]\n\n"
    "[image: image/*, https://example.com/cat.png, not shown to this model]\n\n"
    "[file 'a.pdf': application/pdf, about 15 bytes, not shown to this model]"
)


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    assert (await memory.put_agent(AGENT))["state"] == "active"
    return memory


async def ask(world: MemoryWorld, message: object) -> RunStatus:
    body = {"message": message, "conversation_id": "c", "wait_seconds": 0}
    reply = await call(world.main.runs.start, "POST", body=body, parts={"agent_id": "ceo"})
    assert reply.status == 202
    await world.settle()
    return (await world.run(reply.body["run_id"])).status


def contents(request: Request) -> list[Any]:
    return [message["content"] for message in request.messages if message["role"] == "user"]


async def test_a_model_that_can_see_is_shown_content_parts(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    assert await ask(world, QUESTION) is RunStatus.COMPLETED
    assert await ask(world, "And its colour?") is RunStatus.COMPLETED
    assert contents(server.requests[0]) == [SHOWN]
    assert contents(server.requests[1]) == [SHOWN, "And its colour?"]


@pytest.mark.parametrize("api", ["responses"])
async def test_the_responses_api_gets_them_in_its_own_form(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    assert await ask(world, QUESTION) is RunStatus.COMPLETED
    await world.put_agent({**AGENT, "model": "blind"})
    assert await ask(world, "Is it a cat?") is RunStatus.COMPLETED
    shown = [
        {"type": "input_text", "text": TEXT},
        {
            "type": "input_image",
            "image_url": f"data:image/png;base64,{PNG}",
            "detail": "auto",
        },
        {"type": "input_image", "image_url": "https://example.com/cat.png", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": f"data:application/pdf;base64,{PDF}",
        },
    ]
    asked = [
        [item["content"] for item in request.body["input"] if item.get("role") == "user"]
        for request in server.requests
    ]
    assert asked == [[shown], [NOT_SHOWN, "Is it a cat?"]]


async def test_a_model_that_cannot_see_is_told_what_is_not_shown(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    def answer(request: Request) -> Say:
        return Say(status=503) if request.body["model"] == "eyes" else Say("Some picture.")

    server.always(answer)
    assert await ask(world, QUESTION) is RunStatus.COMPLETED
    assert [contents(request) for request in server.requests] == [[SHOWN], [NOT_SHOWN]]
    server.requests.clear()
    server.always(Say("Yes."))
    await world.put_agent({**AGENT, "model": "blind"})
    assert await ask(world, "Is it a cat?") is RunStatus.COMPLETED
    assert contents(server.requests[0]) == [NOT_SHOWN, "Is it a cat?"]


async def test_a_text_alone_stays_a_text(world: MemoryWorld, server: ScriptedModel) -> None:
    assert await ask(world, [{"type": "text", "text": "Hello"}]) is RunStatus.COMPLETED
    assert contents(server.requests[0]) == ["Hello"]
    assert (await world.history("c"))[0].parts == ()


async def test_an_image_that_the_content_filter_refused_is_not_shown_again(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    refusal = {"error": {"code": "content_filter", "message": "The prompt was filtered."}}
    server.script(Say(status=400, body=refusal), Say("Hello."))
    assert await ask(world, QUESTION) is RunStatus.FAILED
    assert await ask(world, "Hello") is RunStatus.COMPLETED
    assert PNG not in str(server.requests[-1].messages)


@pytest.mark.parametrize("refused", ["cat.png", "file_data", "image_url"])
@pytest.mark.parametrize("schema", [None, {"type": "object"}])
async def test_an_earlier_image_that_the_endpoint_cannot_read_any_more_ends_no_run(
    world: MemoryWorld, server: ScriptedModel, schema: dict[str, Any] | None, refused: str
) -> None:
    card = AGENT if schema is None else {**AGENT, "output_schema": schema}
    await world.put_agent(card)
    server.always(Say('{"it": "is a cat"}'))
    assert await ask(world, QUESTION) is RunStatus.COMPLETED
    server.requests.clear()

    def answer(request: Request) -> Say:
        if refused in str([c for c in contents(request) if isinstance(c, list)]):
            return Say(status=400, body={"error": {"message": f"{refused} cannot be read"}})
        return Say('{"it": "is grey"}')

    server.always(answer)
    for _ in range(2):
        assert await ask(world, "And its colour?") is RunStatus.COMPLETED
    last = server.requests[-1]
    assert contents(last)[0] == NOT_SHOWN.replace("shown to this model", "shown again")
    assert ("response_format" in last.body) is (schema is not None)
    assert len(server.requests) == 4
    assert await ask(world, QUESTION) is RunStatus.FAILED


async def test_the_question_keeps_its_images_after_a_tool_call(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    clock = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}
    await world.put_mcp_server(clock, {"now": lambda _: "noon"})
    await world.put_agent({**AGENT, "mcp_tools": ["clock"]})
    server.script(Say(calls=(("now", {}),)), Say("A cat at noon."))
    assert await ask(world, QUESTION) is RunStatus.COMPLETED
    assert [contents(request) for request in server.requests] == [[SHOWN], [SHOWN]]
