"""Answers model calls from a script that a test wrote. Entry points: `ScriptedModel`, `Calls`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from aos.domain.json_writer import write_json
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall
from aos.ports.model import ModelAnswer, ModelCall


class Calls:
    """An answer that asks for tools: the name of each with its arguments, as an object or as
    text."""

    def __init__(self, *calls: tuple[str, Mapping[str, Any] | str], text: str = "") -> None:
        self.text = text
        self.asked = tuple(
            AskedCall(
                name=name,
                arguments=arguments if isinstance(arguments, str) else write_json(arguments),
            )
            for name, arguments in calls
        )


Said: TypeAlias = str | Calls
Answer: TypeAlias = Said | Exception | Callable[[ModelCall], Said]


class ScriptedModel:
    """A model that gives the answers of a script, one for each call, and keeps the calls.

    An answer is a text, tool calls (`Calls`), an exception to raise (`TransientError`,
    `RunFailed`), or a function of the call that returns one of these. After the script's end it
    answers `answer 1`, `answer 2` … Where a run is watched it streams its texts word by word.
    """

    def __init__(self, *answers: Answer, served: Sequence[str] = ("scripted",)) -> None:
        self.calls: list[ModelCall] = []
        self._answers = list(answers)
        self._served = frozenset(served)

    def then(self, *answers: Answer) -> None:
        """Append answers to the script."""
        self._answers.extend(answers)

    def is_configured(self) -> bool:
        """Always return True."""
        return True

    async def list_served(self) -> frozenset[str]:
        """Return the names given to the constructor."""
        return self._served

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Return the next answer of the script."""
        self.calls.append(call)
        answer = self._answers.pop(0) if self._answers else f"answer {len(self.calls)}"
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(call)
        said = answer if isinstance(answer, Calls) else Calls(text=answer)
        if call.sink is not None:
            for word in re.findall(r"\s*\S+\s*", said.text):
                call.sink.add(word)
                await asyncio.sleep(0)
        words = sum(len(message.content.split()) for message in call.messages)
        usage = Usage(input_tokens=words, output_tokens=len(said.text.split()) + len(said.asked))
        return ModelAnswer(
            text=said.text,
            usage=usage,
            model=call.model or "scripted",
            tool_calls=said.asked,
        )
