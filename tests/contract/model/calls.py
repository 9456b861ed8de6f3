"""Makes calls of the ChatModel port. Entry points: `a_call`, `fault`."""

from __future__ import annotations

from typing import Any

import pytest

from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.errors import AosError
from aos.ports.model import ChatMessage, ModelCall

KEY = "sk-very-secret"


def a_call(
    *,
    model: str | None = None,
    seconds: float = 10.0,
    parameters: dict[str, object] | None = None,
    output_tokens: int | None = None,
) -> ModelCall:
    """A call with two messages."""
    return ModelCall(
        model=model,
        messages=(
            ChatMessage(role="system", content="You lead."),
            ChatMessage(role="user", content="Grüß dich \U0001f600"),
        ),
        parameters=parameters or {},
        timeout_seconds=seconds,
        output_tokens=output_tokens,
    )


async def fault(model: OpenAIChatModel, **call: Any) -> AosError:
    """The error of a call that fails."""
    with pytest.raises(AosError) as caught:
        await model.complete(a_call(**call))
    return caught.value


def a_choice(**message: Any) -> dict[str, Any]:
    """The body of an answer with this message."""
    return {"choices": [{"finish_reason": message.pop("finish", "stop"), "message": message}]}
