"""Reads an answer of an OpenAI-compatible endpoint. Entry points: `read_answer`, `read_models`.

The rules are pure: bytes in, `ModelAnswer` or an error out (docs/contracts/model-and-laptop.md).
Endpoints differ: content is a text or parts, arguments are a text or an object, ids are missing or
repeated, usage is missing, and some send extra fields that they want back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aos.adapters.model.faults import content_filtered, has_error, is_markup, make_fault
from aos.adapters.model.streamed_answers import join_stream
from aos.domain.json_writer import known_json, write_json
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall, EndpointFields
from aos.errors import EmptyAnswer, OperatorFault, RunFailed, TransientError, UnreadableAnswer
from aos.ports.model import FinishReason, ModelAnswer

LONGEST_MODEL_NAME = 256
MAX_EXTRA_BYTES = 64 * 1024
"""The most bytes of an endpoint's extra fields that one answer may add to the history."""
_OURS = frozenset(
    {"role", "content", "tool_calls", "refusal", "annotations", "audio", "function_call"}
)
_FILTERED = frozenset(
    {"contentfilter", "contentfiltered", "safety", "prohibitedcontent", "recitation", "blocklist"}
)
_CUT = frozenset({"length", "maxtokens", "maxoutputtokens", "modellength", "maxlength"})
"""How endpoints say why the model stopped; only the letters count."""
_OURS_IN_CALLS = frozenset({"id", "type", "function", "index"})


def read_answer(body: bytes, *, asked: str, endpoint: str, now: datetime) -> ModelAnswer:
    """Return the model's text, or the tool calls that it asks for.

    `asked` is the model's name in the request. `endpoint` is the key of the endpoint, which alone
    gets its extra fields back. Raises TransientError (broken JSON, no choices), the error of
    `make_fault` for a fault under a successful status, EmptyAnswer, and RunFailed
    `content_filtered` or `model_output_invalid`.
    """
    raw = parse_object(body)
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        if has_error(raw):
            raise make_fault(200, write_json(raw).encode(), {}, model=asked, now=now)
        raise UnreadableAnswer("the model endpoint answered without choices")
    choice = choices[0]
    if choice.get("error"):
        raise make_fault(200, write_json(choice).encode(), {}, model=asked, now=now)
    message = choice["message"] if isinstance(choice.get("message"), dict) else {}
    text, calls = _read_text(message), _read_calls(message)
    reason = _finish_reason(choice, calls)
    usage = read_usage(raw.get("usage"))
    if reason == "content_filter":
        raise content_filtered().with_usage(usage)
    if text is None and not calls:
        if has_error(raw):
            raise make_fault(200, write_json(raw).encode(), {}, model=asked, now=now)
        raise fail_without_text(reason).with_usage(usage)
    return ModelAnswer(
        text=text or "",
        usage=usage,
        model=choose_name(raw.get("model"), asked),
        tool_calls=calls,
        finish_reason=reason,
        fields=_read_endpoint_fields(message, endpoint),
    )


def read_models(body: bytes) -> tuple[str, ...]:
    """Return the names in an answer of GET /models, in its order. Raises TransientError."""
    rows = parse_object(body).get("data")
    if not isinstance(rows, list):
        raise TransientError("the model endpoint's list of models has no 'data'")
    names = (row.get("id") for row in rows if isinstance(row, dict))
    return tuple(name for name in names if isinstance(name, str) and name)


def choose_name(said: object, asked: str) -> str:
    """Return the name under which the model answered, or else the name that was asked for."""
    known = isinstance(said, str) and 0 < len(said) <= LONGEST_MODEL_NAME
    return str(said) if known else asked


def _finish_reason(choice: Mapping[str, Any], calls: tuple[AskedCall, ...]) -> FinishReason:
    """Return why the model stopped. Tool calls count for more than the reason that the endpoint
    gives."""
    said = re.sub(r"[^a-z]", "", str(choice.get("finish_reason")).casefold())
    if said in _FILTERED:
        return "content_filter"
    if calls:
        return "tool_calls"
    return "length" if said in _CUT else "stop"


def fail_without_text(reason: FinishReason) -> RunFailed:
    """Return the error of an answer with neither a text nor a call."""
    if reason == "length":
        return RunFailed(
            "model_output_invalid",
            "the model's answer has no text: its token limit was reached before the first word;"
            " raise max_tokens in parameters",
        )
    return EmptyAnswer("the model's answer has no text: ask again, or choose another model")


