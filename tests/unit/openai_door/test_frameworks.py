"""Unmodified clients that are built on OpenAI's: Agent Framework, and Azure AI Foundry's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from agent_framework import Agent, Message
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from azure.ai.projects.aio import AIProjectClient
from azure.core.credentials import AccessToken, AccessTokenInfo

from tests.unit.openai_door.in_process import BASE, Transport, World
from tests.unit.openai_door.test_responses import with_approval

FOR_ANSWER = "Instructions for this answer:\nBe brief.\n\n"


def shown(world: World) -> list[tuple[str, str]]:
    messages = world.scripted.calls[-1].messages
    return [(m.role, m.content) for m in messages if m.role != "system"]


@pytest.fixture
def agent(client: Any) -> Agent:
    chat: Any = OpenAIChatClient(model="ceo", async_client=client)
    return Agent(client=chat, instructions="Be brief.")


async def test_an_agent_of_the_framework_goes_on_in_its_session(agent: Agent, world: World) -> None:
    session = agent.create_session()
    assert (await agent.run("One?", session=session)).text == "answer 1"
    assert (await agent.run("Two?", session=session)).text == "answer 2"
    assert shown(world) == [
        ("user", "One?"),
        ("assistant", "answer 1"),
        ("user", f"{FOR_ANSWER}Two?"),
    ]


async def test_an_agent_of_the_framework_streams(agent: Agent, world: World) -> None:
    world.scripted.then("Sell the company now.")
    stream = agent.run("One?", stream=True)
    _ = [update async for update in stream]
    assert (await stream.get_final_response()).text == "Sell the company now."


async def test_the_frameworks_chat_client_sends_the_history_itself(
    client: Any, world: World
) -> None:
    chat: Any = OpenAIChatCompletionClient(model="ceo", async_client=client)
    agent = Agent(client=chat, instructions="Be brief.")
    session = agent.create_session()
    await agent.run("One?", session=session)
    assert (await agent.run("Two?", session=session)).text == "answer 2"
    assert shown(world) == [
        ("user", "One?"),
        ("assistant", "answer 1"),
        ("user", f"{FOR_ANSWER}Two?"),
    ]


@pytest.mark.parametrize("keeps", ["a session", "the history itself"])
async def test_an_agent_of_the_framework_asks_for_approvals_and_goes_on(
    client: Any, world: World, keeps: str
) -> None:
    await with_approval(world)
    chat: Any = OpenAIChatClient(model="ceo", async_client=client)
    agent = Agent(client=chat, instructions="Be brief.")
    session = agent.create_session() if keeps == "a session" else None
    said: list[Any] = []

    async def run(message: Any) -> Any:
        said.append(message)
        answer = await agent.run(message if session else list(said), session=session)
        said.extend(answer.messages)
        return answer

    asked = await run(Message("user", ["?"]))
    (wish,) = asked.user_input_requests
    approval = wish.to_function_approval_response(approved=True)
    assert (await run(Message("user", [approval]))).text == "Noon."
    assert (await run(Message("user", ["And next?"]))).text == "answer 3"
    assert shown(world)[-1][1].endswith("And next?")
    told = "\n".join(text for _, text in shown(world))
    assert told.count("noon in UTC") == 1
    assert "(" not in told.replace("(UTC)", "")  # no filler for what was left out


class Credential:
    """Gives a token, as a sign-in does."""

    async def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        return AccessToken("a-token", 2**31)

    async def get_token_info(self, *scopes: str, **more: Any) -> AccessTokenInfo:
        return AccessTokenInfo("a-token", 2**31)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Credential:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@pytest.fixture
async def project() -> AsyncIterator[AIProjectClient]:
    made = AIProjectClient(endpoint=BASE, credential=Credential(), allow_preview=True)
    async with made:
        yield made


async def test_foundrys_project_client_is_served(
    project: AIProjectClient, transport: Transport
) -> None:
    http = httpx2.AsyncClient(transport=transport)
    client = project.get_openai_client(http_client=http)
    conversation = await client.conversations.create()
    reference = {"name": "ceo", "type": "agent_reference"}
    for number in (1, 2):
        made = await client.responses.create(
            input="?", conversation=conversation.id, extra_body={"agent_reference": reference}
        )
        assert made.output_text == f"answer {number}"
    assert transport.requests[-1].headers["authorization"] == "Bearer a-token"
    of_agent = project.get_openai_client(agent_name="ceo", http_client=http)
    assert (await of_agent.responses.create(input="?")).output_text == "answer 3"
    url = transport.requests[-1].url
    assert url.path == "/api/agents/ceo/endpoint/protocols/openai/responses"
    assert "api-version" in url.params


async def test_foundrys_samples_begin_a_conversation_with_items_and_ask_without_input(
    project: AIProjectClient, transport: Transport, world: World
) -> None:
    client = project.get_openai_client(http_client=httpx2.AsyncClient(transport=transport))
    question: Any = {"type": "message", "role": "user", "content": "How large is France?"}
    conversation = await client.conversations.create(items=[question])
    reference = {"agent_reference": {"name": "ceo", "type": "agent_reference"}}
    ask = {"conversation": conversation.id, "extra_body": reference, "input": ""}
    assert (await client.responses.create(**ask)).output_text == "answer 1"
    question = {**question, "content": "And what is its capital?"}
    await client.conversations.items.create(conversation_id=conversation.id, items=[question])
    assert (await client.responses.create(**ask)).output_text == "answer 2"
    assert shown(world)[-1] == ("user", "And what is its capital?")
    assert (await client.conversations.delete(conversation_id=conversation.id)).deleted
