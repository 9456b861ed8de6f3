"""What tests of dialects share: a scripted endpoint, the adapter that asks it, and a world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.model_api import ModelApi
from aos.domain.vision import Vision
from aos.ports.model import ModelAnswer, ModelCall
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


class StreamingModel(OpenAIChatModel):
    """Asks for streams always; the pieces of text are those of the answer."""

    async def complete(self, call: ModelCall) -> ModelAnswer:
        sink = Pieces()
        answer = await super().complete(replace(call, sink=sink))
        assert answer.text.startswith(sink.text)
        return answer


class Pieces:
    """Keeps the text that was streamed."""

    def __init__(self) -> None:
        self.text = ""

    def begin(self, model: str | None, *, reason: str | None = None) -> None:
        self.text = ""

    def add(self, text: str) -> float:
        self.text += text
        return 0.0


@pytest.fixture(params=[OpenAIChatModel, StreamingModel], ids=["whole", "streamed"])
def kind(request: pytest.FixtureRequest) -> type[OpenAIChatModel]:
    """How answers are asked for; the outcomes are the same."""
    chosen: type[OpenAIChatModel] = request.param
    return chosen


@pytest.fixture
async def adapter(
    server: ScriptedModel, api: ModelApi, kind: type[OpenAIChatModel]
) -> AsyncIterator[OpenAIChatModel]:
    """What asks the endpoint."""
    adapter = kind(
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
