"""What a run has left is the limit of the answer, under the name that the endpoint takes."""

from __future__ import annotations

from typing import Any

import pytest

from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.errors import RunFailed
from tests.contract.model.calls import a_call
from tests.scripted_model import Say, ScriptedModel

OLD, NEW = "max_tokens", "max_completion_tokens"


def refuse(name: str) -> Say:
    said = f"Unsupported parameter: '{name}' is not supported with this model."
    return Say(status=400, body={"error": {"message": said}})


def limits(endpoint: ScriptedModel) -> list[dict[str, Any]]:
    """The limits of each request."""
    return [
        {name: request.body[name] for name in (OLD, NEW) if name in request.body}
        for request in endpoint.requests
    ]


async def test_most_endpoints_take_max_tokens(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call(output_tokens=5))
    assert limits(endpoint) == [{OLD: 5}]


async def test_a_call_without_a_limit_names_none(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call())
    assert limits(endpoint) == [{}]


async def test_an_endpoint_that_refuses_it_gets_the_newer_name_from_then_on(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(refuse(OLD), Say(text="Hi."), Say(text="Hi."))
    await model.complete(a_call(output_tokens=5))
    await model.complete(a_call(output_tokens=4))
    assert limits(endpoint) == [{OLD: 5}, {NEW: 5}, {NEW: 4}]


async def test_an_endpoint_that_takes_no_limit_is_asked_without(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(refuse(OLD), refuse(NEW), Say(text="Hi."))
    await model.complete(a_call(output_tokens=5))
    assert limits(endpoint) == [{OLD: 5}, {NEW: 5}, {}]


async def test_another_refusal_is_not_taken_for_one_of_the_limit(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(status=400, body={"error": {"message": "no such temperature"}}))
    with pytest.raises(RunFailed):
        await model.complete(a_call(output_tokens=5))
    assert limits(endpoint) == [{OLD: 5}]


@pytest.mark.parametrize(("given", "sent"), [(3, 3), (100, 5)])
@pytest.mark.parametrize("name", [OLD, NEW])
async def test_a_limit_of_the_card_keeps_its_name_and_the_smaller_counts(
    endpoint: ScriptedModel, model: OpenAIChatModel, name: str, given: int, sent: int
) -> None:
    await model.complete(a_call(output_tokens=5, parameters={name: given}))
    assert limits(endpoint) == [{name: sent}]
