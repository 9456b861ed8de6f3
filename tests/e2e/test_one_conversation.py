"""One conversation through every door: each door's own client, one history, no gap."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_artifact_text, new_text_message
from a2a.types import Role, SendMessageRequest
from httpx_sse import connect_sse
from mcp.client import Client
from openai import OpenAI

from aos.client import AosClient, AsyncAosClient, AsyncQueueClient
from tests.e2e.conftest import Model
from tests.e2e.road import Road

DOOR_SECONDS = 60.0
OWNER = "local"
"""The owner of all callers over HTTP on a laptop; the laptop of these tests lets the queue act for
it."""


class Doors:
    """One agent, one conversation, and a client for each door. Each method returns the output."""

    def __init__(self, road: Road, openai: OpenAI, native: AsyncAosClient) -> None:
        self.road = road
        self.openai = openai
        self.native = native
        self.agent = road.live(f"doors-{uuid.uuid4().hex[:8]}")
        self.name = openai.conversations.create().id
        self.board = self.name.removeprefix("conv_")
        self.told = 0

    async def ask(self, door: str) -> str:
        """Ask by a door, which is the question as well."""
        self.told += 2
        asking = {
            "Queue": self.ask_queue,
            "Queue for the caller": self.ask_queue_for_caller,
            "QueueClient": self.ask_queue_client,
            "Responses": self.ask_responses,
            "A2A": self.ask_a2a,
            "AG-UI": self.ask_ag_ui,
            "MCP": self.ask_mcp,
            "Stream": self.ask_stream,
            "HTTP": self.ask_http,
        }[door]
        return await asking(door)

    async def ask_queue(self, text: str) -> str:
        return str((await self.reply(text))["output"])

    async def reply(self, text: str, *, on_behalf_of: str | None = None) -> dict[str, Any]:
        """The reply to a request on the queue."""
        body = {"agent_id": self.agent, "message": text, "conversation_id": self.board}
        named = {"aos_on_behalf_of": on_behalf_of} if on_behalf_of else None
        asked = self.road.send(body, application_properties=named)
        return await asyncio.to_thread(self.road.reply_to, asked)

    async def ask_queue_for_caller(self, text: str) -> str:
        """Ask with the SDK of Service Bus, for the owner that the callers over HTTP have."""
        reply = await self.reply(text, on_behalf_of=OWNER)
        assert reply["sent_by"] == "queue:aos-requests"
        return str(reply["output"])

    async def ask_queue_client(self, text: str) -> str:
        bus = self.road.laptop.servicebus_connection_string
        async with AsyncQueueClient(connection_string=bus) as client:
            reply: dict[str, Any] = await client.ask(
                self.agent, text, conversation_id=self.board, on_behalf_of=OWNER
            )
        return str(reply["output"])

    async def ask_responses(self, text: str) -> str:
        made = self.openai.responses.create(model=self.agent, input=text, conversation=self.name)
        return made.output_text

    async def ask_a2a(self, text: str) -> str:
        async with httpx.AsyncClient(timeout=DOOR_SECONDS) as http:
            config = ClientConfig(httpx_client=http, streaming=False)
            client = await create_client(f"{self.road.main}/api/a2a/{self.agent}", config)
            message = new_text_message(text, role=Role.ROLE_USER, context_id=self.board)
            request = SendMessageRequest(message=message)
            (answer,) = [update async for update in client.send_message(request)]
            return get_artifact_text(answer.task.artifacts[0])

    async def ask_ag_ui(self, text: str) -> str:
        """Ask as a front end that has nothing of the conversation, and is told all of it."""
        body = {
            "threadId": self.board,
            "runId": uuid.uuid4().hex,
            "protocolVersion": "1.0",
            "messages": [{"id": "1", "role": "user", "content": text}],
        }
        url = f"{self.road.main}/api/ag-ui/{self.agent}"
        with (
            httpx.Client(timeout=DOOR_SECONDS) as http,
            connect_sse(http, "POST", url, json=body) as source,
        ):
            events = [sent.json() for sent in source.iter_sse()]
        (snapshot,) = [event for event in events if event["type"] == "MESSAGES_SNAPSHOT"]
        assert len(snapshot["messages"]) == self.told
        assert events[-1]["type"] == "RUN_FINISHED"
        return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")

    async def ask_mcp(self, text: str) -> str:
        async with Client(f"{self.road.main}/api/mcp") as client:
            asked = {"message": text, "conversation_id": self.board}
            told: Any = await client.call_tool(f"ask_{self.agent}", asked)
            return str(told.content[0].text)

    async def ask_stream(self, text: str) -> str:
        events = self.native.stream(self.agent, text, conversation_id=self.board)
        deltas = [e["data"]["text"] async for e in events if e["type"] == "message.delta"]
        return "".join(deltas)

    async def ask_http(self, text: str) -> str:
        client = AosClient(url=self.road.main)
        return str(client.ask(self.agent, text, conversation_id=self.board)["output"])

    async def has(self, asked: list[str], answers: list[str]) -> None:
        """Check that the history is whole, as Conversations and the native route read it.

        The model says how many messages it was shown: two more each time, or something is lost.
        """
        assert answers == [f"{2 + 2 * n} messages, last: {text}" for n, text in enumerate(asked)]
        told = [text for pair in zip(asked, answers, strict=True) for text in pair]
        listed = self.openai.conversations.items.list(self.name, order="asc", limit=100)
        items: list[Any] = list(listed)
        assert [item.content[0].text for item in items] == told
        messages = self.native.messages(self.board)
        assert [message["content"] async for message in messages] == told
        runs = [run["conversation_id"] async for run in self.native.runs(agent_id=self.agent)]
        assert runs == [self.board] * len(asked)


@pytest.fixture
async def doors(road: Road, model: Model) -> AsyncIterator[Doors]:
    with OpenAI(base_url=f"{road.main}/api/openai/v1", api_key="any", max_retries=0) as openai:
        async with AsyncAosClient(url=road.main) as native:
            yield Doors(road, openai, native)


async def test_what_responses_began_goes_on_through_every_door(doors: Doors) -> None:
    asked = ["Responses", "A2A", "Queue for the caller", "AG-UI", "MCP", "Stream", "HTTP"]
    asked += ["QueueClient", "Responses"]
    await doors.has(asked, [await doors.ask(door) for door in asked])
    refused = await doors.reply("Queue")  # a sender that acts for nobody reaches no other owner's
    assert (refused["type"], refused["error"]["code"]) == ("run.refused", "conversation_not_found")
    refused = await doors.reply("Queue", on_behalf_of="somebody")  # the operator did not list it
    assert (refused["type"], refused["error"]["code"]) == ("run.refused", "forbidden")
    await doors.has(asked, [f"{2 + 2 * n} messages, last: {text}" for n, text in enumerate(asked)])


async def test_what_the_queue_began_goes_on_through_every_door_and_the_queue(doors: Doors) -> None:
    """The caller over HTTP is an admin, as everybody is on a laptop, and may go on with it."""
    asked = ["Queue", "Responses", "A2A", "Queue", "AG-UI", "Stream", "MCP", "HTTP", "Queue"]
    await doors.has(asked, [await doors.ask(door) for door in asked])
