"""What does an answer of an OpenAI-compatible endpoint mean to a run?

Pure rules: bytes and statuses in, `ModelAnswer` or one of our errors out (see
docs/contracts/model-and-laptop.md). Who must act decides the error: waiting helps
(`TransientError`), the operator (`model_misconfigured`), or the model and what was asked of it
(`model_rejected`, `model_output_invalid`). Texts name the setting to look at, never a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from aos.domain.json_writer import write_json
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall
from aos.errors import AosError, RunFailed, TransientError
from aos.ports.model import ModelAnswer

LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0
LONGEST_DETAIL = 300
LONGEST_MODEL_NAME = 256
_TRANSIENT = frozenset({408, 409, 425, 429})
_REJECTED = frozenset({400, 413, 422, 451})


def read_answer(body: bytes, *, asked: str, tools: bool = False) -> ModelAnswer:
    """The model's text from a chat completion, or the tool calls that it asks for.

    `asked` is the model's name in the request; `tools`: it was offered some (calls of a model that
    was offered none are passed over). Raises TransientError (broken JSON, no choices) and RunFailed
    `model_output_invalid` (the model answered, but with nothing to go on with).
    """
    raw = _json_object(body)
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise TransientError("the model endpoint answered without choices")
    message = choices[0].get("message")
    text = _text(message) if isinstance(message, dict) else None
    calls = _calls(message) if tools and isinstance(message, dict) else ()
    if text is None and not calls:
        raise _no_text(choices[0])
    name = raw.get("model")
    known = isinstance(name, str) and 0 < len(name) <= LONGEST_MODEL_NAME
    return ModelAnswer(
        text=text or "",
        usage=_usage(raw.get("usage")),
        model=str(name) if known else asked,
        tool_calls=calls,
    )


def read_models(body: bytes) -> tuple[str, ...]:
    """The names in an answer of GET /models, in its order; raises TransientError."""
    rows = _json_object(body).get("data")
    if not isinstance(rows, list):
        raise TransientError("the model endpoint's list of models has no 'data'")
    names = (row.get("id") for row in rows if isinstance(row, dict))
    return tuple(name for name in names if isinstance(name, str) and name)


def status_error(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    model: str | None,
    now: datetime,
) -> AosError:
    """Our error for an answer that is no success; `model` as asked for (None: the list)."""
    what = "the list of models" if model is None else f"model {model!r}"
    said = _detail(body)
    if status in _TRANSIENT or status >= 500:
        return TransientError(
            f"the model endpoint answered {status} for {what}{said}",
            retry_after_seconds=retry_after(headers, now=now),
        )
    if status in _REJECTED:
        return RunFailed(
            "model_rejected",
            f"the model endpoint rejected the request for {what} ({status}){said}; check the"
            " card's parameters and the length of the conversation (memory.window_messages)",
            status=status,
        )
    return RunFailed(
        "model_misconfigured",
        f"the model endpoint answered {status} for {what}{said}; {_advice(status)}",
        status=status,
    )


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait as the endpoint wishes: `retry-after-ms`, or `retry-after` in seconds or as
    an HTTP date; None when there is none (or nonsense), at most a day."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())


def _advice(status: int) -> str:
    if status == 401:
        return "set AOS_MODEL_API_KEY to a valid key, or give the app's identity access"
    if status == 402:
        return "the account behind AOS_MODEL_API_KEY has to be paid for"
    if status == 403:
        return "give AOS_MODEL_API_KEY, or the app's identity, the right to use this model"
    if status == 404:
        return (
            "check that AOS_MODEL_ENDPOINT ends with /v1 and that AOS_MODEL (or the card's model)"
            " is one that the endpoint serves"
        )
    if 300 <= status < 400:
        return "redirects are not followed: set AOS_MODEL_ENDPOINT to the final address"
    return "check AOS_MODEL_ENDPOINT"


def _no_text(choice: Mapping[str, Any]) -> RunFailed:
    reason = choice.get("finish_reason")
    message = choice.get("message")
    if isinstance(message, dict) and message.get("tool_calls"):
        why = "it called a tool, but was offered none"
    elif reason == "length":
        why = "its token limit was spent before the first word: raise max_tokens in parameters"
    elif reason == "content_filter":
        why = "the endpoint's content filter withheld it"
    else:
        why = "ask again, or choose another model"
    return RunFailed("model_output_invalid", f"the model answered without a text; {why}")


def _text(message: Mapping[str, Any]) -> str | None:
    """The text of a message, or the words in which the model declined; None when it has neither."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    for text in (content, message.get("refusal")):
        if isinstance(text, str) and text.strip():
            return text.encode("utf-8", "replace").decode()  # a lone surrogate is no text
    return None


def _calls(message: Mapping[str, Any]) -> tuple[AskedCall, ...]:
    """The calls that a message asks for. Their ids are passed over: models repeat theirs."""
    raw = message.get("tool_calls")
    functions = (
        call.get("function") for call in (raw if isinstance(raw, list) else ()) if _is_object(call)
    )
    return tuple(
        AskedCall(name=_words(call.get("name")), arguments=_arguments(call.get("arguments")))
        for call in functions
        if _is_object(call)
    )


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _arguments(value: object) -> str:
    """As text; some endpoints give the object itself."""
    return _words(value) if isinstance(value, str | None) else write_json(value)


def _words(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode()


def _usage(raw: object) -> Usage:
    usage = raw if isinstance(raw, dict) else {}
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TransientError("the model endpoint answered with broken JSON") from error
    if not isinstance(raw, dict):
        raise TransientError("the model endpoint answered with JSON that is no object")
    return raw


def _detail(body: bytes) -> str:
    """The endpoint's own words, shortened, to follow ours; it may say them in several shapes."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = raw.get("error", raw) if isinstance(raw, dict) else None
    text = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    if not isinstance(text, str) or not text.strip():
        return ""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return f": {line if len(line) <= LONGEST_DETAIL else line[:LONGEST_DETAIL] + '…'}"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number == number and number >= 0 else None  # NaN is no number


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
