"""Asks a model. Entry point: `ChatModel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from aos.domain.runs.attachments import Attachment
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall, EndpointFields, MessageCall, OfferedTool

FinishReason: TypeAlias = Literal[
    "stop", "length", "tool_calls", "content_filter", "unparsed_tool_call"
]
"""Why a model stopped: it finished, reached its token limit, asks for tools, or was stopped by the
endpoint's content filter. `unparsed_tool_call`: it asks for a tool in a text that the endpoint did
not parse (AOS finds that)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message for the model. `tool_calls` and `tool_call_id` hold AOS's own ids.

    `attachments` are the images and files of a user's message; a model that cannot see them is
    given a line of text for each.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[MessageCall, ...] = ()
    tool_call_id: str | None = None
    fields: EndpointFields | None = None
    attachments: tuple[Attachment, ...] = ()


class TextSink(Protocol):
    """Takes the text of an answer while the model writes it. Nothing is awaited, nothing raised."""

    def begin(self, model: str | None, *, reason: str | None = None) -> None:
        """A model is asked: what an earlier ask of this turn wrote does not count any more.

        `reason`: why the ask before this one gave no answer.
        """
        ...

    def add(self, text: str) -> float:
        """The model wrote this. Returns the seconds until text is passed on next: what the model
        writes until then may be added together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of the model: `model` is a name the endpoint serves, or None for its default.

    `fallbacks` are asked in their order while `model` is away. `response_schema` is the JSON Schema
    that the endpoint is asked to hold the text to, where it can. `output_tokens` is the most that
    the answer may take. With a `sink` the endpoint is asked for a stream, and the sink gets the
    text as it comes; the answer is the same.
    """

    model: str | None
    messages: Sequence[ChatMessage]
    parameters: Mapping[str, object]
    timeout_seconds: float
    tools: Sequence[OfferedTool] = ()
    fallbacks: tuple[str, ...] = ()
    response_schema: Mapping[str, Any] | None = None
    output_tokens: int | None = None
    sink: TextSink | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """The model's answer, its tokens, and the name of the model that answered.

    `tool_calls` are those that it asks for; `text` may then be empty. `output` is the object in the
    text, where a schema asks for one.
    """

    text: str
    usage: Usage
    model: str
    tool_calls: tuple[AskedCall, ...] = ()
    finish_reason: FinishReason = "stop"
    fields: EndpointFields | None = None
    output: dict[str, Any] | None = None


class ChatModel(Protocol):
    """The model behind an OpenAI-compatible endpoint."""

    def is_configured(self) -> bool:
        """Whether an endpoint is set."""
        ...

    async def list_served(self) -> frozenset[str]:
        """Return the names that the endpoint lists, at most 30 s old; empty if it lists none."""
        ...

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Ask once, without retries.

        Raises TransientError (408, 429, 5xx, time-out, cut connection, broken JSON, no choices)
        with the endpoint's Retry-After, OperatorFault `model_misconfigured` (401, 403, 404) or
        `model_quota`, and RunFailed `model_rejected` (400), `content_filtered` or
        `model_output_invalid` (EmptyAnswer where asking once more may help).
        """
        ...
