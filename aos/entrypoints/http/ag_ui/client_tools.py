"""Reads what the client says of calls of the application's tools. Entry point: `read_results`.

Only the last exchange counts: what follows the question before a new one. Import this module only
where a body is read, because pydantic loads slowly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aos.domain.json_writer import write_json
from aos.domain.tools.answer_rules import MAX_VALUES_BYTES
from aos.domain.tools.client_tools import IS_ERROR, RESULT
from aos.domain.tools.tool import MAX_SHOWN_BYTES, cut_for_model
from aos.entrypoints.http.ag_ui.inputs import IN_HISTORY, AgUiInput, AgUiMessage, join_texts
from aos.entrypoints.ids import parse_run_id


@dataclass(frozen=True, slots=True)
class ClientResult:
    """The result of one call, as the client's tool message has it."""

    message: AgUiMessage

    def make_values(self, warnings: list[str]) -> dict[str, Any]:
        """Return the answer that it is, and add to `warnings` what was left out of it."""
        error, content = self.message.error, self.message.content
        if isinstance(content, list) and any(_is_no_text(part) for part in content):
            warnings.append(
                f"message {self.message.id[:80]!r}: parts other than text were left out of the"
                " tool's result"
            )
        text, limit = error or join_texts(content), MAX_SHOWN_BYTES
        values = {RESULT: text, **({IS_ERROR: True} if error else {})}
        while len(write_json(values).encode()) > MAX_VALUES_BYTES:
            limit //= 2
            values[RESULT] = cut_for_model(text, limit=limit)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results that the client gives, by call, and its calls without one.

    `run_id` is the run of the last of these calls, where the client says it. `end_input`: nothing
    follows them, so the run goes on.
    """

    given: Mapping[str, ClientResult]
    unanswered: frozenset[str]
    run_id: str | None
    end_input: bool


def read_results(read: AgUiInput) -> Results:
    """Return what the last exchange says of calls."""
    exchange = _find_last_exchange(read)
    tools = [message for message in exchange if message.role == "tool" and message.toolCallId]
    given = {str(tool.toolCallId): ClientResult(tool) for tool in tools if _is_of_client(tool)}
    answered = {tool.toolCallId for tool in tools}
    called = [(call_id, message.id) for message in exchange for call_id in _list_calls(message)]
    runs = [name.partition(".")[0] for call_id, name in called if call_id in given]
    last = exchange[-1] if exchange else None
    return Results(
        given=given,
        unanswered=frozenset(call_id for call_id, _ in called if call_id not in answered),
        run_id=parse_run_id(runs[-1]) if runs else None,
        end_input=last is not None and last.role == "tool" and last.toolCallId in given,
    )


def _find_last_exchange(read: AgUiInput) -> list[AgUiMessage]:
    """Return the messages since the last question, or before a new one since that before it."""
    kept = [message for message in read.messages if message.role in IN_HISTORY]
    questions = [place for place, message in enumerate(kept) if message.role == "user"]
    if read.ends_with_question:
        questions = questions[:-1]
    return kept[questions[-1] + 1 if questions else 0 :]


def _is_of_client(tool: AgUiMessage) -> bool:
    """Whether a tool message is the application's, and was not told by AOS."""
    told = tool.id == f"{tool.toolCallId}.result"
    return not told and not (tool.id[:1] == "m" and tool.id[1:].isdigit())


def _list_calls(message: AgUiMessage) -> Iterator[str]:
    calls = message.toolCalls if message.role == "assistant" else None
    for call in calls if isinstance(calls, list) else ():
        call_id = call.get("id") if isinstance(call, dict) else None
        if isinstance(call_id, str):
            yield call_id


def _is_no_text(part: object) -> bool:
    return not isinstance(part, dict) or not isinstance(part.get("text"), str)
