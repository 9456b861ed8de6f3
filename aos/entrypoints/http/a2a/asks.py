"""Shows what a run asks people, and reads their answers from messages. Entry points: `Ask`,
`read_answers`.

A2A calls a task that waits for a person `TASK_STATE_INPUT_REQUIRED`. Its status message says in
words and as data what is asked; a message to the task answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from aos.domain.json_reader import JsonTextError, parse_json
from aos.domain.json_writer import write_json
from aos.domain.runs.run_events import RunEvent
from aos.domain.tools.questions import AnswerAction, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Verdict
from aos.domain.wire_time import to_wire_time
from aos.entrypoints.http.a2a.errors import A2aRefused

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.a2a.requests import Part

MAX_REASON = 1024
MAX_FORM_BYTES = 64 * 1024
_VERDICTS: Mapping[str, Verdict] = {"approve": "approve", "deny": "deny"}
_ACTIONS: Mapping[str, AnswerAction] = {
    "accept": "accept",
    "decline": "decline",
    "cancel": "cancel",
}
_OWN_FIELDS = frozenset({"toolCallId", "decision", "reason", "questionId", "action", "content"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a run asks people: a decision about a tool call, or the answer to a tool's question.

    `data` is what the status message shows of it.
    """

    kind: Literal["approval", "question"]
    id: str
    tool: str
    data: Mapping[str, Any]
    message: str = ""
    schema: Mapping[str, Any] | None = None
    url: str | None = None

    @classmethod
    def of_event(cls, event: RunEvent) -> Ask:
        """Make it from an event `approval.requested` or `input.requested`."""
        data = event.data
        if event.type == "approval.requested":
            arguments = _read_arguments(data["arguments"])
            return _make_approval(data["tool_call_id"], data["name"], arguments, data["expires_at"])
        return _make_question(
            data["question_id"],
            data["name"],
            data["message"],
            data.get("requested_schema"),
            data.get("url"),
            data["expires_at"],
        )

    @classmethod
    def of_request(cls, request: ApprovalRequest | QuestionRequest) -> Ask:
        """Make it from what realm wrote."""
        expires_at = to_wire_time(request.expires_at)
        if isinstance(request, ApprovalRequest):
            return _make_approval(request.tool_call_id, request.tool, request.arguments, expires_at)
        return _make_question(
            request.question_id,
            request.tool,
            request.message,
            request.requested_schema,
            request.url,
            expires_at,
        )

    @property
    def text(self) -> str:
        """What is asked, in words, with what to send."""
        if self.kind == "approval":
            given = self.data["arguments"]
            arguments = given if isinstance(given, str) else write_json(given, ensure_ascii=False)
            return f"May the tool {self.tool} be called with {arguments}? Answer approve or deny."
        if self.url is not None:
            return f"{self.message} Visit {self.url}, then answer accept, decline or cancel."
        return f"{self.message} Answer with the fields of the form, decline or cancel."


def _read_arguments(written: str) -> Any:
    """Return the arguments that an event shows: an object, or the text where it was cut."""
    try:
        return parse_json(written.encode(), max_bytes=MAX_FORM_BYTES)
    except JsonTextError:
        return written


def _make_approval(call_id: str, tool: str, arguments: Any, expires_at: str | None) -> Ask:
    data = {"toolCallId": call_id, "tool": tool, "arguments": arguments, "expiresAt": expires_at}
    return Ask(kind="approval", id=call_id, tool=tool, data={"type": "approval", **data})


