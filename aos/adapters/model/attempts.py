"""Writes a call in the other forms that an endpoint may accept when it refuses the first. Entry
points: `list_attempts`, `list_stream_forms`, `limit_output`, `leave_out_fields`."""

from __future__ import annotations

from dataclasses import replace

from aos.adapters.model.attachments import describe_earlier
from aos.adapters.model.faults import is_too_long
from aos.errors import AosError
from aos.ports.model import ModelCall

LIMIT_FORMS = ("max_tokens", "max_completion_tokens")
"""The names of the limit of an answer's tokens: most endpoints take the first, OpenAI's reasoning
models the second."""


def list_attempts(call: ModelCall) -> list[ModelCall]:
    """Return the call, and what is asked if the endpoint refuses it.

    First without the images of earlier messages, because an image that cannot be read any more must
    not end every later run; then without the schema of the output.
    """
    attempts = [call]
    if any(item.is_earlier for message in call.messages for item in message.attachments):
        attempts.append(describe_earlier(call))
    if call.response_schema is not None:
        attempts.append(replace(attempts[-1], response_schema=None))
    return attempts


def limit_output(call: ModelCall, form: str | None) -> ModelCall:
    """Return the call with its `output_tokens` as a parameter under the name `form`.

    A limit in the card's parameters keeps its name, and the smaller number counts. With None the
    call has no limit but the card's.
    """
    given = {name: value for name, value in call.parameters.items() if name in LIMIT_FORMS}
    if call.output_tokens is None:
        return call
    if given:
        smaller = {
            name: min(value, call.output_tokens) if isinstance(value, int) else call.output_tokens
            for name, value in given.items()
        }
        return replace(call, parameters={**call.parameters, **smaller}, output_tokens=None)
    if form is None:
        return replace(call, output_tokens=None)
    limited = {**call.parameters, form: call.output_tokens}
    return replace(call, parameters=limited, output_tokens=None)


def list_stream_forms(call: ModelCall, *, has_options: bool) -> list[ModelCall]:
    """Return the call as a stream in the forms that endpoints take, and last without a stream.

    Only with `stream_options` do most endpoints of Chat Completions (`has_options`) tell the usage
    of a stream; some refuse it.
    """
    plain = replace(call, parameters={**call.parameters, "stream": True})
    options = {"stream_options": {"include_usage": True}}
    told = [replace(plain, parameters={**plain.parameters, **options})] if has_options else []
    return [*told, plain, replace(call, sink=None)]


def is_about_stream(error: AosError) -> bool:
    """Whether the endpoint refuses the form of the stream."""
    return is_about_form(error) and "stream" in str(error)


def is_about_limit(error: AosError) -> bool:
    """Whether the endpoint refuses the name or the size of the limit of the answer's tokens."""
    names = (*LIMIT_FORMS, "max_output_tokens")
    return is_about_form(error) and any(name in str(error) for name in names)


def name_fields(call: ModelCall, endpoint: str) -> frozenset[str]:
    """Return the names of the extra fields that the request would send back to its endpoint."""
    own = [m.fields for m in call.messages if m.fields is not None]
    return frozenset(
        name
        for fields in own
        if fields.endpoint == endpoint
        for part in (fields.message, *fields.calls)
        for name in part
    )


def leave_out_fields(call: ModelCall) -> ModelCall:
    """Return the call without the extra fields of any endpoint."""
    return replace(call, messages=[replace(message, fields=None) for message in call.messages])


def is_about_form(error: AosError) -> bool:
    """Whether the endpoint may accept the request in another form."""
    return error.code == "model_rejected" and not is_too_long(error)
