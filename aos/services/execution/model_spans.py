"""Traces calls of the model by OpenTelemetry's GenAI conventions. Entry point: `ModelSpans.span`.

Never the words of a conversation.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from aos.domain.runs.run import AdmittedRequest
from aos.ports.model import ModelAnswer, ModelCall
from aos.ports.telemetry import Span, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """What traces call the endpoint: its provider, and the model it is asked for by default."""

    provider: str = "openai"
    default_model: str | None = None


class ModelSpans:
    """Makes one span for each call of the model."""

    def __init__(self, telemetry: Telemetry, identity: ModelIdentity) -> None:
        self._telemetry = telemetry
        self._identity = identity

    def span(self, call: ModelCall, request: AdmittedRequest) -> AbstractContextManager[Span]:
        """The span of one call for a run, in the run's trace."""
        model = call.model or self._identity.default_model
        return self._telemetry.span(
            "chat" if model is None else f"chat {model}",
            kind="client",
            traceparent=request.traceparent,
            **{
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": self._identity.provider,
                "gen_ai.request.model": model,
                "gen_ai.agent.id": request.agent_id,
                "gen_ai.agent.name": request.agent_id,
                "gen_ai.conversation.id": request.conversation_id,
                "run_id": request.run_id,
            },
        )


def described(answer: ModelAnswer) -> dict[str, object]:
    """What a span tells of an answer."""
    return {
        "gen_ai.response.model": answer.model,
        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
    }