def _make_question(
    question_id: str,
    tool: str,
    message: str,
    schema: Mapping[str, Any] | None,
    url: str | None,
    expires_at: str | None,
) -> Ask:
    form = {"requestedSchema": dict(schema)} if schema is not None else {}
    place = {"url": url} if url is not None else {}
    data = {"questionId": question_id, "tool": tool, "message": message}
    return Ask(
        kind="question",
        id=question_id,
        tool=tool,
        data={"type": "question", **data, **form, **place, "expiresAt": expires_at},
        message=message,
        schema=schema,
        url=url,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A person's decision about a tool call."""

    id: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A person's answer to a tool's question."""

    id: str
    action: AnswerAction
    values: Mapping[str, Any] | None = field(default=None)


Given: TypeAlias = Decided | Answered


def read_answers(parts: Sequence[Part], asks: Sequence[Ask]) -> list[Given]:
    """Return what the parts of a message answer to what is asked. Raises A2aRefused."""
    return [_read_answer(part, f"message.parts[{i}]", asks) for i, part in enumerate(parts)]


def _read_answer(part: Part, path: str, asks: Sequence[Ask]) -> Given:
    if part.text is not None:
        ask = _choose(None, path, asks)
        return _read_text(part.text.strip(), path, ask)
    if not isinstance(part.data, dict):
        raise _refuse(path, "is neither a text nor a data part with an object")
    data: dict[str, Any] = part.data
    ask = _choose(data.get("toolCallId") or data.get("questionId"), path, asks)
    return _read_data(data, path, ask)


def _choose(named: object, path: str, asks: Sequence[Ask]) -> Ask:
    """Return what a part is about: what it names, or the only one."""
    if named is None and len(asks) == 1:
        return asks[0]
    for ask in asks:
        if ask.id == named:
            return ask
    ids = ", ".join(ask.id for ask in asks)
    if named is None:
        raise _refuse(
            path,
            f"does not say what it answers: {len(asks)} are asked ({ids}); send a data part with"
            " toolCallId or questionId for each",
        )
    raise _refuse(path, f"answers {str(named)[:80]!r}, which is not asked; asked are {ids}")


def _read_text(text: str, path: str, ask: Ask) -> Given:
    word, _, rest = text.partition(" ")
    word = word.rstrip(":,.;!").lower()
    if ask.kind == "approval":
        if word not in _VERDICTS:
            raise _refuse(path, f"is {text[:40]!r}; write approve or deny, and a reason after it")
        return Decided(id=ask.id, verdict=_VERDICTS[word], reason=rest.strip()[:MAX_REASON])
    if word in _ACTIONS and not rest and (word != "accept" or ask.url is not None):
        return Answered(id=ask.id, action=_ACTIONS[word])
    if ask.url is not None:
        raise _refuse(path, f"is {text[:40]!r}; write accept, decline or cancel")
    return Answered(id=ask.id, action="accept", values=_read_form(text, path, ask))


def _read_form(text: str, path: str, ask: Ask) -> Mapping[str, Any]:
    """Return the form that a text fills in: JSON, or the value of the form's only text field, or of
    the only one that is required."""
    if text.startswith("{"):
        try:
            value = parse_json(text.encode(), max_bytes=MAX_FORM_BYTES)
        except JsonTextError as error:
            raise _refuse(path, f"is not JSON: {error.message}; {error.hint}") from error
        if isinstance(value, dict):
            return value
    fields = dict((ask.schema or {}).get("properties") or {})
    required = (ask.schema or {}).get("required")
    names = required if isinstance(required, list) and len(required) == 1 else list(fields)
    if len(names) == 1:
        schema = fields.get(names[0])
        if isinstance(schema, dict) and schema.get("type") == "string":
            return {names[0]: text}
    raise _refuse(
        path, f"does not fill in the form; send a data part with {', '.join(fields) or 'content'}"
    )


def _read_data(data: Mapping[str, Any], path: str, ask: Ask) -> Given:
    if ask.kind == "approval":
        verdict, reason = data.get("decision"), data.get("reason") or ""
        if not isinstance(verdict, str) or verdict not in _VERDICTS or not isinstance(reason, str):
            raise _refuse(path, 'has no decision; write "decision": "approve" or "deny"')
        return Decided(id=ask.id, verdict=_VERDICTS[verdict], reason=reason[:MAX_REASON])
    if not _OWN_FIELDS & data.keys():  # the form itself
        return Answered(id=ask.id, action="accept", values=data)
    action, content = data.get("action", "accept"), data.get("content")
    if (
        not isinstance(action, str)
        or action not in _ACTIONS
        or not (content is None or isinstance(content, dict))
    ):
        raise _refuse(
            path, 'is no answer; write "action": "accept", "decline" or "cancel", and "content"'
        )
    return Answered(id=ask.id, action=_ACTIONS[action], values=content)


def _refuse(path: str, says: str) -> A2aRefused:
    return A2aRefused("INVALID_PARAMS", f"{path} {says}", field=path)
