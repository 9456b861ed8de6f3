"""What was forgotten is found in no store: not in memory, not in the tables and blobs of Azurite.

The apps are those of Azure. A word is planted wherever a person or a model can write something;
then the conversation is deleted, by DELETE or by its age, and everything is searched.
"""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.tables import AzureTables, TableAccount
from aos.domain.caller import Caller
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
    WAKE_SUBSCRIPTION,
)
from aos.domain.row_kinds import find_row_kind
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.errors import Refused, TransientError
from aos.testing import Calls, MemoryWorld, ScriptedModel
from devhost.provision import create_storage
from tests.contract.azurite import Azurite
from tests.samples import a_push_config

DAY = 86_400.0
LARGE = 40_000
TRANSCRIPTS = {"AOS_TRANSCRIPTS": "on", "AOS_TRANSCRIPT_DAYS": "20"}
Search = Callable[[str], Awaitable[list[str]]]


@dataclass(slots=True)
class Scene:
    """A world, its model, and a search through everything that it stores."""

    world: MemoryWorld
    model: ScriptedModel
    search: Search


EVERY_ENTITY = (
    REALM_QUEUE,
    MAIN_QUEUE,
    MCP_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    AGENT_EVENTS,
    WAKE_SUBSCRIPTION,
    SYSTEM_EVENTS,
)


def search_memory(world: MemoryWorld) -> Search:
    async def search(word: str) -> list[str]:
        found = [
            name
            for name in world.tables.__dataclass_fields__
            if name != "watchers" and word in repr(getattr(world.tables, name))
        ]
        for container in (world.data, world.logs):
            for blob in await container.list(""):
                if word.encode() in (await container.read(blob.name)).body:
                    found.append(blob.name)
        return found + search_beside(world, word)

    return search


def search_beside(world: MemoryWorld, word: str) -> list[str]:
    """Messages that wait for the apps, dead letters of every entity, and the log.

    Replies and events on topics are their receivers'.
    """
    found = [
        f"{entity} {kept.message_id}"
        for entity in (REALM_QUEUE, MAIN_QUEUE, MCP_QUEUE, REQUESTS_QUEUE)
        for kept in world.broker.messages(entity)
        if word in repr(kept)
    ]
    found += [
        f"dead {entity} {kept.message_id}"
        for entity in EVERY_ENTITY
        for kept in world.broker.dead_letters(entity)
        if word in repr(kept)
    ]
    return found + (["log"] if word in repr(vars(world.telemetry)) else [])


def search_azurite(azurite: Azurite, world: MemoryWorld) -> Search:
    """Read every row, blob and queue message with the SDKs alone."""

    async def search(word: str) -> list[str]:
        found: list[str] = []
        account = azurite.connection_string
        with TableServiceClient.from_connection_string(account) as tables:
            for table in tables.list_tables():
                with tables.get_table_client(table.name) as client:
                    for row in client.list_entities():
                        if table.name.startswith("aos"):
                            find_row_kind(table.name, row["PartitionKey"], row["RowKey"])
                        if word in repr(dict(row)):
                            found.append(f"{table.name} {row['PartitionKey']} {row['RowKey']}")
        with BlobServiceClient.from_connection_string(account) as blobs:
            for container in blobs.list_containers():
                with blobs.get_container_client(container.name) as here:
                    for blob in here.list_blobs():
                        if word.encode() in here.download_blob(blob.name).readall():
                            found.append(f"{container.name} {blob.name}")
        with QueueServiceClient.from_connection_string(account) as queues:
            for queue in queues.list_queues():
                with queues.get_queue_client(queue.name) as one:
                    waiting = one.peek_messages(max_messages=32)
                    found += [queue.name for message in waiting if word in message.content]
        return found + search_beside(world, word)

    return search


def forget_windows(account: str) -> None:
    """Forget how far the world before this one looked: its clock was ahead of this one's start."""
    with (
        TableServiceClient.from_connection_string(account) as tables,
        tables.get_table_client("aosindex") as index,
    ):
        for row in index.query_entities("PartitionKey eq 'windows'"):
            index.delete_entity(row["PartitionKey"], row["RowKey"])


