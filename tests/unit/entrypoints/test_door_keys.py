"""The doors of other protocols take a listed key wherever their clients send it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import azure.functions as func
import pytest

from aos.entrypoints.http.streams import StreamedResponse
from aos.entrypoints.routes import MAIN_ROUTES
from aos.testing import MemoryWorld
from tests.unit.entrypoints.keys import list_keys

KEY = "ann"
LISTED = {"AOS_AUTH": "keys", "AOS_KEY_OWNERS": list_keys(KEY)}
DOORS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a2a": ("POST", lambda main: main.a2a.rpc),
    "a2a_card": ("GET", lambda main: main.a2a.card),
    "a2a_rest": ("GET", lambda main: main.a2a.rest),
    "ag_ui_run": ("POST", lambda main: main.ag_ui.run),
    "agent_tools": ("POST", lambda main: main.agent_tools.serve),
    "openai_door": ("GET", lambda main: main.openai.answer),
    "openai_agent_door": ("GET", lambda main: main.openai.answer_for_agent),
}


def test_all_doors_are_here() -> None:
    assert set(DOORS) == {name for name, route in MAIN_ROUTES.items() if route.checks_keys}


async def ask(name: str, headers: dict[str, str], query: dict[str, str]) -> func.HttpResponse:
    world = MemoryWorld(settings=LISTED)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    verb, find = DOORS[name]
    raw = b"{}" if verb == "POST" else b""
    given = {"content-type": "application/json", "content-length": str(len(raw)), **headers}
    parts = {"agent_id": "ceo", "path": "models"}
    serve: Any = find(world.main)
    answer: func.HttpResponse = await serve(
        func.HttpRequest(
            verb, "http://localhost/", headers=given, params=query, route_params=parts, body=raw
        )
    )
    if isinstance(answer, StreamedResponse):
        await answer.pieces.aclose()
    return answer


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"authorization": f"Bearer {KEY}"}, {}),
        ({"authorization": f"bearer  {KEY} "}, {}),
        ({"api-key": KEY}, {}),
        ({"x-functions-key": KEY}, {}),
        ({"x-functions-key": "unlisted", "authorization": f"Bearer {KEY}"}, {}),
        ({}, {"code": KEY}),
    ],
)
async def test_a_listed_key_opens_each_door(
    name: str, headers: dict[str, str], query: dict[str, str]
) -> None:
    assert (await ask(name, headers, query)).status_code != 401


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("key", ["", "unlisted"])
async def test_another_key_does_not_and_the_answer_says_which_scheme_would(
    name: str, key: str
) -> None:
    refused = await ask(name, {"authorization": f"Bearer {key}", "x-functions-key": key}, {})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
