"""One conversation through every door: each door's own client, one history, no gap."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_artifact_text, new_text_message
from a2a.types import Role, SendMessageRequest
from httpx_sse import connect_sse
from mcp.client import Client
from openai import OpenAI

from aos.client import AosClient, AsyncAosClient
from tests.e2e.conftest import Model
from tests.e2e.road import Road

DOOR_SECONDS = 60.0


@pytest.fixture
def openai(road: Road) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{road.main}/api/openai/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def native(road: Road) -> AsyncIterator[AsyncAosClient]:
    async with AsyncAosClient(url=road.main) as client:
        yield client


async def test_each_door_goes_on_where_the_one_before_it_stopped(
    road: Road, model: Model, openai: OpenAI, native: AsyncAosClient
) -> None:
    """The model says how many messages it was shown: two more each time, or something is lost.

    The queue begins the conversation, which is its own then: it reaches no other owner's. The
    caller over HTTP is an admin, as everybody is on a laptop, and may go on with it.
    """
    agent = road.live(f"doors-{uuid.uuid4().hex[:8]}")
    name = openai.conversations.create().id
    board = name.removeprefix("conv_")
    answers = [
        ask_queue(road, agent, board, "Queue?"),
        openai.responses.create(model=agent, input="Responses?", conversation=name).output_text,
        await ask_a2a(road, agent, board),
        ask_queue(road, agent, board, "Queue again?"),
        ask_ag_ui(road, agent, board),
        "".join([text async for text in stream_native(native, agent, board)]),
        await ask_mcp(road, agent, board),
        str(AosClient(url=road.main).ask(agent, "HTTP?", conversation_id=board)["output"]),
    ]
    asked = ["Queue?", "Responses?", "A2A?", "Queue again?", "AG-UI?", "Stream?", "MCP?", "HTTP?"]
    assert answers == [f"{2 + 2 * n} messages, last: {text}" for n, text in enumerate(asked)]
    told = [text for pair in zip(asked, answers, strict=True) for text in pair]
    items: list[Any] = list(openai.conversations.items.list(name, order="asc", limit=100))
    assert [item.content[0].text for item in items] == told
    assert [message["content"] async for message in native.messages(board)] == told
    assert (await native.conversation(board))["conversation_id"] == board
    runs = [run["conversation_id"] async for run in native.runs(agent_id=agent)]
    assert runs == [board] * len(asked)


def ask_queue(road: Road, agent: str, board: str, text: str) -> str:
    """Ask by the queue; the output."""
    return str(road.reply_to(road.request(agent, text, conversation_id=board))["output"])


async def stream_native(client: AsyncAosClient, agent: str, board: str) -> AsyncIterator[str]:
    """Yield the texts of the answer while the model writes it."""
    async for event in client.stream(agent, "Stream?", conversation_id=board):
        if event["type"] == "message.delta":
            yield event["data"]["text"]


async def ask_a2a(road: Road, agent: str, board: str) -> str:
    """Ask with `a2a-sdk`; the output."""
    async with httpx.AsyncClient(timeout=DOOR_SECONDS) as http:
        config = ClientConfig(httpx_client=http, streaming=False)
        client = await create_client(f"{road.main}/api/a2a/{agent}", config)
        message = new_text_message("A2A?", role=Role.ROLE_USER, context_id=board)
        (answer,) = [it async for it in client.send_message(SendMessageRequest(message=message))]
        return get_artifact_text(answer.task.artifacts[0])


async def ask_mcp(road: Road, agent: str, board: str) -> str:
    """Ask with the client of `mcp`, as a tool; the output."""
    async with Client(f"{road.main}/api/mcp") as client:
        asked = {"message": "MCP?", "conversation_id": board}
        told: Any = await client.call_tool(f"ask_{agent}", asked)
        return str(told.content[0].text)


def ask_ag_ui(road: Road, agent: str, board: str) -> str:
    """Ask as a front end that has nothing of the conversation; the output.

    It is told what it does not have.
    """
    body = {
        "threadId": board,
        "runId": uuid.uuid4().hex,
        "protocolVersion": "1.0",
        "messages": [{"id": "1", "role": "user", "content": "AG-UI?"}],
    }
    url = f"{road.main}/api/ag-ui/{agent}"
    with (
        httpx.Client(timeout=DOOR_SECONDS) as http,
        connect_sse(http, "POST", url, json=body) as source,
    ):
        events = [sent.json() for sent in source.iter_sse()]
    (snapshot,) = [event for event in events if event["type"] == "MESSAGES_SNAPSHOT"]
    assert len(snapshot["messages"]) == 10
    assert events[-1]["type"] == "RUN_FINISHED"
    return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")
