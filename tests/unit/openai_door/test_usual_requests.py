"""What clients send without being asked: the API's own defaults, and histories as they got them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from aos.testing import Calls
from tests.unit.entrypoints.keys import list_keys
from tests.unit.openai_door.in_process import Transport, World, connect
from tests.unit.openai_door.test_responses import PIXEL
from tests.unit.tools.worlds import CLOCK, noon

PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def shown(world: World) -> list[tuple[str, str]]:
    messages = world.scripted.calls[-1].messages
    return [(m.role, m.content) for m in messages if m.role != "system"]


async def test_the_apis_defaults_change_nothing(client: Any) -> None:
    both: dict[str, Any] = {
        "temperature": 1,
        "top_p": 1.0,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "store": True,
        "metadata": {},
        "user": "u",
        "service_tier": "auto",
        "top_logprobs": 0,
    }
    body = {
        **both,
        "reasoning": {"effort": None, "summary": None},
        "truncation": "disabled",
        "include": [],
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "max_output_tokens": None,
        "instructions": None,
        "previous_response_id": None,
        "conversation": None,
    }
    assert (await client.responses.create(model="ceo", input="?", extra_body=body)).output_text
    body = {
        **both,
        "n": 1,
        "stop": [],
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "logit_bias": {},
        "logprobs": False,
        "seed": None,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "reasoning_effort": None,
        "stream_options": None,
    }
    said: Any = [{"role": "user", "content": "?"}]
    await client.chat.completions.create(model="ceo", messages=said, extra_body=body)


@pytest.mark.parametrize(
    ("before", "read"),
    [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"role": "assistant", "content": None, "tool_calls": []}, None),
        ({"role": "assistant", "content": []}, None),
        ({"role": "assistant", "content": None, "refusal": "I will not."}, "I will not."),
        (
            {"role": "assistant", "content": "Hm.", "tool_calls": [CALL]},
            "Hm.\n[call of f with {} as c1]",
        ),
        ({"role": "tool", "tool_call_id": "c1", "content": "7"}, "[result of c1: 7]"),
    ],
)
async def test_a_message_of_the_assistant_may_be_without_a_text(
    client: Any, world: World, before: Any, read: str | None
) -> None:
    said: Any = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Yes."},
        before,
        {"role": "user", "content": "Two?"},
    ]
    await client.chat.completions.create(model="ceo", messages=said)
    answer = "Yes." if read is None else f"Yes.\n\n{read}"
    assert shown(world) == [("user", "One?"), ("assistant", answer), ("user", "Two?")]


async def test_an_image_needs_no_text(client: Any, world: World) -> None:
    said: Any = [
        {"role": "user", "content": [PICTURE]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "text", "text": ""}, PICTURE]},
    ]
    await client.chat.completions.create(model="ceo", messages=said)
    assert [m for m in shown(world) if m[0] == "user"] == [("user", "(no text)")] * 2
    assert [len(m.attachments) for m in world.scripted.calls[-1].messages if m.role == "user"] == [
        1,
        1,
    ]


async def test_the_output_of_a_response_is_taken_back_as_input(client: Any, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]})
    world.scripted.then(Calls(("clock__now", {"zone": "UTC"}), text="Let me see."), "Noon.")
    said: list[Any] = [{"role": "user", "content": "One?"}]
    said += (await client.responses.create(model="ceo", input=said)).output
    said += [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": "Two?"},
    ]
    await client.responses.create(model="ceo", input=said)
    told = '[call of now with {"zone": "UTC"}]\n[result of now: noon in UTC]'
    assert shown(world) == [
        ("user", "One?"),
        ("assistant", f"Let me see.\n\n{told}\n\nNoon."),
        ("user", "Two?"),
    ]


async def test_an_item_of_a_response_is_named_instead_of_sent(client: Any, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grant = {"server": "clock", "approval": "always"}
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant]})
    world.scripted.then(Calls(("clock__now", {"zone": "UTC"}), text="Let me see."), "Noon.")
    asked: dict[str, Any] = {"role": "user", "content": "One?"}
    made = await client.responses.create(model="ceo", input=[asked])
    verdict: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": made.output[-1].id,
        "approve": True,
    }
    done = await client.responses.create(model="ceo", input=[verdict], previous_response_id=made.id)
    named = [{"type": "item_reference", "id": item.id} for item in (made.output[0], *done.output)]
    again = {"role": "user", "content": "Two?"}
    await client.responses.create(model="ceo", input=[asked, *named, again])
    told = '[call of now with {"zone": "UTC"}]\n[result of now: noon in UTC]'
    assert shown(world) == [
        ("user", "One?"),
        ("assistant", f"Let me see.\n\n{told}\n\nNoon."),
        ("user", "Two?"),
    ]


async def test_an_item_of_another_caller_is_not_there() -> None:
    world = World(settings={"AOS_AUTH": "keys", "AOS_KEY_OWNERS": list_keys("ann", "bob")})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    transport = Transport(world)
    ann, bob = (connect(transport, api_key=name) for name in ("ann", "bob"))
    made = await ann.responses.create(model="ceo", input="A secret?")
    named: list[Any] = [
        {"type": "item_reference", "id": made.output[0].id},
        {"role": "user", "content": "What was it?"},
    ]
    with pytest.raises(openai.NotFoundError):
        await bob.responses.create(model="ceo", input=named)
    assert (await ann.responses.create(model="ceo", input=named)).output_text == "answer 2"
