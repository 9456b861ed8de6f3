"""The adapter on an endpoint that speaks the Responses API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from tests.contract.model.calls import KEY
from tests.scripted_model import ScriptedModel


@pytest.fixture
async def model(endpoint: ScriptedModel) -> AsyncIterator[OpenAIChatModel]:
    where = ModelEndpoint(base_url=endpoint.endpoint, model="base", api_key=KEY, api="responses")
    adapter = OpenAIChatModel(where)
    yield adapter
    await adapter.close()
