"""What tests of dialects share: a scripted endpoint, the adapter that asks it, and a world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.model_api import ModelApi
from aos.domain.vision import Vision
from aos.testing import MemoryWorld
from tests.scripted_model import Say, ScriptedModel, running_model

SEES, BLIND = "eyes", "blind"
"""The names of a model that can see images, and of one that cannot."""


@pytest.fixture(scope="session")
def endpoint() -> Iterator[ScriptedModel]:
    """One endpoint for all tests of dialects."""
    with running_model(models=("m", "n", SEES, BLIND)) as model:
        yield model


@pytest.fixture
def server(endpoint: ScriptedModel) -> ScriptedModel:
    """The endpoint without a past; it greets."""
    endpoint.forget()
    endpoint.always(Say("Hello."))
    return endpoint


@pytest.fixture
def api() -> ModelApi:
    """The API that the endpoint speaks; a test that is parametrized by `api` replaces it."""
    return "chat"


@pytest.fixture
async def adapter(server: ScriptedModel, api: ModelApi) -> AsyncIterator[OpenAIChatModel]:
    """What asks the endpoint."""
    adapter = OpenAIChatModel(
        ModelEndpoint(
            base_url=server.endpoint,
            model="m",
            api_key="k",
            api=api,
            vision=Vision(models=frozenset({SEES})),
        )
    )
    yield adapter
    await adapter.close()


@pytest.fixture
def memory(adapter: OpenAIChatModel) -> MemoryWorld:
    """AOS on this endpoint, without a card."""
    return MemoryWorld(model=adapter, settings={"AOS_VISION_MODELS": SEES})
