"""The ChatModel port on an OpenAI-compatible endpoint: what goes out, what each answer means."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from aos.adapters.model.http_client import LONGEST_ANSWER_BYTES
from aos.adapters.model.openai_chat import ModelEndpoint, OpenAIChatModel
from aos.domain.runs.run import Usage
from aos.errors import AosError, RunFailed, TransientError
from aos.ports.model import ChatMessage, ModelAnswer, ModelCall
from tests.scripted_model import Request, Say, ScriptedModel, running_model

KEY = "sk-very-secret"


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


def a_call(
    *, model: str | None = None, seconds: float = 10.0, parameters: dict[str, object] | None = None
) -> ModelCall:
    return ModelCall(
        model=model,
        messages=(
            ChatMessage(role="system", content="You lead."),
            ChatMessage(role="user", content="Grüß dich \U0001f600"),
        ),
        parameters=parameters or {},
        timeout_seconds=seconds,
    )


def a_choice(**message: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": message.pop("finish", "stop"), "message": message}]}


async def fault(model: OpenAIChatModel, **call: Any) -> AosError:
    with pytest.raises(AosError) as caught:
        await model.complete(a_call(**call))
    return caught.value


async def test_the_request_holds_model_messages_parameters_and_key(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call(parameters={"temperature": 0.2, "top_k": 5}))
    [request] = endpoint.requests
    assert request.body == {
        "model": "base",
        "messages": [
            {"role": "system", "content": "You lead."},
            {"role": "user", "content": "Grüß dich \U0001f600"},
        ],
        "temperature": 0.2,
        "top_k": 5,
    }
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_the_answer_has_text_tokens_and_the_name_that_answered(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    endpoint.script(Say("Grüße", model="base-2026-11", usage=usage))
    assert await model.complete(a_call(model="base")) == ModelAnswer(
        text="Grüße", usage=Usage(input_tokens=7, output_tokens=3), model="base-2026-11"
    )


async def test_an_answer_without_usage_and_name_counts_nothing_and_has_the_name_asked_for(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(body=a_choice(content="hi")))
    answer = await model.complete(a_call(model="ceo-lora"))
    assert answer == ModelAnswer(text="hi", usage=Usage(), model="ceo-lora")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]},
            "in parts",
        ),
        ({"content": None, "refusal": "I would rather not."}, "I would rather not."),
        ({"content": "lone \ud800"}, "lone ?"),
    ],
)
async def test_texts_come_in_several_shapes(
    endpoint: ScriptedModel, model: OpenAIChatModel, message: dict[str, Any], text: str
) -> None:
    endpoint.script(Say(body=a_choice(**message)))
    assert (await model.complete(a_call())).text == text


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ({"content": None}, "ask again"),
        ({"content": " \n"}, "ask again"),
        ({}, "ask again"),
        ({"content": "", "finish": "length"}, "max_tokens"),
        ({"content": None, "finish": "content_filter"}, "content filter"),
        ({"content": None, "tool_calls": [{"id": "1"}]}, "tool"),
    ],
)
async def test_an_answer_without_text_is_invalid_output(
    endpoint: ScriptedModel, model: OpenAIChatModel, message: dict[str, Any], hint: str
) -> None:
    endpoint.script(Say(body=a_choice(**message)))
    error = await fault(model)
    assert (type(error), error.code) == (RunFailed, "model_output_invalid")
    assert hint in str(error)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_statuses_that_waiting_mends_are_transient(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int
) -> None:
    endpoint.script(Say(status=status, body={"error": {"message": "busy"}}))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds is None
    assert "busy" in str(error)
    assert len(endpoint.requests) == 1, "retries are the run's"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "model_rejected"),
        (413, "model_rejected"),
        (422, "model_rejected"),
        (401, "model_misconfigured"),
        (402, "model_misconfigured"),
        (403, "model_misconfigured"),
        (404, "model_misconfigured"),
        (405, "model_misconfigured"),
        (301, "model_misconfigured"),
    ],
)
async def test_statuses_that_waiting_does_not_mend_fail_the_run_at_once(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int, code: str
) -> None:
    endpoint.script(Say(status=status, body={"error": {"message": "no such thing"}}))
    error = await fault(model)
    assert (type(error), error.code) == (RunFailed, code)
    assert f"{status}" in str(error)
    assert "no such thing" in str(error)
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("status", "setting"), [(401, "AOS_MODEL_API_KEY"), (404, "AOS_MODEL_ENDPOINT")]
)
async def test_a_misconfigured_model_names_the_setting(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int, setting: str
) -> None:
    endpoint.script(Say(status=status, body=b"<html>nginx</html>"))
    assert setting in str(await fault(model))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"choices": [',
        b"[1]",
        b'{"choices": []}',
        b"{}",
        b'{"choices": [7]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_an_answer_that_is_none_is_transient(
    endpoint: ScriptedModel, model: OpenAIChatModel, body: bytes
) -> None:
    endpoint.script(Say(body=body))
    assert isinstance(await fault(model), TransientError)


@pytest.mark.parametrize("cut", [0, 20])
async def test_a_cut_connection_is_transient_and_the_next_call_works(
    endpoint: ScriptedModel, model: OpenAIChatModel, cut: int
) -> None:
    endpoint.script(Say("never whole", cut=cut))
    assert isinstance(await fault(model), TransientError)
    assert (await model.complete(a_call())).text == "hello"


async def test_an_endpoint_that_is_away_is_transient_and_its_setting_is_named() -> None:
    model = OpenAIChatModel(ModelEndpoint(base_url="http://127.0.0.1:1/v1", model="m", api_key=KEY))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert str(error).endswith("(ConnectError); see AOS_MODEL_ENDPOINT")
    await model.close()


@pytest.mark.parametrize("slow", [Say("late", delay=30), Say("x" * 99, pieces=99, pause=0.2)])
async def test_a_slow_answer_is_cut_at_the_calls_time_limit(
    endpoint: ScriptedModel, model: OpenAIChatModel, slow: Say
) -> None:
    """Also one that drips: the limit is for the whole call, not from byte to byte."""
    endpoint.script(slow)
    started = asyncio.get_running_loop().time()
    error = await fault(model, seconds=0.5)
    assert isinstance(error, TransientError)
    assert asyncio.get_running_loop().time() - started < 2


async def test_an_answer_without_end_is_not_read_to_its_end(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say("x" * (LONGEST_ANSWER_BYTES + 1)))
    error = await fault(model)
    assert (type(error), error.code) == (RunFailed, "model_output_invalid")
    assert (await model.complete(a_call())).text == "hello"


async def test_a_packed_answer_which_could_unpack_to_any_size_is_refused(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}))
    assert isinstance(await fault(model), TransientError)
    assert endpoint.requests[0].headers["accept-encoding"] == "identity"


async def test_a_redirect_is_not_followed(endpoint: ScriptedModel, model: OpenAIChatModel) -> None:
    endpoint.script(Say(status=307, headers={"Location": f"{endpoint.endpoint}/chat/completions"}))
    assert (await fault(model)).code == "model_misconfigured"
    assert len(endpoint.requests) == 1, "the key goes nowhere else"


def _in(minutes: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)


@pytest.mark.parametrize(("minutes", "least", "most"), [(10, 570, 600), (-10, 0, 0)])
async def test_a_moment_to_wait_for_is_passed_on_as_seconds(
    endpoint: ScriptedModel, model: OpenAIChatModel, minutes: float, least: float, most: float
) -> None:
    endpoint.script(Say(status=429, body=b"{}", headers={"Retry-After": _in(minutes)}))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds is not None
    assert least <= error.retry_after_seconds <= most


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "0.5"}, 0.5, 0.5),
        ({"Retry-After": "7", "retry-after-ms": "250"}, 0.25, 0.25),
        ({"Retry-After": "99999999"}, 86400, 86400),
    ],
)
async def test_the_endpoints_wish_to_wait_is_passed_on(
    endpoint: ScriptedModel,
    model: OpenAIChatModel,
    headers: dict[str, str],
    least: float,
    most: float,
) -> None:
    endpoint.script(Say(status=429, body=b"{}", headers=headers))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds is not None
    assert least <= error.retry_after_seconds <= most


@pytest.mark.parametrize(
    "nonsense",
    ["soon", "-3", "nan", "", f"Mon, 01 Jan {9 * 10**19} 00:00:00 GMT"],
    ids=["words", "negative", "nan", "empty", "no-date-can-be-that-late"],
)
async def test_a_nonsensical_wish_is_none(
    endpoint: ScriptedModel, model: OpenAIChatModel, nonsense: str
) -> None:
    endpoint.script(Say(status=503, body=b"{}", headers={"Retry-After": nonsense}))
    error = await fault(model)
    assert isinstance(error, TransientError)
    assert error.retry_after_seconds is None


async def test_the_list_is_read_once_for_many_and_never_by_an_idle_app(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call())
    assert endpoint.listings == [], "AOS_MODEL says which model: no list is needed"
    lists = await asyncio.gather(*(model.served() for _ in range(20)))
    assert set(lists) == {frozenset({"base", "ceo-lora"})}
    assert len(endpoint.listings) == 1


async def test_a_list_is_used_for_thirty_seconds(
    endpoint: ScriptedModel, model: OpenAIChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.served()
    monkeypatch.setattr("aos.adapters.model.openai_chat.LISTING_AGE_SECONDS", 0.0)
    await model.served()
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
        await model.served()
    endpoint.list_with(None)
    assert "base" in await model.served()


async def test_an_endpoint_without_a_list_serves_no_names(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.list_with(Say(status=404, body=b""))
    assert await model.served() == frozenset()


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


async def test_without_an_endpoint_nothing_is_configured() -> None:
    model = OpenAIChatModel(ModelEndpoint(base_url=None))
    assert not model.configured()
    assert "AOS_MODEL_ENDPOINT" in str(await fault(model))


async def test_thirty_two_callers_get_their_own_answers(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    def rule(request: Request) -> Say:
        return Say(f"for {request.body['user']}", delay=0.05)

    endpoint.always(rule)
    answers = await asyncio.gather(
        *(model.complete(a_call(parameters={"user": f"u{n}"})) for n in range(32))
    )
    assert [answer.text for answer in answers] == [f"for u{n}" for n in range(32)]


async def test_a_cancelled_call_leaves_the_adapter_working(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say("late", delay=30))
    task = asyncio.create_task(model.complete(a_call()))
    await asyncio.to_thread(endpoint.wait_for, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await model.complete(a_call())).text == "hello"


async def test_a_closed_adapter_opens_again(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.warm()
    await model.close()
    assert (await model.complete(a_call())).text == "hello"


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


def test_importing_the_adapter_loads_no_sdk() -> None:
    """The first call loads openai, which costs about a second."""
    code = (
        "import sys; import aos.adapters.model.openai_chat as m;"
        " m.OpenAIChatModel(m.ModelEndpoint(base_url='http://x/v1')).configured();"
        " print([n for n in ('openai', 'httpx2', 'azure', 'aiohttp') if n in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    assert run.stdout.strip() == "[]"
