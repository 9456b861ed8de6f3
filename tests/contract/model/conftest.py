"""Starts a scripted model and makes the adapter that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from tests.contract.model.calls import KEY
from tests.scripted_model import Say, ScriptedModel, running_model


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModel]:
    with running_model(models=("base", "ceo-lora")) as model:
        yield model


@pytest.fixture
def endpoint(server: ScriptedModel) -> ScriptedModel:
    """The same server, its memory wiped."""
    server.requests.clear()
    server.listings.clear()
    server.list_with(None)
    server.always(Say("hello"))
    return server


@pytest.fixture
async def model(endpoint: ScriptedModel) -> AsyncIterator[OpenAIChatModel]:
    adapter = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, model="base", api_key=KEY))
    yield adapter
    await adapter.close()
