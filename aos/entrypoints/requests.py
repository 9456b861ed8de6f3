"""Validates the bodies of requests, over HTTP and on the queue. Entry points: `validate`,
`read_object`.

It holds the pydantic models of the bodies and writes an error for the sender: one line with the
field and what to write. Unknown fields are ignored, as in every envelope. Import this module only
where a body is read, because pydantic loads slowly.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from aos.domain.bus_limits import MAX_ID, is_bus_id
from aos.domain.cards.identity import ID_PATTERN
from aos.domain.cards.notify_rules import find_notify_problems
from aos.domain.cards.policy import CardPolicy
from aos.domain.conversation_ids import CONVERSATION_PATTERN, CONVERSATION_RULE
from aos.domain.json_reader import JsonTextError, parse_json
from aos.domain.json_writer import write_json
from aos.domain.notify import MAX_URL, NOTIFY_EVENTS, Notify, NotifyEvent, notify_from_dict
from aos.domain.runs.run import MAX_METADATA_BYTES, measure_metadata
from aos.domain.waits import MOST_ASKED_SECONDS
from aos.entrypoints.message_parts import FileType, ImageType, Parts, Text
from aos.errors import Refused

MAX_PATH = 200
MAX_REASON = 1024
"""The most characters of a reason, of a decision and of a pause."""
LARGEST_READ_AT_ONCE = 32 * 1024

ConversationId = Annotated[str, StringConstraints(pattern=CONVERSATION_PATTERN)]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
WaitSeconds = Annotated[float, Field(ge=0, le=MOST_ASKED_SECONDS)]
M = TypeVar("M", bound=BaseModel)


def _reject_boolean(value: Any) -> Any:
    """Reject booleans: Python treats True as 1, JSON does not."""
    if isinstance(value, bool):
        raise PydanticCustomError("version", "not a version")
    return value


Version = Annotated[Literal[1], BeforeValidator(_reject_boolean)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class MessageBody(_Body):
    """A message alone, for doors whose protocol has another form of the rest."""

    message: Text | Parts


class NotifyBody(_Body):
    """Who is told of the run's events: a URL, or a queue or topic of the operator's list."""

    model_config = ConfigDict(title="Notify", extra="forbid")

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)] | None = None
    queue: ShortText | None = None
    events: Annotated[list[NotifyEvent], Field(min_length=1, max_length=16)] | None = None


class _Asking(_Body):
    """The fields of a request for a run, over HTTP and on the queue."""

    version: Version = 1
    message: Text | Parts
    conversation_id: ConversationId | None = None
    metadata: dict[str, Any] | None = None
    notify: NotifyBody | None = None


class RunBody(_Asking):
    """The body of `POST /api/agents/{agent_id}/run`.

    `stream` streams the model's text to the run's events. `sessionId` and `waitForResponse` are the
    names that Microsoft Agent Framework's hosting uses.
    """

    model_config = ConfigDict(title="Run")

    wait_seconds: WaitSeconds | None = None
    stream: bool | None = None
    reply_to: ShortText | None = None
    reply_to_session_id: ShortText | None = None
    correlation_id: ShortText | None = None
    sessionId: ConversationId | None = None
    waitForResponse: bool | None = None


class QueueRequest(_Asking):
    """A `run.request` on the queue `aos-requests`."""

    model_config = ConfigDict(title="Request")

    type: Literal["run.request"] = "run.request"
    agent_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class QueueCancel(_Body):
    """A `run.cancel` on the queue `aos-requests`."""

    model_config = ConfigDict(title="Cancel")

    version: Version = 1
    type: Literal["run.cancel"]
    run_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class DecisionBody(_Body):
    """The body of a decision about a tool call."""

    model_config = ConfigDict(title="Decision")

    decision: Literal["approve", "deny"]
    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class QueueDecision(DecisionBody):
    """An `approval.decide` on the queue `aos-requests`."""

    model_config = ConfigDict(title="Decide")

    version: Version = 1
    type: Literal["approval.decide"]
    run_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    tool_call_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class AnswerBody(_Body):
    """The body of an answer to a tool's question. `content` is the form, filled in."""

    model_config = ConfigDict(title="Answer")

    action: Literal["accept", "decline", "cancel"] = "accept"
    content: dict[str, Any] | None = None


