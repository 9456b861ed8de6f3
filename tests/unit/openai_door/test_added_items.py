"""Items that are added to a conversation wait for its next response, which takes each once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import openai
import pytest

from aos.adapters.memory.blobs import MemoryBlobStore
from aos.errors import OutcomeUnknown, TransientError
from aos.services.added_items import MAX_BYTES
from tests.unit.openai_door.in_process import Transport, World, connect
from tests.unit.openai_door.test_conversations import digest
from tests.unit.openai_door.test_responses import with_approval

FRANCE: Any = {"type": "message", "role": "user", "content": "How large is France?"}
BLOBS = "added/"


def user(text: str) -> Any:
    return {"type": "message", "role": "user", "content": text}


def agent(text: str) -> Any:
    return {"type": "message", "role": "assistant", "content": text}


async def shown(client: Any, conversation: str, order: Any = "asc") -> list[str]:
    pages = client.conversations.items.list(conversation, order=order)
    return [item.content[0].text async for item in pages]


def told(world: World, call: int = -1) -> list[tuple[str, str]]:
    """What the model was shown, without the agent's own instructions."""
    messages = world.scripted.calls[call].messages
    return [(m.role, m.content) for m in messages if m.role != "system"]


async def waiting(world: World) -> list[str]:
    return [blob.name for blob in await world.data.list(BLOBS)]


@pytest.mark.parametrize("empty", [{}, {"input": ""}, {"input": []}])
async def test_a_response_without_input_answers_the_items_as_azures_samples_ask(
    client: Any, world: World, empty: dict[str, Any]
) -> None:
    made = await client.conversations.create(items=[FRANCE], metadata={"topic": "geography"})
    assert made.metadata == {"topic": "geography"}
    assert await shown(client, made.id) == ["How large is France?"]
    agent_reference = {"agent_reference": {"name": "ceo", "type": "agent_reference"}}
    ask = {"conversation": made.id, "extra_body": agent_reference, **empty}
    first = await client.responses.create(**ask)
    assert first.output_text == "answer 1"
    added = await client.conversations.items.create(made.id, items=[user("And its capital?")])
    assert [item.content[0].text for item in added.data] == ["And its capital?"]
    assert await shown(client, made.id) == ["How large is France?", "answer 1", "And its capital?"]
    await client.responses.create(**ask)
    history = ["How large is France?", "answer 1", "And its capital?", "answer 2"]
    assert await shown(client, made.id) == history
    assert [text for _, text in told(world)] == history[:3]
    assert (await client.conversations.retrieve(made.id)).metadata == {"topic": "geography"}


async def test_items_come_before_the_input_and_a_system_message_instructs(
    client: Any, world: World
) -> None:
    items = [
        {"type": "message", "role": "system", "content": "Be brief."},
        user("One?"),
        agent("1"),
        agent("Indeed."),
    ]
    made = await client.conversations.create(items=items)
    page = await client.conversations.items.list(made.id, order="asc")
    assert [item.role for item in page.data] == ["system", "user", "assistant", "assistant"]
    await client.responses.create(model="ceo", conversation=made.id, input="Two?")
    ((_, one), (_, answers), (_, two)) = told(world)
    assert (one, answers) == ("One?", "1\n\nIndeed.")
    assert "Be brief." in two
    assert two.endswith("Two?")
    assert await shown(client, made.id) == ["One?", "1\n\nIndeed.", "Two?", "answer 1"]
    assert await waiting(world) == []


async def test_a_stream_begins_with_the_items_too(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[FRANCE])
    stream = await client.responses.create(model="ceo", conversation=made.id, stream=True)
    events = [event async for event in stream]
    assert events[-1].response.output_text == "answer 1"
    assert told(world) == [("user", "How large is France?")]


@pytest.mark.parametrize("items", [[], [agent("Hello.")]])
async def test_a_response_without_a_question_is_refused_and_the_items_stay(
    client: Any, world: World, items: list[Any]
) -> None:
    made = await client.conversations.create(items=items)
    with pytest.raises(openai.BadRequestError) as error:
        await client.responses.create(model="ceo", conversation=made.id)
    assert (error.value.param, error.value.code) == ("input", "missing_required_parameter")
    assert len(await shown(client, made.id)) == len(items)
    with pytest.raises(openai.BadRequestError):  # without a conversation nothing can wait
        await client.responses.create(model="ceo", input="")


