"""Which credentials a model's endpoint is given."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.errors import TransientError
from tests.contract.model.calls import KEY, a_call, fault
from tests.scripted_model import ScriptedModel


def test_the_key_is_in_no_repr() -> None:
    assert KEY not in repr(ModelEndpoint(base_url="https://x/v1", api_key=KEY))


@pytest.mark.parametrize(
    ("url", "key", "scope"),
    [
        (
            "https://x.openai.azure.com/openai/v1",
            None,
            "https://cognitiveservices.azure.com/.default",
        ),
        (
            "https://x.services.ai.azure.com/openai/v1",
            None,
            "https://cognitiveservices.azure.com/.default",
        ),
        (
            "https://x.openai.azure.us/openai/v1",
            None,
            "https://cognitiveservices.azure.us/.default",
        ),
        ("https://x.openai.azure.com/openai/v1", "k", None),
        ("http://x.openai.azure.com/openai/v1", None, None),
        ("https://openai.azure.com.evil.example/v1", None, None),
        ("http://127.0.0.1:8080/v1", None, None),
    ],
)
def test_only_azure_over_tls_is_ever_given_a_token_of_our_identity(
    url: str, key: str | None, scope: str | None
) -> None:
    assert ModelEndpoint(base_url=url, api_key=key).identity_scope == scope


class Identity:
    """A credential of azure-identity, as far as it is used."""

    broken = False
    scopes: ClassVar[list[str]] = []

    def __init__(self, **_options: object) -> None:
        self.closed = False

    async def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        if self.broken:
            raise ClientAuthenticationError("no identity endpoint")
        self.scopes.extend(scopes)
        return AccessToken("token-of-the-app", 2**31)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> type[Identity]:
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", Identity)
    monkeypatch.setattr(ModelEndpoint, "identity_scope", "https://scope/.default")
    Identity.scopes.clear()
    return Identity


async def test_with_identity_each_request_has_the_apps_token(
    endpoint: ScriptedModel, identity: type[Identity]
) -> None:
    model = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, model="base"))
    assert (await model.complete(a_call())).text == "hello"
    assert endpoint.requests[0].headers["authorization"] == "Bearer token-of-the-app"
    assert set(identity.scopes) == {"https://scope/.default"}
    await model.close()


async def test_a_token_that_cannot_be_had_is_transient(
    endpoint: ScriptedModel, identity: type[Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "broken", True)
    model = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, model="base"))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert "identity" in str(error)
    assert endpoint.requests == []
    await model.close()


async def test_an_endpoint_without_key_and_identity_is_asked_without_credentials(
    endpoint: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with a key that lies about in the environment, either."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, model="base"))
    await model.complete(a_call())
    assert KEY not in json.dumps(endpoint.requests[0].headers)
    await model.close()