class QueueAnswer(AnswerBody):
    """A `question.answer` on the queue `aos-requests`."""

    model_config = ConfigDict(title="AnswerQuestion")

    version: Version = 1
    type: Literal["question.answer"]
    run_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    question_id: Annotated[str, StringConstraints(min_length=1, max_length=512)]


class RollbackBody(_Body):
    """The body of a rollback."""

    model_config = ConfigDict(title="Rollback")

    digest: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class ReplayBody(_Body):
    """The filter of the runs to replay."""

    model_config = ConfigDict(title="Replay")

    error_code: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")]
    since: Annotated[
        str,
        StringConstraints(min_length=1, max_length=64),
        Field(json_schema_extra={"format": "date-time"}),
    ]
    agent_id: Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    dry_run: bool = False


class PauseBody(_Body):
    """The body of a pause. It may be left out."""

    model_config = ConfigDict(title="Pause")

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] | None = None


class DeadLetterBody(_Body):
    """The dead letter to replay."""

    model_config = ConfigDict(title="DeadLetter")

    entity: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    sequence_number: Annotated[int, Field(ge=0, lt=2**63)]


def read_object(body: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Parse the JSON object in a body. Raises Refused `invalid_request`."""
    try:
        value = parse_json(body, max_bytes=max_bytes, allow_control_characters=True)
    except JsonTextError as error:
        where = "" if error.path == "$" else f"{error.path[:MAX_PATH]}: "
        raise Refused(
            "invalid_request", f"the body cannot be read: {where}{error.message}; {error.hint}"
        ) from error
    if not isinstance(value, dict):
        raise Refused(
            "invalid_request",
            "the body must be a JSON object, with its fields in braces; GET /api/openapi.json says"
            " which fields this route takes",
        )
    return value


async def take_object(body: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Do the same as `read_object`; parse a large body in a thread, so that the event loop can go
    on."""
    if len(body) <= LARGEST_READ_AT_ONCE:
        return read_object(body, max_bytes=max_bytes)
    return await asyncio.to_thread(read_object, body, max_bytes=max_bytes)


def validate(model: type[M], raw: dict[str, Any]) -> M:
    """Validate the body. Raises Refused `invalid_request` with the first invalid field."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = [
            _describe_problem(item, raw)
            for item in _find_relevant(error.errors(include_url=False), raw)
        ]
        path, text = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Refused("invalid_request", f"{path} {text}{more}", field=path) from error


def check_bus_ids(**given: str | None) -> None:
    """Refuse ids that Service Bus could not carry back. Raises Refused `invalid_request`."""
    for name, text in given.items():
        if text and not is_bus_id(text):
            raise Refused(
                "invalid_request",
                f"{name} has {len(text)} characters; Service Bus takes {MAX_ID} (a character"
                " outside the Unicode base plane, such as an emoji, counts as two)",
                field=name,
            )


def read_notify(body: NotifyBody | None, policy: CardPolicy) -> Notify | None:
    """Return the receiver that a request names. Raises Refused `invalid_request`."""
    raw = None if body is None else body.model_dump(exclude_none=True)
    for problem in find_notify_problems(raw, policy):
        raise Refused("invalid_request", f"{problem.message}; {problem.hint}", field=problem.path)
    return notify_from_dict(raw)


def check_sizes(message: str, metadata: dict[str, Any], *, max_bytes: int) -> None:
    """Limit what is stored and sent for every run. Raises Refused `too_large`."""
    described = measure_metadata(metadata)
    if described > MAX_METADATA_BYTES:
        raise Refused(
            "too_large",
            f"metadata has {described:,} bytes as JSON, the limit is {MAX_METADATA_BYTES:,};"
            " store large data elsewhere and send its URL",
        )
    size = len(message.encode())
    if size > max_bytes:
        raise Refused(
            "too_large",
            f"the message has {size:,} bytes, the limit is {max_bytes:,}; send less",
        )


def _find_relevant(errors: list[ErrorDetails], raw: dict[str, Any]) -> list[ErrorDetails]:
    """For a message that is neither text nor parts, return only the errors of the form that the
    sender probably meant."""
    is_list = isinstance(raw.get("message"), list)
    unwanted = "constrained-str" if is_list else "list"
    kept = [e for e in errors if not (e["loc"][:1] == ("message",) and _is_branch(e, unwanted))]
    return kept or errors


def _is_branch(error: ErrorDetails, name: str) -> bool:
    return len(error["loc"]) > 1 and str(error["loc"][1]).startswith(name)


_PART_TYPES = ("text", "image", "file")
_UNION_ARMS = re.compile(r"(constrained-|list\[).*|int|float")


def _describe_problem(error: ErrorDetails, raw: dict[str, Any]) -> tuple[str, str]:
    """Return the field's path and what to write."""
    parts = _list_fields(error)
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")
    field = next((str(p) for p in reversed(parts) if isinstance(p, str)), "")
    if error["type"] in ("missing", "union_tag_not_found"):
        return path, "is missing; add it"
    wanted = _WANTED.get(field)
    if error["type"] == "union_tag_invalid":
        return path, f"is {_describe(error['input'].get('type'))}; write {wanted}"
    if wanted is None:
        return path or "the body", f"is not usable ({error['msg']})"
    return path, f"is {_describe(error.get('input'))}; write {wanted}"


def _list_fields(error: ErrorDetails) -> list[int | str]:
    """Return the field's path without the names that pydantic gives the forms of a union."""
    fields: list[int | str] = [
        name
        for before, name in zip(("", *error["loc"]), error["loc"], strict=False)
        if not (isinstance(name, str) and _UNION_ARMS.fullmatch(name))
        and not (isinstance(before, int) and name in _PART_TYPES)
    ]
    return [*fields, "type"] if error["type"].startswith("union_tag") else fields


_WANTED = {
    "version": "1, or leave it out",
    "message": 'a text that is not empty, or parts such as [{"type": "text", "text": "Hello"}]',
    "type": '"text", "image" or "file" for a part',
    "text": "a text that is not empty",
    "media_type": f"one of {', '.join(get_args(ImageType))} for an image, one of"
    f" {', '.join(get_args(FileType))} for a file",
    "data": "the content in base64",
    "url": "an https URL",
    "name": "the name of a file, 1 to 128 characters",
    "threadId": CONVERSATION_RULE,
    "runId": "a text of 1 to 256 characters",
    "conversation_id": f"{CONVERSATION_RULE}, or leave it out",
    "sessionId": f"{CONVERSATION_RULE}, or leave it out",
    "metadata": "an object, or leave it out",
    "wait_seconds": f"a number from 0 to {MOST_ASKED_SECONDS}, without quotes",
    "waitForResponse": "true or false, without quotes",
    "reply_to": "the name of a queue, or leave it out",
    "reply_to_session_id": "1 to 128 characters, or leave it out",
    "correlation_id": "1 to 128 characters, or leave it out",
    "agent_id": "an agent's id",
    "run_id": "a run's id",
    "tool_call_id": "a tool call's id",
    "question_id": "a question's id",
    "decision": "approve or deny",
    "action": "accept, decline or cancel",
    "content": "an object with the fields of the form, or leave it out",
    "reason": f"a text of at most {MAX_REASON:,} characters, or leave it out",
    "error_code": "the error code of the runs to replay, such as model_misconfigured",
    "since": "a time with its offset, such as 2026-01-31T12:00:00Z",
    "entity": "the entity of the dead letter, as GET /api/dead-letters shows it",
    "sequence_number": "the sequence number of the dead letter, a whole number without quotes",
    "limit": "a whole number from 1 to 100, without quotes",
    "dry_run": "true or false, without quotes",
    "digest": "the digest of an earlier version, 64 hex digits",
    "notify": 'an object with "url" or "queue", or leave it out',
    "queue": "the name of a queue or topic, or leave it out",
    "events": f"a list of {', '.join(NOTIFY_EVENTS)}, or leave it out for all of them",
}


def _describe(value: Any) -> str:
    match value:
        case None | bool() | int() | float():
            return write_json(value)[:40]
        case dict():
            return "an object"
        case list():
            return "a list"
        case str() if len(value) > 40:
            return f"a text of {len(value)} characters"
        case _:
            return write_json(value, ensure_ascii=False)
