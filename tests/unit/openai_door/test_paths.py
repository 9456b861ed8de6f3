"""The path forms of Azure: deployments, api-version, Foundry's projects and agents."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from openai import AsyncAzureOpenAI

from tests.unit.openai_door.in_process import BASE, Transport, World, connect


def azure(transport: Transport) -> AsyncAzureOpenAI:
    return AsyncAzureOpenAI(
        azure_endpoint=BASE,
        api_key="a",
        api_version="2025-04-01-preview",
        http_client=httpx2.AsyncClient(transport=transport),
    )


async def test_the_client_of_azure_openai_is_served(transport: Transport, world: World) -> None:
    client = azure(transport)
    chat = await client.chat.completions.create(
        model="ceo", messages=[{"role": "user", "content": "One?"}]
    )
    assert chat.choices[0].message.content == "answer 1"
    assert transport.requests[-1].url.path == "/api/openai/deployments/ceo/chat/completions"
    made = await client.responses.create(model="ceo", input="Two?")
    assert made.output_text == "answer 2"
    assert transport.requests[-1].url.path == "/api/openai/responses"
    assert transport.requests[-1].url.params["api-version"] == "2025-04-01-preview"


async def test_the_endpoint_of_one_agent_needs_no_model(transport: Transport, world: World) -> None:
    path = "agents/ceo/endpoint/protocols/openai"
    client = connect(transport, path, default_query={"api-version": "v1"})
    made = await client.responses.create(input="One?")
    assert (made.model, made.output_text) == ("ceo", "answer 1")
    assert (await client.responses.retrieve(made.id)).output == made.output
    conversation = await client.conversations.create()
    said = await client.responses.create(input="Two?", conversation=conversation.id)
    assert said.model == "ceo"


@pytest.mark.parametrize("field", ["agent", "agent_reference"])
async def test_an_agent_is_named_by_foundrys_reference(
    client: Any, world: World, field: str
) -> None:
    reference = {"name": "ceo", "type": "agent_reference"}
    made = await client.responses.create(input="One?", extra_body={field: reference})
    assert made.model == "ceo"