async def test_items_of_a_refused_response_wait_for_the_next_one(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[FRANCE])
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="nobody", conversation=made.id)
    answer = await client.responses.create(model="ceo", conversation=made.id)
    assert answer.output_text == "answer 1"


async def test_items_wait_in_conversations_of_other_doors_too(client: Any, world: World) -> None:
    await world.ask("ceo", "One?", conversation_id="board")
    await client.conversations.items.create("conv_board", items=[user("Two?")])
    await world.ask("ceo", "Three?", conversation_id="board")  # another door: they wait on
    assert (await shown(client, "conv_board"))[-2:] == ["answer 2", "Two?"]
    await client.responses.create(model="ceo", conversation="conv_board")
    assert (await shown(client, "conv_board"))[-2:] == ["Two?", "answer 3"]


async def test_items_that_wait_are_read_and_deleted_one_by_one(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[user("One?"), user("Two?")])
    first, second = (await client.conversations.items.list(made.id, order="asc")).data
    found = await client.conversations.items.retrieve(first.id, conversation_id=made.id)
    assert found == first
    left = await client.conversations.items.delete(first.id, conversation_id=made.id)
    assert left.id == made.id
    assert await shown(client, made.id) == ["Two?"]
    with pytest.raises(openai.NotFoundError):
        await client.conversations.items.retrieve(first.id, conversation_id=made.id)
    await client.responses.create(model="ceo", conversation=made.id)
    for gone in (second.id, "msg_00000000"):
        with pytest.raises(openai.BadRequestError) as error:
            await client.conversations.items.delete(gone, conversation_id=made.id)
        assert error.value.param == "item_id"


async def test_pages_go_through_the_history_and_what_waits(client: Any, world: World) -> None:
    for question in ("One?", "Two?"):
        await world.ask("ceo", question, conversation_id="board")
    await client.conversations.items.create("conv_board", items=[user("A"), agent("B"), user("C")])
    whole = ["One?", "answer 1", "Two?", "answer 2", "A", "B", "C"]
    for order in ("asc", "desc"):
        wanted = whole if order == "asc" else whole[::-1]
        for limit in (1, 2, 3, 5, 7, 100):
            pages = client.conversations.items.list("conv_board", order=order, limit=limit)
            assert [item.content[0].text async for item in pages] == wanted


async def test_metadata_is_replaced_and_goes_with_the_conversation(
    client: Any, world: World
) -> None:
    made = await client.conversations.create(metadata={"a": "1"})
    await client.responses.create(model="ceo", conversation=made.id, input="?")
    changed = await client.conversations.update(made.id, metadata={"b": "2"})
    assert changed.metadata == {"b": "2"}
    assert (await client.conversations.retrieve(made.id)).metadata == {"b": "2"}
    await client.conversations.delete(made.id)
    assert await waiting(world) == []


async def test_what_waits_at_a_conversation_that_has_not_begun_is_deleted_with_it(
    client: Any, world: World
) -> None:
    made = await client.conversations.create(items=[FRANCE])
    await client.conversations.delete(made.id)
    assert await waiting(world) == []


async def test_what_nobody_takes_ends_after_30_days(client: Any, world: World) -> None:
    await client.conversations.create(items=[FRANCE], metadata={"a": "1"})
    stands = await client.conversations.create(items=[FRANCE], metadata={"a": "1"})
    await world.ask("ceo", "?", conversation_id=stands.id.removeprefix("conv_"))
    world.clock.advance(timedelta(days=29).total_seconds())
    await world.main.services.cleaner.clean()
    assert len(await waiting(world)) == 2
    world.clock.advance(timedelta(days=2).total_seconds())
    await world.main.services.cleaner.clean()
    assert await waiting(world) == [f"{BLOBS}{stands.id.removeprefix('conv_')}.json"]
    assert await shown(client, stands.id) == ["?", "answer 1"]
    assert (await client.conversations.retrieve(stands.id)).metadata == {"a": "1"}


