"""Reads the parameters of a request, and refuses those that AOS cannot honour. Entry points:
`Parameters`, `RESPONSES`, `CHAT`.

An agent's card says with which model, parameters and tools it works. A parameter of a client that
would change the answer, and that AOS does not take, is refused and never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aos.entrypoints.http.openai.errors import refuse
from aos.errors import Refused

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
LARGEST_LIMIT = 100
_CARD = "is set by the agent's card; leave it out"
_UNSET: tuple[Any, ...] = (None,)
_SUMMARIES = ("auto", "concise", "detailed")
_WITHOUT_EFFECT = frozenset(
    {
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
        "stream_options",
        "include_obfuscation",
    }
)
"""They say who asks, what it costs, or how a stream is written; the answer is the same."""
_INCLUDED = frozenset(
    {
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
    }
)
"""They belong to tools of OpenAI, are always in an answer of AOS, or have nothing to show here."""


@dataclass(frozen=True, slots=True)
class Known:
    """The parameters of one operation: those that are read, and those that may only have certain
    values, with what is said of others."""

    read: frozenset[str]
    only: Mapping[str, tuple[tuple[Any, ...], str]]

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise Refused for a parameter that is unknown, or that AOS cannot honour."""
        for name, value in body.items():
            if name in self.read or name in _WITHOUT_EFFECT:
                continue
            if name not in self.only:
                raise refuse(name[:80], "is not a known parameter", code="unknown_parameter")
            values, says = self.only[name]
            given = _drop_unset(value)
            if not any(type(given) is type(item) and given == item for item in values):
                raise refuse(name, says, code="unsupported_parameter")


