"""The agent card says what the agent takes and answers, where it is, and how a caller signs in."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
import pytest

from aos.testing import MemoryWorld
from tests.unit.a2a.kit import VERSION, a_message, rpc
from tests.unit.entrypoints.keys import list_keys

AGENT = {
    "agent_id": "ceo",
    "purpose": "Lead the company.",
    "purpose_scope": "Everything.",
    "labels": {"team": "board"},
}


async def card_of(card: dict[str, Any] | None = None, **settings: str) -> dict[str, Any]:
    """The card of an agent."""
    return await read_card(await a_main({**AGENT, **(card or {})}, **settings))


async def a_main(card: dict[str, Any], **settings: str) -> MemoryWorld:
    """A world with this agent."""
    world = MemoryWorld(settings={"AOS_PUBLIC_URL": "https://aos.example.com", **settings})
    status = await world.put_agent(card)
    assert status["errors"] == []
    return world


async def read_card(world: MemoryWorld, agent: str = "ceo", **headers: str) -> Any:
    """What the route of the card answers."""
    request = func.HttpRequest(
        "GET",
        "http://localhost/api/a2a/x/.well-known/agent-card.json",
        headers=headers,
        route_params={"agent_id": agent},
        body=b"",
    )
    answer = await world.main.a2a.card(request)
    return json.loads(answer.get_body())


async def test_the_card_says_where_the_agent_is_and_what_it_can() -> None:
    card = await card_of()
    url = "https://aos.example.com/api/a2a/ceo"
    assert card["name"] == "ceo"
    assert card["description"].startswith("Lead the company.")
    assert card["supportedInterfaces"] == [
        {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        {"url": url, "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
    ]
    assert card["capabilities"] == {
        "streaming": True,
        "pushNotifications": False,
        "extendedAgentCard": False,
    }
    assert card["defaultInputModes"] == [
        "text/plain",
        "text/markdown",
        "text/csv",
        "application/json",
    ]
    assert card["defaultOutputModes"] == ["text/plain"]
    assert card["skills"] == [
        {
            "id": "ceo",
            "name": "ceo",
            "description": "Lead the company.\n\nEverything.",
            "tags": ["PurposeDrivenAgent", "team"],
        }
    ]
    assert "securitySchemes" not in card


async def test_the_card_follows_the_agents_card_and_the_deployment() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    first = await card_of()
    card = await card_of(
        {"output_schema": schema},
        AOS_VISION_MODELS="*",
        AOS_WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert card["version"] != first["version"]
    assert card["defaultOutputModes"] == ["application/json", "text/plain"]
    assert {"image/png", "application/pdf"} <= set(card["defaultInputModes"])
    assert card["capabilities"]["pushNotifications"] is True


IN_AZURE = {
    "AZURE_FUNCTIONS_ENVIRONMENT": "Production",
    "WEBSITE_AUTH_ENABLED": "True",
    "AZURE_STORAGE_CONNECTION_STRING__accountName": "staos",
    "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace": "aos.example",
}
KEY = {"apiKeySecurityScheme": {"location": "header", "name": "x-functions-key"}}
TOKEN = {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}}


BEARER = {"httpAuthSecurityScheme": {"scheme": "Bearer"}}


@pytest.mark.parametrize(
    ("auth", "schemes"),
    [("keys", {"bearerKey": BEARER, "functionKey": KEY}), ("easyauth", {"signIn": TOKEN})],
)
async def test_the_card_says_how_a_caller_signs_in(auth: str, schemes: dict[str, Any]) -> None:
    listed = list_keys("ann")
    world = await a_main(AGENT, AOS_AUTH=auth, AOS_KEY_OWNERS=listed, **IN_AZURE)
    headers = {"x-functions-key": "ann", "x-ms-client-principal-id": "ann"}
    card = await read_card(world, **headers)
    assert card["securitySchemes"] == schemes
    assert card["securityRequirements"] == [{"schemes": {name: {"list": []}}} for name in schemes]
    refused = await read_card(world)
    assert refused["error"]["code"] == "unauthorized"


async def test_there_is_no_card_of_an_agent_that_is_not_there() -> None:
    world = await a_main(AGENT)
    assert (await read_card(world, "nobody"))["error"]["code"] == "agent_not_found"


async def test_where_answers_cannot_be_streamed_the_card_says_so_and_streams_are_refused() -> None:
    world = await a_main(AGENT)
    world.main.streams = False
    assert (await read_card(world))["capabilities"]["streaming"] is False
    for method in ("SendStreamingMessage", "SubscribeToTask"):
        reply = await rpc(world, method, {"message": a_message("Hi"), "id": "x"}, headers=VERSION)
        assert reply.reason == "UNSUPPORTED_OPERATION"
    assert world.tables.requests == {}