async def test_an_item_that_is_added_while_older_ones_end_stays(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.conversations.create(items=[FRANCE])
    world.clock.advance(timedelta(days=31).total_seconds())
    load = world.ports.conversations.load

    async def add_and_load(*names: Any, **more: Any) -> Any:
        monkeypatch.setattr(world.ports.conversations, "load", load)
        await client.conversations.items.create(made.id, items=[user("Still here?")])
        return await load(*names, **more)

    monkeypatch.setattr(world.ports.conversations, "load", add_and_load)
    await world.main.services.cleaner.clean()
    assert (await shown(client, made.id))[-1] == "Still here?"


async def test_main_dies_after_the_admission_and_the_items_are_not_taken_again(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.conversations.create(items=[FRANCE])

    async def dies(_: Any) -> None:
        return

    with monkeypatch.context() as dying:
        dying.setattr(world.main.services.items, "keep_rest", dies)
        await client.responses.create(model="ceo", conversation=made.id)
    assert len(await waiting(world)) == 1
    assert await shown(client, made.id) == ["How large is France?", "answer 1"]
    await client.conversations.items.create(made.id, items=[user("And Spain?")])
    await client.responses.create(model="ceo", conversation=made.id)
    assert await shown(client, made.id) == [
        "How large is France?",
        "answer 1",
        "And Spain?",
        "answer 2",
    ]


async def test_main_dies_before_the_admission_and_the_items_wait(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.conversations.create(items=[FRANCE])

    async def dies(*_: Any, **__: Any) -> Any:
        raise TransientError("storage is away")

    with monkeypatch.context() as dying:
        dying.setattr(world.main.services.admissions, "admit", dies)
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="ceo", conversation=made.id)
    with pytest.raises(openai.ConflictError) as error:  # that admission may still succeed
        await client.responses.create(model="ceo", conversation=made.id)
    assert error.value.code == "conversation_busy"
    world.clock.advance(16)
    await client.responses.create(model="ceo", conversation=made.id)
    assert await shown(client, made.id) == ["How large is France?", "answer 1"]


async def test_of_two_responses_at_once_one_takes_the_items(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[FRANCE])
    ask = {"model": "ceo", "conversation": made.id, "input": "Well?"}
    await asyncio.gather(
        *(client.responses.create(**ask) for _ in range(3)), return_exceptions=True
    )
    assert (await shown(client, made.id)).count("How large is France?") == 1


async def test_a_repeat_is_the_same_response_and_takes_nothing_more(
    transport: Transport, world: World
) -> None:
    client = connect(transport, max_retries=2)
    made = await client.conversations.create(items=[FRANCE])
    key = {"Idempotency-Key": "k-1"}
    ask = {"model": "ceo", "conversation": made.id}
    first = await client.responses.create(**ask, extra_headers=key)
    await client.conversations.items.create(made.id, items=[user("And Spain?")])
    again = await client.responses.create(**ask, extra_headers=key)
    assert again.id == first.id
    transport.broken.append(502)  # the answer is lost; the SDK repeats the request
    second = await client.responses.create(**ask)
    assert second.output_text == "answer 2"
    assert len(world.scripted.calls) == 2


async def connect_two() -> tuple[openai.AsyncOpenAI, openai.AsyncOpenAI]:
    """Clients of two owners, Ann and Bob, of one world with an agent."""
    keyed = World(
        settings={"AOS_AUTH": "keys", "AOS_KEY_OWNERS": f"ann={digest('a')},bob={digest('b')}"}
    )
    await keyed.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    transport = Transport(keyed)
    return connect(transport, api_key="a"), connect(transport, api_key="b")


async def test_what_waits_is_its_owners() -> None:
    ann, bob = await connect_two()
    made = await ann.conversations.create(items=[FRANCE])
    (item,) = (await ann.conversations.items.list(made.id)).data
    for read in (
        lambda: bob.conversations.retrieve(made.id),
        lambda: bob.conversations.items.list(made.id),
        lambda: bob.conversations.items.retrieve(item.id, conversation_id=made.id),
        lambda: bob.conversations.items.create(made.id, items=[FRANCE]),
        lambda: bob.conversations.items.delete(item.id, conversation_id=made.id),
        lambda: bob.conversations.update(made.id, metadata={"a": "1"}),
        lambda: bob.conversations.delete(made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await read()
    with pytest.raises(openai.BadRequestError):  # nothing waits there for bob
        await bob.responses.create(model="ceo", conversation=made.id)
    assert len((await ann.conversations.items.list(made.id)).data) == 1


async def test_who_begins_a_conversation_under_anothers_id_does_not_see_what_waits_there() -> None:
    ann, bob = await connect_two()
    made = await ann.conversations.create(items=[FRANCE], metadata={"a": "secret"})
    (item,) = (await ann.conversations.items.list(made.id)).data
    await bob.responses.create(model="ceo", conversation=made.id, input="?")
    assert await shown(bob, made.id) == ["?", "answer 1"]
    assert (await bob.conversations.retrieve(made.id)).metadata == {}
    with pytest.raises(openai.NotFoundError):
        await bob.conversations.items.retrieve(item.id, conversation_id=made.id)
    await bob.conversations.items.create(made.id, items=[user("Mine?")])
    assert (await shown(bob, made.id))[2:] == ["Mine?"]
    await ann.conversations.delete(made.id)  # she may not delete what is his
    assert (await shown(bob, made.id))[2:] == ["Mine?"]


async def test_what_waits_is_bounded(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[user("x")] * 60)
    for items in ([user("x")] * 5, [user("x" * 300_000)]):
        with pytest.raises(openai.APIStatusError) as error:
            await client.conversations.items.create(made.id, items=items)
        assert (error.value.status_code, error.value.code) == (413, "too_large")
    await client.conversations.items.create(made.id, items=[user("y")] * 4)
    await client.responses.create(model="ceo", conversation=made.id, input="?")
    ((_, question),) = told(world)  # what one speaker says in a row is one message to the model
    window = question.split("\n\n")  # the card's `memory.window_messages`
    assert (set(window), window[-6:]) == ({"x", "y", "?"}, ["x", *["y"] * 4, "?"])
    assert len(await shown(client, made.id)) == 66


async def test_items_that_fill_all_the_room_are_taken(client: Any, world: World) -> None:
    made = await client.conversations.create(items=[user("x")])
    room = MAX_BYTES - len((await world.data.read((await waiting(world))[0])).body)
    await client.conversations.delete(made.id)
    full = await client.conversations.create(items=[user("x" * (room + 1))])
    assert len((await world.data.read((await waiting(world))[0])).body) == MAX_BYTES
    await client.responses.create(model="ceo", conversation=full.id, input="?")
    assert len(await shown(client, full.id)) == 3


async def test_the_only_response_of_its_conversation_is_deleted(client: Any, world: World) -> None:
    made = await client.responses.create(model="ceo", input="One?")
    later = await client.responses.create(model="ceo", input="Two?", previous_response_id=made.id)
    for name in (made.id, later.id):
        with pytest.raises(openai.BadRequestError, match="conv_"):
            await client.responses.delete(name)
    alone = await client.responses.create(model="ceo", input="One?")
    assert await client.responses.delete(alone.id) is None
    await world.advance(60)
    for gone in (
        lambda: client.responses.retrieve(alone.id),
        lambda: client.responses.input_items.list(alone.id),
        lambda: client.responses.delete(alone.id),
        lambda: client.responses.create(model="ceo", input="?", previous_response_id=alone.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await gone()


async def test_a_whole_history_may_come_with_decisions(client: Any, world: World) -> None:
    """Clients that keep the history themselves send all of it, as the AI SDK does."""
    await with_approval(world)
    made = await client.responses.create(model="ceo", input="?")
    (wish,) = made.output
    verdict: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": wish.id,
        "approve": True,
    }
    asked = wish.model_dump(exclude_none=True)
    for refused in (
        [user("?"), verdict],  # a history without the request is another one
        [user("?"), asked, verdict, user("And now?")],
        [verdict, user("And now?")],
    ):
        with pytest.raises(openai.BadRequestError, match="decisions"):
            await client.responses.create(model="ceo", input=refused)
    done = await client.responses.create(model="ceo", input=[user("?"), asked, verdict])
    assert done.output_text == "Noon."


async def test_an_item_whose_write_had_no_answer_is_added_once(
    client: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await client.conversations.create(items=[FRANCE])
    real = MemoryBlobStore.write

    async def write_unanswered(*given: Any, **more: Any) -> Any:
        await real(*given, **more)
        raise OutcomeUnknown("no answer")

    with monkeypatch.context() as cut:
        cut.setattr(MemoryBlobStore, "write", write_unanswered)
        await client.conversations.items.create(made.id, items=[user("And Spain?")])
    assert await shown(client, made.id) == ["How large is France?", "And Spain?"]