def _drop_unset(value: Any) -> Any:
    """An object without its members that are null, as SDKs write what nobody has set."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if item is not None}


_BOTH: dict[str, tuple[tuple[Any, ...], str]] = {
    "temperature": ((None, 1, 1.0), _CARD),
    "top_p": ((None, 1, 1.0), _CARD),
    "top_logprobs": ((None, 0), "is not supported: AOS keeps no probabilities; leave it out"),
    "tools": (
        (None, []),
        "cannot be given: an agent has the tools of its card, and they run on the server; leave it"
        " out",
    ),
    "tool_choice": ((None, "auto"), "can only be 'auto': the agent chooses among its tools"),
    "parallel_tool_calls": ((None, True), "can only be true"),
    "store": (
        (None, True),
        "can only be true: AOS keeps every run, so that it survives restarts. Delete its"
        " conversation to remove it",
    ),
    "moderation": (_UNSET, "is not supported; leave it out"),
}
RESPONSES = Known(
    read=frozenset(
        {
            "agent",
            "agent_reference",
            "background",
            "conversation",
            "include",
            "input",
            "instructions",
            "max_output_tokens",
            "metadata",
            "model",
            "previous_response_id",
            "stream",
            "text",
        }
    ),
    only={
        **_BOTH,
        "reasoning": ((None, {}, *({"summary": how} for how in _SUMMARIES)), _CARD),
        "truncation": ((None, "auto", "disabled"), "can be 'auto' or 'disabled'"),
        "max_tool_calls": (_UNSET, _CARD),
        "prompt": (_UNSET, "is not supported: the agent's card holds its instructions"),
        "context_management": (_UNSET, "is not supported; leave it out"),
        "access_programs": (_UNSET, "is not supported; leave it out"),
        "background_options": (_UNSET, "is not supported; leave it out"),
        "image": (_UNSET, "is not supported; leave it out"),
    },
)
CHAT = Known(
    read=frozenset(
        {
            "max_completion_tokens",
            "max_tokens",
            "messages",
            "metadata",
            "model",
            "response_format",
            "stream",
        }
    ),
    only={
        **_BOTH,
        "store": (
            (None, True, False),
            "can be true or false; AOS keeps every run either way, as Chat Completions has no"
            " history of its own",
        ),
        "n": ((None, 1), "can only be 1"),
        "frequency_penalty": ((None, 0, 0.0), _CARD),
        "presence_penalty": ((None, 0, 0.0), _CARD),
        "logit_bias": ((None, {}), _CARD),
        "logprobs": ((None, False), "is not supported: AOS keeps no probabilities; leave it out"),
        "seed": (_UNSET, _CARD),
        "stop": ((None, []), _CARD),
        "functions": ((None, []), "cannot be given: an agent has the tools of its card"),
        "function_call": ((None, "auto"), "cannot be given: an agent has the tools of its card"),
        "modalities": ((None, ["text"]), "can only be ['text']"),
        "audio": (_UNSET, "is not supported; leave it out"),
        "prediction": (_UNSET, "is not supported; leave it out"),
        "reasoning_effort": (_UNSET, _CARD),
        "verbosity": ((None, "medium"), _CARD),
        "web_search_options": (_UNSET, "is not supported: an agent has the tools of its card"),
    },
)


class Parameters:
    """The parameters of a request. Every method raises Refused for a value of another type."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    def value(self, name: str) -> Any:
        """Return the value as it came."""
        return self._body.get(name)

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self._body.get(name)
        if value is None or isinstance(value, str):
            return value
        raise refuse(name, f"is {_name(value)}, but must be a string", code="invalid_type")

    def flag(self, name: str) -> bool:
        """Return a flag; without one False."""
        value = self._body.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise refuse(name, f"is {_name(value)}, but must be true or false", code="invalid_type")

    def whole(self, name: str, *, least: int) -> int | None:
        """Return a whole number."""
        value = self._body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise refuse(name, f"is {_name(value)}, but must be an integer", code="invalid_type")
        if value < least:
            raise refuse(name, f"is {value}, but must be at least {least}")
        return min(value, 2**31 - 1)

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return an object."""
        value = self._body.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise refuse(name, f"is {_name(value)}, but must be an object", code="invalid_type")

    def metadata(self) -> dict[str, str]:
        """Return the metadata: at most 16 short texts."""
        given = self.mapping("metadata") or {}
        if len(given) > MAX_METADATA:
            raise refuse("metadata", f"has {len(given)} pairs, the limit is {MAX_METADATA}")
        for name, value in given.items():
            if not isinstance(value, str):
                where = f"metadata.{name[:MAX_METADATA_KEY]}"
                raise refuse(where, f"is {_name(value)}, but must be a string", code="invalid_type")
            if len(name) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
                raise refuse(
                    "metadata",
                    f"has names of at most {MAX_METADATA_KEY} and values of at most"
                    f" {MAX_METADATA_VALUE} characters",
                )
        return given


def read_format(given: Any, *, field: str) -> dict[str, Any] | None:
    """Return the JSON Schema that the output must fit, or None for a text.

    `given` is `text.format` of a response, or `response_format` of a chat completion, where the
    schema is one level deeper. Raises Refused.
    """
    if given is None:
        return None
    if not isinstance(given, dict):
        raise refuse(field, f"is {_name(given)}, but must be an object", code="invalid_type")
    match given.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            nested = given.get("json_schema")
            holder = nested if isinstance(nested, dict) else given
            where = f"{field}.json_schema.schema" if holder is nested else f"{field}.schema"
            return _check_schema(holder.get("schema"), where)
        case _:
            raise refuse(f"{field}.type", "must be 'text', 'json_object' or 'json_schema'")


def _check_schema(schema: Any, field: str) -> dict[str, Any]:
    from aos.domain.output_schema import find_schema_fault

    if not isinstance(schema, dict):
        raise refuse(
            field, "is missing; it must be a JSON Schema", code="missing_required_parameter"
        )
    fault = find_schema_fault(schema)
    if fault is not None:
        raise refuse(field, f"cannot be used: {fault}", code="invalid_json_schema")
    return schema


def check_include(given: Any) -> None:
    """Refuse what a response cannot include. What belongs to tools of OpenAI, and encrypted
    reasoning, has nothing to show here."""
    if given is None:
        return
    if not isinstance(given, list):
        raise refuse("include", f"is {_name(given)}, but must be an array", code="invalid_type")
    for place, name in enumerate(given):
        if not isinstance(name, str):
            where = f"include[{place}]"
            raise refuse(where, f"is {_name(name)}, but must be a string", code="invalid_type")
        if name not in _INCLUDED:
            says = f"has {name[:80]!r}, which AOS cannot give; leave it out"
            raise refuse("include", says, code="unsupported_value")


def read_limit(text: str | None, *, default: int = 20) -> int:
    """Return the query's `limit`: 1 to 100."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_LIMIT:
        raise refuse("limit", f"is {text[:20]!r}, but must be from 1 to {LARGEST_LIMIT}")
    return int(text)


def missing(name: str) -> Refused:
    """The refusal of a request without a parameter that it needs."""
    return refuse(name, "is missing", code="missing_required_parameter")


def _name(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "null"
