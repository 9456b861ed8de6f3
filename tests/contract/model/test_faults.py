"""What the faults of a model's endpoint become: retryable, or the end of the run."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.http_client import LONGEST_ANSWER_BYTES
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.errors import AosError, EmptyAnswer, OperatorFault, RunFailed, TransientError
from tests.contract.model.calls import KEY, a_call, a_choice, fault
from tests.scripted_model import Say, ScriptedModel


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ({"content": None}, "ask again"),
        ({"content": " \n"}, "ask again"),
        ({}, "ask again"),
        ({"content": "", "finish": "length"}, "max_tokens"),
        ({"content": None, "tool_calls": [{"id": "1"}]}, "ask again"),
        ({"content": []}, "ask again"),
    ],
)
async def test_an_answer_without_text_is_invalid_output(
    endpoint: ScriptedModel, model: OpenAIChatModel, message: dict[str, Any], hint: str
) -> None:
    endpoint.script(Say(body=a_choice(**message)))
    error = await fault(model)
    assert isinstance(error, RunFailed)
    assert isinstance(error, EmptyAnswer) == (hint == "ask again")
    assert error.code == "model_output_invalid"
    assert hint in str(error)


@pytest.mark.parametrize("content", [None, "Half of an ans"])
async def test_what_the_content_filter_stopped_fails_under_a_code_of_its_own(
    endpoint: ScriptedModel, model: OpenAIChatModel, content: str | None
) -> None:
    endpoint.script(Say(body=a_choice(content=content, finish="content_filter")))
    error = await fault(model)
    assert (type(error), error.code) == (RunFailed, "content_filtered")


_AZURE_FILTER = {
    "error": {
        "code": "content_filter",
        "message": "The response was filtered",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, _AZURE_FILTER, RunFailed, "content_filtered"),
        (
            429,
            {"error": {"code": "insufficient_quota", "message": "x"}},
            OperatorFault,
            "model_quota",
        ),
        (
            429,
            {"error": {"type": "insufficient_quota", "message": "x"}},
            OperatorFault,
            "model_quota",
        ),
        (402, {"message": "x"}, OperatorFault, "model_quota"),
        (200, {"error": {"code": 429, "message": "x"}}, TransientError, "unavailable"),
        (
            200,
            {"error": {"code": "invalid_api_key", "message": "x"}},
            OperatorFault,
            "model_misconfigured",
        ),
        (
            200,
            {"error": {"code": "context_length_exceeded", "message": "x"}},
            RunFailed,
            "model_rejected",
        ),
        (200, {"error": "something odd"}, TransientError, "unavailable"),
        (200, {"object": "error", "message": "x", "code": 400}, RunFailed, "model_rejected"),
        (
            200,
            {"choices": [{"error": {"code": 502, "message": "x"}}]},
            TransientError,
            "unavailable",
        ),
        (200, {"error": {"code": "insufficient_quota"}}, OperatorFault, "model_quota"),
    ],
)
async def test_the_code_in_a_body_says_who_must_act_whatever_the_status(
    endpoint: ScriptedModel,
    model: OpenAIChatModel,
    status: int,
    body: dict[str, Any],
    kind: type[AosError],
    code: str,
) -> None:
    endpoint.script(Say(status=status, body=body))
    error = await fault(model)
    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no such thing"}},
        [{"error": {"code": 1, "message": "no such thing", "status": "X"}}],
        {"error": "no such thing"},
        "no such thing",
        {"detail": "no such thing"},
        {"detail": [{"loc": ["body"], "msg": "no such thing", "type": "missing"}]},
        {"object": "error", "message": "no such thing"},
        {"error": {"message": ["no such thing"]}},
        b"no such thing",
    ],
)
async def test_the_endpoints_own_words_are_in_the_error_in_whatever_shape_they_come(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int, body: Any
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    endpoint.script(Say(status=status, body=raw))
    assert ": no such thing" in str(await fault(model))


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
    ],
)
async def test_what_the_endpoint_rejects_fails_the_run_at_once(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int, code: str
) -> None:
    endpoint.script(Say(status=status, body={"error": {"message": "no such thing"}}))
    error = await fault(model)
    assert (type(error), error.code) == (RunFailed, code)
    assert f"{status}" in str(error)
    assert "no such thing" in str(error)
    assert KEY not in str(error)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 301])
async def test_what_an_operator_can_mend_is_waited_for(
    endpoint: ScriptedModel, model: OpenAIChatModel, status: int
) -> None:
    endpoint.script(Say(status=status, body={"error": {"message": "no such thing"}}))
    error = await fault(model)
    assert (type(error), error.code) == (OperatorFault, "model_misconfigured")
    assert isinstance(error, TransientError)
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
    assert str(error).endswith("(ConnectionRefusedError); check AOS_MODEL_ENDPOINT")
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


async def test_an_answer_that_is_packed_in_another_way_than_gzip_is_refused(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(body=b"\x1f\x8b", headers={"Content-Encoding": "br"}))
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


@pytest.mark.parametrize(
    "said",
    [
        Say(status=401, body={"error": {"message": f"Invalid token. Received API Key = {KEY}"}}),
        Say(status=400, body=f"Authorization: Bearer {KEY} is wrong".encode()),
        Say(status=503, body={"error": f"no route for {KEY}"}),
        Say(body={"error": {"message": f"key {KEY} has no credit", "code": 402}}),
    ],
)
async def test_a_key_that_the_endpoint_repeats_is_not_in_the_error(
    endpoint: ScriptedModel, model: OpenAIChatModel, said: Say
) -> None:
    endpoint.script(said)
    error = await fault(model)
    assert KEY not in str(error)
    assert "***" in str(error)
