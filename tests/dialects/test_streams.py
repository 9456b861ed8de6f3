"""Streams that endpoints refuse, cut, or do not send: the run has its answer anyway."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.model_api import ModelApi
from aos.errors import RunFailed, TransientError
from aos.ports.model import ChatMessage, ModelCall
from tests.dialects.conftest import Pieces
from tests.scripted_model import Request, Say, ScriptedModel

pytestmark = pytest.mark.parametrize("api", ["chat", "responses"])
CALL = ModelCall(
    model="m",
    messages=[ChatMessage(role="user", content="hi")],
    parameters={},
    timeout_seconds=10.0,
)
PASS_SECONDS = 0.2
SOON_SECONDS = 0.02


@pytest.fixture
async def model(server: ScriptedModel, api: ModelApi) -> AsyncIterator[OpenAIChatModel]:
    asks = OpenAIChatModel(
        ModelEndpoint(base_url=server.endpoint, model="m", api_key="a-long-key", api=api)
    )
    yield asks
    await asks.close()


async def ask(model: OpenAIChatModel) -> tuple[str, str, int]:
    """The text in pieces, the text of the answer, and the tokens of the answer."""
    pieces = Pieces()
    answer = await model.complete(replace(CALL, sink=pieces))
    return pieces.text, answer.text, answer.usage.output_tokens


async def test_a_stream_brings_the_text_in_pieces_and_the_usage(
    model: OpenAIChatModel, server: ScriptedModel
) -> None:
    server.script(Say("Rise by two percent."))
    assert await ask(model) == ("Rise by two percent.", "Rise by two percent.", 1)
    assert server.requests[0].body["stream"] is True


@pytest.mark.parametrize("refused", ["stream_options", "stream"])
async def test_what_an_endpoint_refuses_of_a_stream_is_left_out_from_then_on(
    model: OpenAIChatModel, server: ScriptedModel, refused: str, api: ModelApi
) -> None:
    def strict(request: Request) -> Say:
        if refused in request.body:
            return Say(status=400, body={"error": f"extra inputs: {refused} is not permitted"})
        return Say("Rise.")

    server.always(strict)
    assert (await ask(model))[1] == "Rise."
    count = len(server.requests)
    text, answer, _ = await ask(model)
    assert (answer, len(server.requests)) == ("Rise.", count + 1)
    assert text == ("Rise." if refused == "stream_options" else "")


async def test_an_endpoint_that_does_not_stream_answers_at_once(
    model: OpenAIChatModel, server: ScriptedModel
) -> None:
    server.script(Say("Rise.", whole=True))
    assert (await ask(model))[:2] == ("", "Rise.")
    assert len(server.requests) == 1


async def test_a_refusal_keeps_its_words(model: OpenAIChatModel, server: ScriptedModel) -> None:
    server.always(Say(status=400, body={"error": "temperature is too hot"}))
    with pytest.raises(RunFailed, match="too hot"):
        await ask(model)


async def test_a_stream_that_is_cut_is_asked_for_again_and_then_not_as_a_stream(
    model: OpenAIChatModel, server: ScriptedModel
) -> None:
    server.script(Say("Rise by two percent.", cut=120), Say("Rise."))
    with pytest.raises(TransientError):
        await ask(model)
    assert (await ask(model))[1] == "Rise."
    broken = Say(body=b'data: {"choices": []}\n\n', headers={"Content-Type": "text/event-stream"})
    server.script(broken, broken)
    for _ in range(2):
        with pytest.raises(TransientError):
            await ask(model)
    assert (await ask(model))[:2] == ("", "Hello.")
    assert "stream" not in server.requests[-1].body


async def test_a_key_that_the_endpoint_repeats_is_not_told(
    model: OpenAIChatModel, server: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.streaming_api.PIECE", 100)
    server.script(Say("The key is a-long-key."))
    assert (await ask(model))[:2] == ("The key is ***.", "The key is ***.")


class Rhythm(Pieces):
    """Passes text on every PASS_SECONDS, and notes when it got some."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def add(self, text: str) -> float:
        super().add(text)
        self.times.append(time.monotonic())
        left = PASS_SECONDS - (self.times[-1] - self.times[0]) % PASS_SECONDS
        return left if left > SOON_SECONDS else left + PASS_SECONDS


async def test_text_is_read_once_before_it_is_passed_on(
    model: OpenAIChatModel, server: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.streaming_api.PIECE", 2)
    server.script(Say("word " * 24, pause=0.01))
    rhythm = Rhythm()
    answer = await model.complete(replace(CALL, sink=rhythm))
    assert rhythm.text == answer.text
    whole = rhythm.times[-1] - rhythm.times[0]
    reads = 1 + sum(b - a > SOON_SECONDS for a, b in itertools.pairwise(rhythm.times))
    assert 2 <= reads <= 2 + whole / PASS_SECONDS
