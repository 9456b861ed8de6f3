"""Defines what a request may ask of its own run beside the message. Entry point: `RunOptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aos.domain.codec import OMITTED

MAX_HISTORY = 64
"""Messages that a request may bring: they are saved in one transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidBefore:
    """One message that the caller says was said before; `parts` are its images and files."""

    role: Literal["user", "assistant"]
    content: str
    parts: tuple[dict[str, Any], ...] = field(default=(), metadata=OMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """A tool of the application that asks; the application runs it."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a request asks of its own run.

    `instructions` are the caller's; the model reads them with the question, below the agent's own,
    and they are not in the history. `output_schema` is used instead of the card's. The answers of
    the run may have `max_output_tokens` together. `history` comes before the question, in the
    conversation too. `tools` are offered beside the card's.
    """

    instructions: str = field(default="", metadata=OMITTED)
    output_schema: Mapping[str, Any] | None = field(default=None, metadata=OMITTED)
    max_output_tokens: int | None = field(default=None, metadata=OMITTED)
    history: tuple[SaidBefore, ...] = field(default=(), metadata=OMITTED)
    tools: tuple[ClientTool, ...] = field(default=(), metadata=OMITTED)

    def instruct(self, question: str) -> str:
        """The question as the model reads it."""
        if not self.instructions.strip():
            return question
        return f"Instructions for this answer:\n{self.instructions.strip()}\n\n{question}"
