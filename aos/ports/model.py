"""What does a run need from the model behind it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall, EndpointFields, MessageCall, OfferedTool

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why a model stopped: it was done, its token limit was spent, it asks for tools, or the
endpoint's content filter stepped in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message for the model. An assistant's `tool_calls` and a tool's `tool_call_id` have our
    ids."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[MessageCall, ...] = ()
    tool_call_id: str | None = None
    fields: EndpointFields | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of the model: `model` is a name the endpoint serves, or None for its default."""

    model: str | None
    messages: Sequence[ChatMessage]
    parameters: Mapping[str, object]
    timeout_seconds: float
    tools: Sequence[OfferedTool] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What the model said, with the tokens it took and the name it answered under.

    `tool_calls` are those that it asks for; `text` may then be empty.
    """

    text: str
    usage: Usage
    model: str
    tool_calls: tuple[AskedCall, ...] = ()
    finish_reason: FinishReason = "stop"
    fields: EndpointFields | None = None


class ChatModel(Protocol):
    """The model behind an OpenAI-compatible endpoint."""

    def configured(self) -> bool:
        """Whether an endpoint is set at all."""
        ...

    async def served(self) -> frozenset[str]:
        """The names that the endpoint lists, at most 30 s old; empty when it lists none."""
        ...

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Ask once, without retries.

        Raises TransientError (408, 429, 5xx, time-out, cut connection, broken JSON, no choices)
        with the endpoint's Retry-After, OperatorFault `model_misconfigured` (401, 403, 404) or
        `model_quota`, and RunFailed `model_rejected` (400), `content_filtered` or
        `model_output_invalid` (EmptyAnswer where asking once more may help).
        """
        ...
