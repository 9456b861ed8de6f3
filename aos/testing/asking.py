"""Lets the tools of a test ask people. Entry point: `Ask`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aos.adapters.memory import MemoryServers
from aos.domain.tools.questions import CallPause, CallResume, GivenAnswer, ToolQuestion
from aos.domain.tools.tool import ToolOutcome, ToolSchema


@dataclass(frozen=True, slots=True)
class Ask:
    """What a tool returns to ask a person: a form with a JSON Schema, or a `url` to visit.

    `then` gets the answer (its `action`, and the form's `values`), and returns the tool's text, or
    asks again.
    """

    message: str
    then: Callable[[GivenAnswer], str | Ask]
    schema: Mapping[str, Any] | None = None
    url: str | None = None


Tool: TypeAlias = Callable[[Mapping[str, Any]], str | Ask]


class AskingTools:
    """Adds tools that may ask to the servers in memory."""

    def __init__(self, servers: MemoryServers) -> None:
        self._servers = servers
        self._asked: list[Ask] = []

    def add(self, server_id: str, name: str, tool: Tool) -> None:
        """Add a tool to a server."""

        def go_on(arguments: Mapping[str, Any], resume: CallResume) -> ToolOutcome:
            asked = self._asked[int(resume.request_state or 0)]
            return self._make_outcome(asked.then(resume.answers[-1]))

        self._servers.add(
            server_id, ToolSchema(name=name), lambda arguments: self._make_outcome(tool(arguments))
        )
        self._servers.continuations[server_id, name] = go_on

    def _make_outcome(self, said: str | Ask) -> ToolOutcome:
        if isinstance(said, str):
            return ToolOutcome(outcome="ok", content=said)
        self._asked.append(said)
        schema = said.schema
        if schema is None and said.url is None:
            schema = {"type": "object", "properties": {}}
        question = ToolQuestion(
            key="question", message=said.message, requested_schema=schema, url=said.url
        )
        return ToolOutcome(
            outcome="error",
            content=f"the tool asks a person before it goes on: {said.message}",
            pause=CallPause(
                kind="retry", questions=(question,), request_state=str(len(self._asked) - 1)
            ),
        )