def _read_text(message: Mapping[str, Any]) -> str | None:
    """Return the text of a message, or the text of its refusal, or None."""
    content = message.get("content")
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        content = "".join(_read_part(part) for part in content)
    for text in (content, message.get("refusal")):
        if isinstance(text, str) and text.strip():
            return read_words(text)
    return None


def _read_part(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) else part
    if isinstance(text, dict):  # as the Assistants API writes it
        text = text.get("value")
    return text if isinstance(text, str) else ""


def _read_calls(message: Mapping[str, Any]) -> tuple[AskedCall, ...]:
    """Return the tool calls of a message. Their ids are ignored, because models repeat ids."""
    return tuple(
        AskedCall(
            name=read_words(call.get("name")), arguments=read_arguments(call.get("arguments"))
        )
        for call in (raw["function"] for raw in _list_raw_calls(message))
    )


def _list_raw_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls, in whichever of the forms that endpoints use they come.

    `tool_calls` is a list or one call; the older `function_call` is one too; a call may lack its
    `function` level.
    """
    raw = message.get("tool_calls") or message.get("function_call")
    calls = raw if isinstance(raw, list) else [raw]
    return [_nest_call(call) for call in calls if isinstance(call, dict) and _is_call(call)]


def _is_call(call: Mapping[str, Any]) -> bool:
    return isinstance(call.get("function"), dict) or isinstance(call.get("name"), str)


def _nest_call(call: dict[str, Any]) -> dict[str, Any]:
    return call if isinstance(call.get("function"), dict) else {"function": call}


def _read_endpoint_fields(message: Mapping[str, Any], endpoint: str) -> EndpointFields | None:
    """Return the extra fields of an answer, within limits, to send them back to the endpoint."""
    own = {n: v for n, v in message.items() if n not in _OURS and _is_meaningful(v)}
    calls = tuple(
        {n: v for n, v in call.items() if n not in _OURS_IN_CALLS and _is_meaningful(v)}
        for call in _list_raw_calls(message)
    )
    if not own and not any(calls):
        return None
    kept: dict[str, Any] = {}
    room = MAX_EXTRA_BYTES - len(write_json(calls))
    if room < 0:
        calls = ()
        room = MAX_EXTRA_BYTES
    for name, value in known_json(own).items():
        bare = _measure_json({name: ""})
        size = _measure_json({name: value})
        if size <= room:
            kept[name] = value
        elif bare < room and isinstance(value, str):
            kept[name] = value.encode()[: room - bare].decode("utf-8", "ignore")
            size = room
        else:
            continue
        room -= size
    return EndpointFields(endpoint=endpoint, message=kept, calls=known_json(calls))


def _measure_json(value: object) -> int:
    return len(write_json(value, ensure_ascii=False).encode())


def _is_meaningful(value: object) -> bool:
    return value not in (None, [], {})


def read_arguments(value: object) -> str:
    """Return the arguments as text; some endpoints send an object."""
    return read_words(value) if isinstance(value, str | None) else write_json(value)


def read_words(value: object) -> str:
    """Return a text as valid Unicode; what is not a text is empty."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-8", "replace").decode()


def read_usage(
    raw: object, *, prompt: str = "prompt_tokens", answer: str = "completion_tokens"
) -> Usage:
    """Return the counts of tokens that the endpoint gives; a missing one is 0.

    `prompt` and `answer` are the API's names of the tokens that the model read and wrote.
    """
    return Usage(
        input_tokens=_read_count(raw, prompt),
        output_tokens=_read_count(raw, answer),
        cached_tokens=_read_count(raw, f"{prompt}_details", "cached_tokens"),
        reasoning_tokens=_read_count(raw, f"{answer}_details", "reasoning_tokens"),
    )


def _read_count(value: object, *path: str) -> int:
    """Return the count at this path, also from a text or `12.0`; what is not a count is 0."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 2**53 else 0  # type: ignore[operator,return-value]


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that an answer is. Raises UnreadableAnswer and OperatorFault."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        if is_markup(body):
            raise OperatorFault(
                "model_misconfigured",
                "the model endpoint answered with a web page; check that AOS_MODEL_ENDPOINT is the"
                " address of the API and ends with /v1",
            ) from error
        joined = join_stream(body)
        if joined is not None:
            return joined
        what = "broken JSON" if body.strip() else "an empty body"
        raise UnreadableAnswer(f"the model endpoint answered with {what}") from error
    if not isinstance(raw, dict):
        raise UnreadableAnswer("the model endpoint answered with JSON that is not an object")
    return raw
