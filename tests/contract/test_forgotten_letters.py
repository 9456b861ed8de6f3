"""Dead letters of a conversation do not outlive its deletion: in memory and on the local Service
Bus, whose file is searched too."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from aos.adapters.bus.client import BusAccount
from aos.adapters.bus.dead_letters import AzureDeadLetters
from aos.adapters.dead_letters import AllDeadLetters
from aos.adapters.memory import MemoryBroker
from aos.domain.dead_letters import BUS_ENTITIES
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
)
from aos.errors import TransientError
from aos.testing import MemoryWorld, ScriptedModel
from tests.contract.local_bus import LocalBus, running_bus

OWNER = "queue:aos-requests"


class Graveyard(Protocol):
    """A broker's dead-letter queues."""

    async def bury(
        self, entity: str, body: dict[str, Any], *, session_id: str | None = None, **properties: str
    ) -> None:
        """Make a dead letter."""
        ...

    async def search(self, word: str) -> list[str]:
        """Return where the word is found."""
        ...


class MemoryGraveyard:
    """Those of the broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def bury(
        self, entity: str, body: dict[str, Any], *, session_id: str | None = None, **properties: str
    ) -> None:
        broker = self._broker
        sent = broker.send(
            entity,
            json.dumps(body).encode(),
            message_id=str(uuid.uuid4()),
            session_id=session_id,
            properties=properties,
        )
        assert sent is not None
        session = broker.accept_session(entity) if entity == REALM_QUEUE else None
        kept = broker.receive(entity) if session is None else broker.receive_in(session)
        assert kept is sent
        assert kept.lock is not None
        broker.dead_letter(kept, kept.lock, reason="MaxDeliveryCountExceeded")
        if session is not None:
            broker.release(session)

    async def search(self, word: str) -> list[str]:
        names = [name for name in BUS_ENTITIES if name != "system-events/Subscriptions/mcp"]
        return [
            name
            for name in names
            for kept in self._broker.dead_letters(name)
            if word.encode() in kept.body
        ]


class BusGraveyard:
    """Those of the local Service Bus, through the SDK; and its file, byte by byte."""

    def __init__(self, client: ServiceBusClient, folder: Path) -> None:
        self._client = client
        self._folder = folder

    async def bury(
        self, entity: str, body: dict[str, Any], *, session_id: str | None = None, **properties: str
    ) -> None:
        message = ServiceBusMessage(
            json.dumps(body), session_id=session_id, application_properties={**properties}
        )
        async with self._client.get_queue_sender(entity) as sender:
            await sender.send_messages(message)
        async with self._client.get_queue_receiver(entity, session_id=session_id) as receiver:
            (received,) = await receiver.receive_messages(1, max_wait_time=5)
            await receiver.dead_letter_message(received, reason="MaxDeliveryCountExceeded")

    async def search(self, word: str) -> list[str]:
        files = self._folder.glob("bus.db*")
        return [file.name for file in files if word.encode() in file.read_bytes()]


@dataclass(slots=True)
class Scene:
    """A world and its dead letters."""

    world: MemoryWorld
    graves: Graveyard
    stop_bus: Callable[[], None]


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalBus, Path]]:
    folder = tmp_path_factory.mktemp("bus")
    with running_bus(folder) as running:
        yield running, folder


@pytest_asyncio.fixture(params=["memory", "local bus"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    world = MemoryWorld(model=ScriptedModel(), seed=uuid.uuid4().int)
    ahead = datetime.now(UTC) + timedelta(hours=1) - world.clock.now()
    world.clock.advance(max(0.0, ahead.total_seconds()))  # the broker's clock is a real one
    if request.param == "memory":
        yield Scene(world, MemoryGraveyard(world.broker), lambda: None)
        return
    running, folder = request.getfixturevalue("bus")
    account = BusAccount(connection_string=running.connection_string)

    async def send(message: object) -> None:
        raise AssertionError("nothing is sent")

    queues = AzureDeadLetters(account, send=send)
    jobs = world.ports.dead_letters
    world.ports = replace(world.ports, dead_letters=AllDeadLetters(bus=queues, jobs=jobs))
    client = ServiceBusClient.from_connection_string(running.connection_string)
    yield Scene(world, BusGraveyard(client, folder), running.stop)
    await client.close()
    await queues.close()


async def talk(world: MemoryWorld, conversation_id: str, *, owner: str = OWNER) -> str:
    """Have a run in a conversation; its id."""
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    run = await world.ask("ceo", "hello", conversation_id=conversation_id, owner=owner)
    return run.run_id


async def bury_all(graves: Graveyard, word: str, *, run_id: str, conversation_id: str) -> int:
    """Make a dead letter of each kind that holds what a person or a model wrote; how many."""
    ids = {"version": 1, "run_id": run_id, "conversation_id": conversation_id}
    await graves.bury(
        REQUESTS_QUEUE,
        {"agent_id": "ceo", "message": word, "conversation_id": conversation_id},
    )
    await graves.bury(
        REQUESTS_QUEUE,
        {
            "type": "approval.decide",
            "run_id": run_id,
            "tool_call_id": "call_1",
            "decision": "deny",
            "reason": word,
        },
    )
    await graves.bury(
        REALM_QUEUE,
        {**ids, "type": "ToolResult", "content": word},
        session_id=conversation_id,
        run_id=run_id,
    )
    await graves.bury(
        MCP_QUEUE, {**ids, "type": "CallTool", "arguments": {"q": word}}, run_id=run_id
    )
    await graves.bury(
        MAIN_QUEUE, {**ids, "type": "DeliverNotification", "data": {"q": word}}, run_id=run_id
    )
    await graves.bury(RESPONSES_QUEUE, {**ids, "type": "run.completed", "output": word})
    return 6


async def forget(world: MemoryWorld, conversation_id: str) -> None:
    """Delete the conversation, and let the follow-up of the deletion run."""
    await world.delete_conversation(conversation_id, owner=OWNER)
    await world.advance(10)
    world.clock.advance(120)
    await world.main.services.cleaner.clean()


async def test_dead_letters_of_a_deleted_conversation_are_removed_and_no_others(
    scene: Scene,
) -> None:
    word, other = f"w{uuid.uuid4().hex}", f"o{uuid.uuid4().hex}"
    ours, theirs = f"c-{uuid.uuid4().hex[:8]}", f"c-{uuid.uuid4().hex[:8]}"
    world, graves = scene.world, scene.graves
    await bury_all(graves, word, run_id=await talk(world, ours), conversation_id=ours)
    their_run = await talk(world, theirs)
    await graves.bury(MCP_QUEUE, {"run_id": their_run, "conversation_id": theirs, "q": other})
    await graves.bury(
        REQUESTS_QUEUE,
        {"agent_id": "ceo", "message": f"{other} of mallory", "conversation_id": ours},
        aos_owner="mallory",
    )
    assert await graves.search(word) != []
    await forget(world, ours)
    service = world.main.dead_letter_service
    listed = (await service.list_page(entity=None, after=None, limit=100)).items
    assert len(listed) == 2
    scene.stop_bus()
    assert await graves.search(word) == []
    assert await graves.search(other) != []


@pytest.fixture
def memory() -> Scene:
    world = MemoryWorld(model=ScriptedModel())
    return Scene(world, MemoryGraveyard(world.broker), lambda: None)


async def test_a_search_that_fails_is_repeated(
    memory: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    word, world, graves = "planted", memory.world, memory.graves
    await bury_all(graves, word, run_id=await talk(world, "c1"), conversation_id="c1")

    async def away(*_: Any, **__: Any) -> Any:
        raise TransientError("the bus is away")

    with monkeypatch.context() as patch:
        patch.setattr(world.ports.dead_letters, "peek", away)
        await forget(world, "c1")
    assert await graves.search(word) != []
    world.clock.advance(600)
    await world.main.services.cleaner.clean()
    assert await graves.search(word) == []


async def test_what_dies_after_the_deletion_is_removed_when_it_is_seen(memory: Scene) -> None:
    word, world, graves = "planted", memory.world, memory.graves
    run_id = await talk(world, "c1")
    await forget(world, "c1")
    ids = {"version": 1, "run_id": run_id, "conversation_id": "c1"}
    await graves.bury(MCP_QUEUE, {**ids, "type": "CallTool", "arguments": {"q": word}})
    world.clock.advance(60)
    await world.main.dead_letter_service.watch()
    assert await graves.search(word) == []
    events = [kept.body for kept in world.broker.messages(SYSTEM_EVENTS)]
    assert not any(b"dead_letter.added" in body for body in events)


async def test_dead_letters_of_the_conversation_that_stands_under_the_id_stay(
    memory: Scene,
) -> None:
    world, graves = memory.world, memory.graves
    await talk(world, "c1")
    await forget(world, "c1")
    run_id = await talk(world, "c1")
    count = await bury_all(graves, "kept", run_id=run_id, conversation_id="c1")
    for _ in range(2):
        world.clock.advance(400)
        await world.main.dead_letter_service.watch()
        await world.main.services.cleaner.clean()
    assert len(await graves.search("kept")) == count
