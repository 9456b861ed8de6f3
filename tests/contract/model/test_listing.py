"""Which models an endpoint lists, and which of them is asked."""

from __future__ import annotations

import asyncio

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.errors import TransientError
from tests.contract.model.calls import KEY, a_call, fault
from tests.scripted_model import Say, ScriptedModel


async def test_the_list_is_read_once_for_many_and_never_by_an_idle_app(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call())
    assert endpoint.listings == [], "AOS_MODEL says which model: no list is needed"
    lists = await asyncio.gather(*(model.list_served() for _ in range(20)))
    assert set(lists) == {frozenset({"base", "ceo-lora"})}
    assert len(endpoint.listings) == 1


async def test_a_list_is_used_for_thirty_seconds(
    endpoint: ScriptedModel, model: OpenAIChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.list_served()
    monkeypatch.setattr("aos.adapters.model.openai_chat.LISTING_AGE_SECONDS", 0.0)
    await model.list_served()
    assert len(endpoint.listings) == 2


@pytest.mark.parametrize(
    "listing",
    [Say(status=500, body=b""), Say(body=b"{}"), Say(body=b"no"), Say(status=401, body=b"")],
)
async def test_a_list_that_cannot_be_read_is_transient_and_asked_for_again(
    endpoint: ScriptedModel, model: OpenAIChatModel, listing: Say
) -> None:
    endpoint.list_with(listing)
    with pytest.raises(TransientError):
        await model.list_served()
    endpoint.list_with(None)
    assert "base" in await model.list_served()


async def test_an_endpoint_without_a_list_serves_no_names(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.list_with(Say(status=404, body=b""))
    assert await model.list_served() == frozenset()


async def test_without_a_base_model_the_first_of_the_list_is_asked(
    endpoint: ScriptedModel,
) -> None:
    model = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, api_key=KEY))
    assert (await model.complete(a_call())).model == "base"
    await model.complete(a_call(model="ceo-lora"))
    assert [request.body["model"] for request in endpoint.requests] == ["base", "ceo-lora"]
    await model.close()


async def test_without_any_model_the_operator_is_told(endpoint: ScriptedModel) -> None:
    endpoint.list_with(Say(body={"data": []}))
    model = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, api_key=KEY))
    error = await fault(model)
    assert error.code == "model_misconfigured"
    assert "AOS_MODEL" in str(error)
    assert "/v1" in str(error)
    await model.close()
