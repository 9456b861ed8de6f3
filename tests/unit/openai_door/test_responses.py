"""Responses: create, retrieve, stream, cancel, go on."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from aos.errors import TransientError
from aos.testing import Calls
from tests.unit.openai_door.in_process import Transport, World, connect
from tests.unit.tools.worlds import CLOCK, noon


async def test_a_response_is_created_and_retrieved(client: Any, world: World) -> None:
    world.scripted.then("Sell.")
    made = await client.responses.create(
        model="ceo", input="What now?", metadata={"ticket": "7"}, user="u"
    )
    assert (made.status, made.output_text, made.model) == ("completed", "Sell.", "ceo")
    assert made.metadata == {"ticket": "7"}
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens > 0
    assert made.conversation is not None
    again = await client.responses.retrieve(made.id)
    assert again.model_dump() == made.model_dump()


async def test_a_response_goes_on_after_another(client: Any, world: World) -> None:
    first = await client.responses.create(model="ceo", input="One?")
    second = await client.responses.create(model="ceo", input="Two?", previous_response_id=first.id)
    assert second.conversation == first.conversation
    assert second.previous_response_id == first.id
    shown = [m.content for m in world.scripted.calls[-1].messages if m.role != "system"]
    assert shown == ["One?", "answer 1", "Two?"]
    with pytest.raises(openai.BadRequestError, match="not the last response") as error:
        await client.responses.create(model="ceo", input="Or?", previous_response_id=first.id)
    assert error.value.param == "previous_response_id"


async def test_a_stream_tells_the_text_and_ends_with_the_response(
    client: Any, world: World
) -> None:
    world.scripted.then("Sell the company now.")
    events = [
        event async for event in await client.responses.create(model="ceo", input="?", stream=True)
    ]
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "Sell the company now."
    assert len(deltas) > 1
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    end = events[-1]
    assert end.type == "response.completed"
    again = await client.responses.retrieve(end.response.id)
    assert again.output == end.response.output
    assert again.usage == end.response.usage


async def test_the_clients_own_stream_helper_finds_the_same(client: Any) -> None:
    async with client.responses.stream(model="ceo", input="?") as stream:
        final = await stream.get_final_response()
    assert final.output_text == "answer 1"


async def test_a_stream_goes_on_after_any_number(client: Any, world: World) -> None:
    world.scripted.then("Sell the company now.")
    whole = [e async for e in await client.responses.create(model="ceo", input="?", stream=True)]
    name = whole[0].response.id
    world.clock.advance(3600)
    await world.settle()  # the pieces are removed
    for place, seen in enumerate(whole):
        stream = await client.responses.retrieve(
            name, stream=True, starting_after=seen.sequence_number
        )
        rest = [event async for event in stream]
        text = "".join(e.delta for e in whole[place + 1 :] if e.type.endswith("text.delta"))
        assert "".join(e.delta for e in rest if e.type.endswith("text.delta")) == text
        later = [(e.sequence_number, e.type) for e in whole[place + 1 :] if "delta" not in e.type]
        assert [(e.sequence_number, e.type) for e in rest if "delta" not in e.type] == later


async def test_a_background_response_is_retrieved_later(client: Any, world: World) -> None:
    made = await client.responses.create(model="ceo", input="?", background=True)
    assert (made.status, made.background) == ("queued", True)
    await world.settle()
    later = await client.responses.retrieve(made.id)
    assert (later.status, later.output_text) == ("completed", "answer 1")


async def test_a_response_is_cancelled(client: Any, world: World) -> None:
    world.scripted.then(*[TransientError("away")] * 50)
    made = await client.responses.create(model="ceo", input="?", background=True)
    cancelled = await client.responses.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert (await client.responses.retrieve(made.id)).status == "cancelled"


class Plan(BaseModel):
    """What the client asks for."""

    step: str


async def test_an_output_fits_the_schema_of_the_request(client: Any, world: World) -> None:
    world.scripted.then('{"step": "sell"}')
    made = await client.responses.parse(model="ceo", input="?", text_format=Plan)
    assert made.output_parsed == Plan(step="sell")
    assert made.text is not None
    assert made.text.format is not None
    assert made.text.format.type == "json_schema"


async def test_instructions_and_developer_messages_are_read_with_the_question(
    client: Any, world: World
) -> None:
    made = await client.responses.create(
        model="ceo",
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": [{"type": "input_text", "text": "Two?"}]},
        ],
    )
    shown = [(m.role, m.content) for m in world.scripted.calls[-1].messages if m.role != "system"]
    assert shown == [
        ("user", "One?"),
        ("assistant", "Yes."),
        ("user", "Instructions for this answer:\nBe brief.\n\nBe kind.\n\nTwo?"),
    ]
    page = await client.responses.input_items.list(made.id, order="asc")
    assert [item.content[0].text for item in page.data] == ["One?", "Yes.", "Two?"]


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()


async def test_images_and_files_reach_the_model(client: Any, world: World) -> None:
    content: Any = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGk="},
    ]
    made = await client.responses.create(model="ceo", input=[{"role": "user", "content": content}])
    (question,) = [m for m in world.scripted.calls[-1].messages if m.role == "user"]
    assert [item.media_type for item in question.attachments] == ["image/png"]
    assert "Hi" in question.content
    page = await client.responses.input_items.list(made.id)
    assert [part.type for part in page.data[0].content] == [
        "input_text",
        "input_image",
        "input_text",
    ]


async def test_a_tool_call_is_shown_as_one_of_a_server(client: Any, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]})
    world.scripted.then(Calls(("clock__now", {"zone": "UTC"}), text="Let me see."), "Noon.")
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    end = events[-1]
    assert end.type == "response.completed"
    said, call, _ = end.response.output
    assert said.type == "message"
    assert call.type == "mcp_call"
    assert (call.server_label, call.name, call.output) == ("clock", "now", "noon in UTC")
    assert (call.arguments, call.status, call.error) == ('{"zone": "UTC"}', "completed", None)
    assert end.response.output_text == "Let me see.Noon."
    added = [e for e in events if e.type == "response.output_item.added"]
    assert [(e.output_index, e.item.type) for e in added] == [
        (0, "message"),
        (1, "mcp_call"),
        (2, "message"),
    ]
    assert "response.mcp_call.completed" in [e.type for e in events]
    again = await client.responses.retrieve(end.response.id)
    assert again.output == end.response.output


async def with_approval(world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grant = {"server": "clock", "approval": "always"}
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant]})
    world.scripted.then(Calls(("clock__now", {"zone": "UTC"})), "Noon.")


@pytest.mark.parametrize("approve", [True, False])
async def test_an_approval_is_requested_and_given(client: Any, world: World, approve: bool) -> None:
    await with_approval(world)
    made = await client.responses.create(model="ceo", input="?")
    assert made.status == "completed"
    (wish,) = made.output
    assert wish.type == "mcp_approval_request"
    assert (wish.server_label, wish.name, wish.arguments) == ("clock", "now", '{"zone": "UTC"}')
    with pytest.raises(openai.BadRequestError, match="waits for approvals"):
        await client.responses.create(model="ceo", input="Hm?", previous_response_id=made.id)
    verdict: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": wish.id,
        "approve": approve,
    }
    for _ in range(2):  # a repeat finds the same response
        done = await client.responses.create(
            model="ceo", input=[verdict], previous_response_id=made.id
        )
        call, _ = done.output
        assert call.type == "mcp_call"
        assert call.approval_request_id == wish.id
        assert call.status == ("completed" if approve else "failed")
        assert done.output_text == "Noon."
        assert (done.previous_response_id, done.conversation) == (made.id, made.conversation)
    assert len(world.scripted.calls) == 2
    assert (await client.responses.retrieve(made.id)).output == made.output
    assert (await client.responses.retrieve(done.id)).output == done.output
    other = {**verdict, "approve": not approve}
    with pytest.raises(openai.ConflictError, match="was decided"):
        await client.responses.create(model="ceo", input=[other], previous_response_id=made.id)
    assert made.usage is not None
    assert done.usage is not None
    run = await world.main.services.runs.list_runs(owner="local")
    total = run.items[0].usage.total_tokens
    assert made.usage.total_tokens + done.usage.total_tokens == total


async def test_a_part_that_has_not_begun_is_not_there_and_cancels_nothing(
    client: Any, world: World
) -> None:
    await with_approval(world)
    made = await client.responses.create(model="ceo", input="?")
    asks: list[Callable[[], Any]] = [
        lambda: client.responses.retrieve(f"{made.id}_2"),
        lambda: client.responses.retrieve(f"{made.id}_2", stream=True),
        lambda: client.responses.cancel(f"{made.id}_2"),
        lambda: client.responses.input_items.list(f"{made.id}_2"),
    ]
    for ask in asks:
        with pytest.raises(openai.NotFoundError):
            await ask()
    assert (await client.responses.retrieve(f"{made.id}_1")).status == "in_progress"


async def test_an_approval_is_streamed(client: Any, world: World) -> None:
    await with_approval(world)
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    end = events[-1]
    assert end.type == "response.completed"
    (wish,) = end.response.output
    verdict: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": wish.id,
        "approve": True,
    }
    stream = await client.responses.create(
        model="ceo", input=[verdict], previous_response_id=end.response.id, stream=True
    )
    events = [event async for event in stream]
    assert [e.output_index for e in events if e.type == "response.output_item.added"] == [0, 1]
    end = events[-1]
    assert end.type == "response.completed"
    assert end.response.output_text == "Noon."


async def test_an_idempotency_key_and_a_retry_of_the_client_run_once(
    transport: Transport, world: World
) -> None:
    client = connect(transport, max_retries=2)
    key = {"Idempotency-Key": "k-1"}
    first = await client.responses.create(model="ceo", input="?", extra_headers=key)
    again = await client.responses.create(model="ceo", input="?", extra_headers=key)
    assert first.id == again.id
    transport.broken = [502, 503]
    third = await client.responses.create(model="ceo", input="Once?")
    assert len(transport.requests) == 5
    assert len(world.scripted.calls) == 2
    assert third.output_text == "answer 2"
    fourth = await client.responses.create(model="ceo", input="Once?")
    assert fourth.id != third.id
    world.clock.advance(100)
    retry = {"x-stainless-retry-count": "1"}  # of a request that was never accepted
    fifth = await client.responses.create(model="ceo", input="Once?", extra_headers=retry)
    assert fifth.id not in (third.id, fourth.id)


async def test_a_repeat_after_another_response_finds_its_own(
    transport: Transport, world: World
) -> None:
    """Although its run is by now the last one of the conversation."""
    client = connect(transport, max_retries=2)
    first = await client.responses.create(model="ceo", input="One?")
    asked = {"model": "ceo", "input": "Two?", "previous_response_id": first.id}
    transport.broken = [502, 504]
    second = await client.responses.create(**asked)
    assert second.output_text == "answer 2"
    key = {"Idempotency-Key": "k-1"}
    asked["previous_response_id"] = second.id
    third = await client.responses.create(**asked, extra_headers=key)
    again = await client.responses.create(**asked, extra_headers=key)
    assert (again.id, again.output_text) == (third.id, "answer 3")
    assert len(world.scripted.calls) == 3


async def test_a_run_that_fails_is_a_response_that_failed(client: Any, world: World) -> None:
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "limits": {"max_turns": 1}})
    await world.put_mcp_server(CLOCK, {"now": noon})
    card = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}
    await world.put_agent({**card, "limits": {"max_turns": 1}})
    world.scripted.then(Calls(("clock__now", {})))
    made = await client.responses.create(model="ceo", input="?")
    assert made.status == "failed"
    assert made.error is not None
    assert made.error.message.startswith("max_turns: ")


async def test_a_stream_survives_storage_that_is_away_for_a_while(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each letter is told once."""
    world.scripted.then("Sell the company now.")
    store, reads = world.ports.run_events, 0
    read = store.read

    async def read_badly(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads % 2:
            raise TransientError("storage is away")
        return await read(*given, **named)

    monkeypatch.setattr(store, "read", read_badly)
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    assert reads > 1
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "Sell the company now."
    assert events[-1].type == "response.completed"


async def test_a_stream_of_storage_that_stays_away_ends_with_an_error(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*given: Any, **named: Any) -> Any:
        raise TransientError("storage is away")

    monkeypatch.setattr(world.ports.run_events, "read", fail)
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    assert [e.type for e in events] == ["response.created", "response.in_progress", "error"]
    assert events[-1].code == "unavailable"


async def test_a_fault_in_the_middle_of_a_stream_is_its_error(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*given: Any, **named: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(world.ports.run_events, "read", break_down)
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    events = [event async for event in stream]
    assert (events[-1].type, events[-1].code) == ("error", "internal_error")
    assert "secret" not in str(events)
    asked = await client.chat.completions.create(
        model="ceo", messages=[{"role": "user", "content": "?"}], stream=True
    )
    with pytest.raises(openai.APIError, match="AOS failed on its own side"):
        [chunk async for chunk in asked]


async def test_a_limit_of_tokens_makes_a_cut_answer_incomplete(client: Any, world: World) -> None:
    made = await client.responses.create(model="ceo", input="?", max_output_tokens=9)
    assert world.scripted.calls[0].output_tokens == 9
    assert made.max_output_tokens == 9


async def test_a_background_response_is_streamed_too(client: Any) -> None:
    stream = await client.responses.create(model="ceo", input="?", background=True, stream=True)
    events = [event async for event in stream]
    assert (events[0].response.status, events[0].response.background) == ("queued", True)
    assert events[-1].response.output_text == "answer 1"


async def go_on_everywhere(client: Any, world: World, whole: list[Any]) -> None:
    """Each event's number gives exactly what came after it, also when the pieces are gone."""
    name = whole[-1].response.id
    world.clock.advance(3600)
    await world.settle()
    for place, seen in enumerate(whole):
        stream = await client.responses.retrieve(
            name, stream=True, starting_after=seen.sequence_number
        )
        rest = [event async for event in stream]
        assert tell(rest) == tell(whole[place + 1 :]), place


def tell(events: list[Any]) -> tuple[str, list[Any]]:
    """The text, and all events that are no pieces of it."""
    is_piece = "response.output_text.delta"
    text = "".join(event.delta for event in events if event.type == is_piece)
    others = [
        (event.sequence_number, event.type, getattr(event, "item", None))
        for event in events
        if event.type != is_piece
    ]
    return text, others


async def test_a_stream_with_approved_tools_goes_on_after_any_number(
    client: Any, world: World
) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    grant = {"server": "clock", "approval": "always"}
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant]})
    ask = ("clock__now", {"zone": "UTC"})
    world.scripted.then(Calls(ask, text="Let me see 👀 first."), "It is noon, 👍 as ever.")
    stream = await client.responses.create(model="ceo", input="?", stream=True)
    first = [event async for event in stream]
    wish = first[-1].response.output[-1]
    verdict = {"type": "mcp_approval_response", "approval_request_id": wish.id, "approve": True}
    stream = await client.responses.create(
        model="ceo", input=[verdict], previous_response_id=first[-1].response.id, stream=True
    )
    second = [event async for event in stream]
    assert second[-1].response.output_text == "It is noon, 👍 as ever."
    await go_on_everywhere(client, world, first)
    await go_on_everywhere(client, world, second)