@pytest.fixture(params=["memory", "azurite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def scene(kind: str, azurite: Azurite) -> AsyncIterator[Scene]:
    model = ScriptedModel()
    world = MemoryWorld(model=model, seed=uuid.uuid4().int, settings=TRANSCRIPTS)
    if kind == "memory":
        yield Scene(world=world, model=model, search=search_memory(world))
        return
    account = azurite.connection_string
    create_storage(account)
    forget_windows(account)
    blobs = AzureBlobs(BlobAccount(connection_string=account))
    tables = AzureTables(
        TableAccount(connection_string=account), payloads=blobs.container("aos-data")
    )
    logs = blobs.container("aos-logs")
    world.ports = replace(
        world.ports,
        logs=logs,
        requests=tables.requests(),
        pushes=tables.pushes(),
        pending=tables.pending(),
        conversations=tables.conversations(),
        index=tables.index(),
        ledger=tables.ledger(),
        decisions=tables.decisions(),
        tools=tables.tools(),
        tool_calls=tables.tool_calls(),
        eraser=tables.eraser(logs=logs),
        due=tables.due(),
        cleaner=tables.cleaner(),
    )
    yield Scene(world=world, model=model, search=search_azurite(azurite, world))
    await tables.close()
    await blobs.close()


async def plant(scene: Scene, word: str, *, ttl_days: int | None = None) -> tuple[str, str]:
    """Have a conversation with the word in every place; return its id and the agent's."""
    world, name = scene.world, f"a{uuid.uuid4().hex[:8]}"
    large = f"{word} " * (LARGE // len(word))

    def read(arguments: Mapping[str, Any]) -> str:
        return large

    await world.put_mcp_server(
        {"server_id": f"s{name}", "command": "npx", "args": ["-y", "@modelcontextprotocol/x"]},
        {"read": read},
    )
    memory = {} if ttl_days is None else {"memory": {"ttl_days": ttl_days}}
    status = await world.put_agent(
        {
            "agent_id": name,
            "purpose": "Remember.",
            "mcp_tools": [{"server": f"s{name}", "tools": ["read"], "approval": "always"}],
            **memory,
        }
    )
    assert (status["state"], status["warnings"]) == ("active", [])
    conversation_id = f"chat-{name}"
    scene.model.then(
        Calls((f"s{name}__read", {"path": word})),
        f"small {word}",
        large,
    )
    run = await world.ask(
        name, large, conversation_id=conversation_id, metadata={"note": word}, key=f"k-{name}"
    )
    (asked,) = (await world.waiting_approvals()).items
    receiver = a_push_config(run_id=run.run_id, credentials=word, created_at=world.clock.now())
    await world.ports.pushes.put(receiver)
    await world.decide(run.run_id, asked.tool_call_id, "approve", f"because {word}")
    await world.ask(name, f"again {word}", conversation_id=conversation_id)
    await world.settle()
    found = await scene.search(word)
    assert len(found) >= 5
    assert any(f"{run.run_id}.jsonl" in place for place in found), "a transcript"
    return conversation_id, name


async def pass_time(world: MemoryWorld, days: float) -> None:
    """Let days pass, with a tick of the cleaning at the end of each."""
    for _ in range(int(days)):
        world.clock.advance(DAY)
        await world.main.services.cleaner.clean()
        await world.settle()
        await world.advance(10)


async def test_a_planted_word_is_in_no_store_after_delete(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, name = await plant(scene, word)
    world = scene.world
    await world.delete_conversation(conversation_id)
    await world.advance(10)
    assert await scene.search(word) == []
    with pytest.raises(Refused, match="deleted") as refused:
        await world.history(conversation_id)
    assert refused.value.code == "conversation_deleted"
    with pytest.raises(Refused) as again:
        await world.ask(
            name,
            f"{word} " * (LARGE // len(word)),
            conversation_id=conversation_id,
            metadata={"note": word},
            key=f"k-{name}",
        )
    assert again.value.code == "conversation_deleted"
    scene.model.then("a new answer")
    await world.ask(name, "new", conversation_id=conversation_id)
    assert [m.content for m in await world.history(conversation_id)] == ["new", "a new answer"]
    assert await scene.search(word) == []


async def test_a_planted_word_is_in_no_store_after_its_days(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, name = await plant(scene, word, ttl_days=5)
    await pass_time(scene.world, 4)
    assert await scene.search(word) != []
    await pass_time(scene.world, 3)
    assert await scene.search(word) == []
    await pass_time(scene.world, 40)
    left = [place for place in await scene.search(name) if "aos-config" not in place]
    assert [place for place in left if conversation_id in place] == []


async def test_transcripts_end_after_their_days_and_the_conversation_stays(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, _ = await plant(scene, word)
    await pass_time(scene.world, 19)
    assert any(".jsonl" in place for place in await scene.search(word))
    await pass_time(scene.world, 2)
    assert [place for place in await scene.search(word) if ".jsonl" in place] == []
    assert word in (await scene.world.history(conversation_id))[0].content


async def test_a_conversation_that_is_used_is_not_too_old(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, name = await plant(scene, word, ttl_days=5)
    await pass_time(scene.world, 3)
    scene.model.then("still here")
    await scene.world.ask(name, "are you there?", conversation_id=conversation_id)
    await pass_time(scene.world, 3)
    assert len(await scene.world.history(conversation_id)) > 2
    await pass_time(scene.world, 4)
    assert await scene.search(word) == []


async def test_rows_of_runs_end_after_thirty_days_and_the_conversation_stays(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, name = await plant(scene, word)
    world = scene.world
    runs = (await world.main.services.runs.list_runs(owner="local", agent_id=name)).items
    await pass_time(world, 32)
    for run in runs:
        with pytest.raises(Refused) as gone:
            await world.run(run.run_id)
        assert gone.value.code == "run_not_found"
    assert not await world.ports.tool_calls.find(runs[-1].run_id, "any")
    assert [await world.ports.pushes.list_all(run.run_id) for run in runs] == [[]] * len(runs)
    assert word in (await world.history(conversation_id))[0].content
    listed = (await world.main.services.runs.list_conversations(owner="local", limit=100)).items
    assert conversation_id in [head.conversation_id for head in listed]
    assert (await world.main.services.runs.list_runs(owner="local", agent_id=name)).items == []
    await world.delete_conversation(conversation_id)
    await world.advance(10)
    assert await scene.search(word) == []
    await pass_time(world, 32)
    assert (await world.ports.conversations.load(conversation_id)).conversation is None
    listed = (await world.main.services.runs.list_conversations(owner="local", limit=100)).items
    assert conversation_id not in [head.conversation_id for head in listed]


async def test_others_cannot_delete_a_conversation(scene: Scene) -> None:
    word = f"w{uuid.uuid4().hex}"
    conversation_id, _ = await plant(scene, word)
    deletions = scene.world.main.services.deletions
    with pytest.raises(Refused) as refused:
        await deletions.delete(conversation_id, Caller(owner="bob"))
    assert refused.value.code == "conversation_not_found"
    assert len(await scene.world.history(conversation_id)) > 2
    await deletions.delete(conversation_id, Caller(owner="bob", is_admin=True))
    await scene.world.settle()
    await scene.world.advance(10)
    assert await scene.search(word) == []


async def test_a_long_conversation_is_deleted_in_bounded_steps(scene: Scene, kind: str) -> None:
    many = 10_000 if kind == "memory" else 600  # Azurite takes a second for 80 rows
    world, name = scene.world, f"long-{uuid.uuid4().hex[:8]}"
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    scene.model.then("hello")
    run = await world.ask("ceo", "first", conversation_id=name)
    store, text = world.ports.conversations, "x" * 2_000
    loaded = await store.load(name)
    head, etag = loaded.conversation, loaded.etag
    assert isinstance(head, Conversation)
    for start in range(2, many, 80):
        rows = range(start, min(many, start + 80))
        messages = tuple(
            Message(
                sequence=number,
                role="user",
                content=f"{number} {text}",
                run_id=run.run_id,
                created_at=run.created_at,
            )
            for number in rows
        )
        head = replace(head, next_sequence=rows.stop)
        etag = await store.save(Step(conversation=head, messages=messages), etag=etag)
    await world.advance(10)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    await world.delete_conversation(name)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert await store.read_history(name, before=many, limit=many) == []
    assert peak < 6_000_000, "20 MB of messages take no more than a few steps' memory"
    left = (await store.load(name)).conversation
    assert left is not None
    assert (left.cleaning, left.next_sequence, left.is_deleted) == (None, 0, True)


async def test_replies_of_cancelled_runs_go_out(scene: Scene) -> None:
    world, name = scene.world, f"chat-{uuid.uuid4().hex[:8]}"
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    scene.model.then("done")
    await world.ask("ceo", "first", conversation_id=name)
    scene.model.then(TransientError("away", retry_after_seconds=600.0))
    run = await world.ask("ceo", "second", conversation_id=name, reply_to=RESPONSES_QUEUE)
    assert not run.status.has_ended
    await world.delete_conversation(name)
    await world.advance(15)
    (reply,) = [r for r in world.replies() if r["run_id"] == run.run_id]
    assert (reply["type"], reply["error"]["code"]) == ("run.cancelled", "conversation_deleted")
    ended = await world.run(run.run_id)
    assert (ended.status.value, ended.metadata, ended.usage.total_tokens) == ("cancelled", {}, 0)
    assert world.clock.now() - ended.created_at < timedelta(hours=1)


async def test_a_run_that_outlasts_its_conversations_age_does_not_keep_it(scene: Scene) -> None:
    """It waits nearly a day for a person, and is old when the conversation is not."""
    world, name = scene.world, f"a{uuid.uuid4().hex[:8]}"
    await world.put_mcp_server(
        {"server_id": f"s{name}", "command": "npx", "args": ["-y", "@modelcontextprotocol/x"]},
        {"read": lambda arguments: "text"},
    )
    await world.put_agent(
        {
            "agent_id": name,
            "purpose": "Remember.",
            "memory": {"ttl_days": 1},
            "mcp_tools": [{"server": f"s{name}", "tools": ["read"], "approval": "always"}],
        }
    )
    scene.model.then(Calls((f"s{name}__read", {"path": "x"})), "done")
    run = await world.ask(name, "look", conversation_id=f"chat-{name}")
    world.clock.advance(0.9 * DAY)
    (asked,) = (await world.waiting_approvals()).items
    await world.decide(run.run_id, asked.tool_call_id, "approve", "yes")
    await world.settle()
    world.clock.advance(0.2 * DAY)
    await world.main.services.cleaner.clean()
    await world.settle()
    assert (await world.history(f"chat-{name}"))[-1].content == "done"
    await pass_time(world, 4)
    with pytest.raises(Refused, match="deleted"):
        await world.history(f"chat-{name}")
