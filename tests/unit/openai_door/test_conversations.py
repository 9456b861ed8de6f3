"""Conversations and models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from aos.testing import Calls
from tests.unit.openai_door.in_process import Transport, World, connect
from tests.unit.tools.worlds import CLOCK, noon


async def test_a_conversation_is_there_before_its_first_response(client: Any) -> None:
    made = await client.conversations.create()
    assert made.id.startswith("conv_")
    assert (await client.conversations.retrieve(made.id)).model_dump() == made.model_dump()
    assert (await client.conversations.items.list(made.id)).data == []
    first = await client.responses.create(model="ceo", input="One?", conversation=made.id)
    assert first.conversation is not None
    assert first.conversation.id == made.id


async def test_the_items_are_the_history_of_all_doors(client: Any, world: World) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]})
    await world.ask("ceo", "One?", conversation_id="board")
    world.scripted.then(Calls(("clock__now", {}), text="Let me see."), "Noon.")
    await client.responses.create(model="ceo", input="Two?", conversation="conv_board")
    await world.ask("ceo", "Three?", conversation_id="board")
    page = await client.conversations.items.list("conv_board", order="asc")
    shown = [item.output if item.type == "mcp_call" else item.content[0].text for item in page.data]
    assert shown == [
        "One?",
        "answer 1",
        "Two?",
        "Let me see.",
        "noon in UTC",
        "Noon.",
        "Three?",
        "answer 4",
    ]
    for order in ("asc", "desc"):
        for limit in (1, 3, 100):
            pages = client.conversations.items.list("conv_board", order=order, limit=limit)
            ids = [item.id async for item in pages]
            whole = [item.id for item in page.data]
            assert ids == (whole if order == "asc" else whole[::-1])
    for item in page.data:
        if item.type == "message":
            found = await client.conversations.items.retrieve(item.id, conversation_id="conv_board")
            assert found == item


async def test_long_conversations_are_paged(client: Any, world: World) -> None:
    for number in range(70):
        await world.ask("ceo", f"{number}?", conversation_id="long")
    for order in ("asc", "desc"):
        pages = client.conversations.items.list("conv_long", order=order, limit=33)
        found = [item.id async for item in pages]
        wanted = [f"msg_{n:08d}" for n in range(140)]
        assert found == (wanted if order == "asc" else wanted[::-1])


@pytest.mark.parametrize("after", ["msg_00000007", "msg_99999999", "mcp_00000000_0", "x"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_after_an_item_that_is_not_there_is_refused(
    client: Any, after: str, order: Any
) -> None:
    await client.responses.create(model="ceo", input="One?", conversation="conv_board")
    with pytest.raises(openai.BadRequestError) as error:
        await client.conversations.items.list("conv_board", after=after, order=order)
    assert error.value.param == "after"


async def test_a_conversation_is_deleted(client: Any, world: World) -> None:
    await client.responses.create(model="ceo", input="One?", conversation="conv_board")
    gone = await client.conversations.delete("conv_board")
    assert gone.deleted
    await world.settle()
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve("conv_board")


async def test_a_conversation_is_its_owners(world: World) -> None:
    await world.ask("ceo", "One?", conversation_id="theirs", owner="ann")
    keyed = World(
        settings={
            "AOS_AUTH": "keys",
            "AOS_KEY_OWNERS": f"ann={digest('a')},bob={digest('b')}",
        }
    )
    await keyed.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    transport = Transport(keyed)
    ann, bob = connect(transport, api_key="a"), connect(transport, api_key="b")
    made = await ann.conversations.create()
    said = await ann.responses.create(model="ceo", input="One?", conversation=made.id)
    reads: list[Callable[[], Any]] = [
        lambda: bob.conversations.retrieve(made.id),
        lambda: bob.conversations.items.list(made.id),
        lambda: bob.conversations.delete(made.id),
        lambda: bob.responses.retrieve(said.id),
        lambda: bob.responses.cancel(said.id),
        lambda: bob.responses.input_items.list(said.id),
        lambda: bob.responses.create(model="ceo", input="?", conversation=made.id),
        lambda: bob.responses.create(model="ceo", input="?", previous_response_id=said.id),
    ]
    for read in reads:
        with pytest.raises(openai.NotFoundError):
            await read()
    unused = await ann.conversations.create()
    with pytest.raises(openai.NotFoundError):
        await bob.conversations.retrieve(unused.id)


def digest(key: str) -> str:
    import hashlib

    return hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "a"},
        {"api_key": "x", "default_headers": {"x-functions-key": "a"}},
        {"api_key": "x", "default_headers": {"api-key": "a"}},
        {"api_key": "x", "default_query": {"code": "a"}},
    ],
)
async def test_a_listed_key_is_taken_wherever_clients_send_it(settings: dict[str, Any]) -> None:
    keyed = World(settings={"AOS_AUTH": "keys", "AOS_KEY_OWNERS": f"ann={digest('a')}"})
    await keyed.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    page = await connect(Transport(keyed), **settings).models.list()
    assert [model.id for model in page.data] == ["ceo"]


async def test_a_key_that_is_not_listed_is_refused(world: World) -> None:
    keyed = World(settings={"AOS_AUTH": "keys", "AOS_ADMIN_KEYS": digest("root")})
    with pytest.raises(openai.AuthenticationError) as error:
        await connect(Transport(keyed), api_key="a").models.list()
    assert error.value.code == "invalid_api_key"
    await connect(Transport(keyed), api_key="root").models.list()


async def test_the_models_are_the_agents_that_can_run(client: Any, world: World) -> None:
    await world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    await world.put_agent({"agent_id": "cto", "purpose": "Build.", "enabled": False})
    page = await client.models.list()
    assert [(model.id, model.owned_by) for model in page.data] == [("ceo", "aos"), ("cfo", "aos")]
    assert (await client.models.retrieve("ceo")).id == "ceo"
    with pytest.raises(openai.NotFoundError) as error:
        await client.models.retrieve("nobody")
    assert error.value.code == "model_not_found"
