"""Names the APIs of OpenAI that an endpoint may speak. Entry point: `ModelApi`."""

from __future__ import annotations

from typing import Literal, TypeAlias

ModelApi: TypeAlias = Literal["chat", "responses"]
"""Chat Completions or Responses."""
MODEL_APIS: tuple[ModelApi, ...] = ("chat", "responses")
