"""Reads what a client says: the input of a response, the messages of a chat completion, or items
for a conversation. Entry points: `read_input`, `read_messages`, `read_items`.

System and developer messages are instructions for this answer. The last message is the question;
those before it are the history that the caller brings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aos.domain.runs.added_items import AddedRole
from aos.domain.runs.run_options import MAX_HISTORY, SaidBefore
from aos.domain.tools.tool import Verdict
from aos.entrypoints.http.caller_runs import Content
from aos.entrypoints.http.openai.errors import refuse
from aos.entrypoints.http.openai.names import read_approval
from aos.entrypoints.http.openai.parameters import missing
from aos.entrypoints.http.openai.tool_history import (
    CALLS,
    UNSAID,
    write_calls,
    write_item,
    write_result,
)
from aos.errors import Refused

ReadContent = Callable[[Any], Content]
"""Checks a message in the form of the native route."""
_DATA_URL = re.compile(r"data:([a-z0-9.+/-]{1,100})(?:;[a-z0-9=-]{1,40})*;base64,", re.IGNORECASE)
_TEXTS = ("input_text", "output_text", "text", "summary_text", "refusal")
_DECISION = "mcp_approval_response"
_ASKED = "mcp_approval_request"
_WITHOUT_TEXT = "(no text)"
"""Stands for the text of a message that has images or files alone: AOS asks for one."""
_FILE_TYPES = {
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "pdf": "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A decision about one tool call."""

    run_id: str
    tool_call_id: str
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a client says. `question` None: it only decides about tool calls, or says nothing."""

    question: Content | None
    history: tuple[SaidBefore, ...] = ()
    instructions: str = ""
    decisions: tuple[Verdicts, ...] = ()


@dataclass(slots=True)
class _Spoken:
    """The messages as they are read."""

    instructions: list[str] = field(default_factory=list)
    messages: list[tuple[str, str, Any]] = field(default_factory=list)
    """Role, field, and content in the native form."""

    def answer(self, where: str, text: str) -> None:
        """Add what the agent said or called. What it said in several messages becomes one, because
        a conversation goes to and fro."""
        before = self.messages.pop() if self.messages and self.messages[-1][0] != "user" else None
        if before is not None:
            where, text = before[1], "\n\n".join(filter(None, (before[2], text)))
        self.messages.append(("assistant", where, text))


def read_input(value: Any, *, read_content: ReadContent, may_be_empty: bool = False) -> Said:
    """Read `input` of a response: a text, or a list of items. Raises Refused."""
    if may_be_empty and value in (None, "", []):
        return Said(question=None)
    if value is None:
        raise missing("input")
    if isinstance(value, str):
        return _close(_Spoken(messages=[("user", "input", value)]), "input", read_content)
    if not isinstance(value, list) or not value:
        raise refuse("input", "must be a string or a list of items that is not empty")
    decided = _find_decisions(value)
    if decided:
        return _read_decisions(value, decided)
    over = [item.get("approval_request_id") for item in value if _is_of(item, _DECISION)]
    spoken = _Spoken()
    for place, item in enumerate(value):
        where = f"input[{place}]"
        if not isinstance(item, dict):
            raise refuse(where, "must be an object", code="invalid_type")
        is_told = _is_of(item, _DECISION) or (_is_of(item, _ASKED) and item.get("id") in over)
        if not is_told:  # the call that was decided about is an item of its own
            _add_item(spoken, item, where)
    return _close(spoken, "input", read_content)


def _find_decisions(items: list[Any]) -> list[int]:
    """The places of the decisions to make. A decision was made if the agent went on after it."""
    made = 0
    for place, item in enumerate(items):
        if isinstance(item, dict) and (item.get("role") == "assistant" or _is_call(item)):
            made = place
    return [place for place in range(made, len(items)) if _is_of(items[place], _DECISION)]


def _is_call(item: dict[str, Any]) -> bool:
    return any(_is_of(item, kind) for kind in CALLS)


def _read_decisions(items: list[Any], decided: list[int]) -> Said:
    """Read an input that decides about calls.

    Clients that keep their history themselves send all of it, with the decisions at its end. What
    comes before the requests that they answer is in the conversation already.
    """
    decisions = [_read_decision(items[place], f"input[{place}]") for place in decided]
    asked = [item.get("id") for item in items[: decided[0]] if _is_of(item, _ASKED)]
    is_whole = all(items[place].get("approval_request_id") in asked for place in decided)
    for place, item in enumerate(items):
        is_known = is_whole and place < decided[0]
        if not is_known and place not in decided and not any(_is_of(item, kind) for kind in UNSAID):
            raise refuse(
                f"input[{place}]",
                "cannot be sent with decisions: send the decisions first, and the next message"
                " after that. Only the history may come with them: the items up to the requests"
                " that they answer",
            )
    return Said(question=None, decisions=tuple(decisions))


def read_items(value: Any, *, read_content: ReadContent) -> list[tuple[AddedRole, Content]]:
    """Read items for a conversation: the roles and contents of those that say something. Raises
    Refused."""
    if not isinstance(value, list) or not value:
        raise refuse("items", "must be a list of items that is not empty")
    found: list[tuple[AddedRole, Content]] = []
    for place, item in enumerate(value):
        where, spoken = f"items[{place}]", _Spoken()
        if not isinstance(item, dict):
            raise refuse(where, "must be an object", code="invalid_type")
        if _is_of(item, _DECISION):
            raise refuse(
                f"{where}.type",
                "is a decision; send it as the input of a response",
                code="unsupported_value",
            )
        _add_item(spoken, item, where)
        found += [("system", _check(text, where, read_content)) for text in spoken.instructions]
        for role, said_at, raw in spoken.messages:
            if raw:
                name: AddedRole = "user" if role == "user" else "assistant"
                found.append((name, _check(raw, said_at, read_content)))
    if not found:
        raise refuse("items", "hold no text, image or file")
    return found


def _is_of(item: Any, kind: str) -> bool:
    return isinstance(item, dict) and item.get("type") == kind


def _add_item(spoken: _Spoken, item: dict[str, Any], where: str) -> None:
    kind = item.get("type") or "message"
    if kind == "message":
        _add_message(spoken, item, where)
    elif not isinstance(kind, str) or kind not in (*CALLS, *UNSAID):
        raise refuse(
            f"{where}.type",
            f"is {str(kind)[:60]!r}; send messages, calls of tools, and mcp_approval_response"
            " items. To go on after an answer, name it in previous_response_id, or use a"
            " conversation",
            code="unsupported_value",
        )
    elif kind in CALLS:
        spoken.answer(where, write_item(item))


def read_messages(value: Any, *, read_content: ReadContent) -> Said:
    """Read `messages` of a chat completion. Raises Refused."""
    if value is None:
        raise missing("messages")
    if not isinstance(value, list) or not value:
        raise refuse("messages", "must be a list that is not empty")
    spoken = _Spoken()
    for place, item in enumerate(value):
        where = f"messages[{place}]"
        if not isinstance(item, dict):
            raise refuse(where, "must be an object", code="invalid_type")
        if item.get("audio"):
            raise refuse(
                f"{where}.audio", "is not supported; send its text", code="unsupported_value"
            )
        if item.get("role") in ("tool", "function"):
            content = _read_content(item.get("content"), where)
            name = item.get("name") or item.get("tool_call_id")
            spoken.answer(where, write_result(name, content))
        else:
            _add_message(spoken, item, where)
    return _close(spoken, "messages", read_content)


def _close(spoken: _Spoken, name: str, read_content: ReadContent) -> Said:
    if not spoken.messages or spoken.messages[-1][0] != "user":
        raise refuse(name, "must end with a message of the user")
    *before, (_, where, last) = spoken.messages
    kept = [said for said in before if said[2]][-MAX_HISTORY:]
    history = tuple(
        SaidBefore(
            role="user" if role == "user" else "assistant", content=said.text, parts=said.parts
        )
        for role, place, raw in kept
        for said in [_check(raw, place, read_content)]
    )
    return Said(
        question=_check(last, where, read_content),
        history=history,
        instructions="\n\n".join(spoken.instructions),
    )


def _check(raw: Any, where: str, read_content: ReadContent) -> Content:
    """Check a message; its faults name the client's field."""
    try:
        return read_content(raw)
    except Refused as error:
        from aos.entrypoints.message_parts import name_field

        raise name_field(error, raw, where=where) from error


def _add_message(spoken: _Spoken, item: dict[str, Any], where: str) -> None:
    role = item.get("role")
    content = item.get("content")
    if role == "assistant" and not content:  # it called tools, or refused
        content = item.get("refusal") or ""
    content = _read_content(content, where)
    if role != "user" and not isinstance(content, str):
        raise refuse(f"{where}.content", "of this role can only be text")
    match role:
        case "system" | "developer":
            if content:
                spoken.instructions.append(content)
        case "assistant":
            spoken.answer(where, "\n".join(filter(None, (content, write_calls(item, where)))))
        case "user":
            spoken.messages.append((role, where, _add_name(content, item.get("name"))))
        case _:
            raise refuse(
                f"{where}.role",
                "must be 'user', 'assistant', 'system' or 'developer': tools run on the server",
                code="unsupported_value",
            )


def _add_name(content: Any, name: Any) -> Any:
    """Say who speaks, where several users do."""
    if not isinstance(name, str) or not isinstance(content, str) or not content:
        return content
    return f"{name}: {content}"


def _read_content(content: Any, where: str) -> Any:
    """Return a content in the native form: a text, or parts where there is more than text.

    A text of blanks is "", and parts of such are left out.
    """
    if isinstance(content, str):
        return content if content.strip() else ""
    if not isinstance(content, list) or not content:
        raise refuse(f"{where}.content", "must be a string or a list of parts that is not empty")
    parts = [_read_part(part, f"{where}.content[{n}]") for n, part in enumerate(content)]
    parts = [part for part in parts if part["type"] != "text" or part["text"].strip()]
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    if not any(part["type"] == "text" for part in parts):
        return [{"type": "text", "text": _WITHOUT_TEXT}, *parts]
    return parts


def _read_part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise refuse(where, "must be an object", code="invalid_type")
    kind = part.get("type")
    if kind in _TEXTS:
        text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            raise refuse(f"{where}.text", "must be a string", code="invalid_type")
        return {"type": "text", "text": text}
    match kind:
        case "input_image":
            return _read_image(part.get("image_url"), where, f"{where}.image_url")
        case "image_url":
            holder = part.get("image_url")
            if isinstance(holder, dict):
                return _read_image(holder.get("url"), where, f"{where}.image_url.url")
            return _read_image(holder, where, f"{where}.image_url")
        case "input_file":
            return _read_file(part, where)
        case "file":
            holder = part.get("file")
            return _read_file(holder if isinstance(holder, dict) else {}, f"{where}.file")
        case _:
            raise refuse(
                f"{where}.type",
                f"is {str(kind)[:60]!r}; send text, images and files",
                code="unsupported_value",
            )


def _read_image(url: Any, where: str, field: str) -> dict[str, Any]:
    if not isinstance(url, str):
        raise refuse(field, "must be a URL or a data URL: AOS keeps no uploaded files")
    at = {"": where, "url": field, "media_type": field, "data": field}
    found = _DATA_URL.match(url)
    if found is None:
        return {"type": "image", "url": url, "at": at}
    data = url[found.end() :]
    return {"type": "image", "media_type": found[1].lower(), "data": data, "at": at}


def _read_file(part: dict[str, Any], where: str) -> dict[str, Any]:
    name = part.get("filename") or "file"
    url, data = part.get("file_url"), part.get("file_data")
    if not isinstance(name, str):
        raise refuse(f"{where}.filename", "must be a string", code="invalid_type")
    ending = _FILE_TYPES.get(name.rpartition(".")[2].lower())
    fields = {"name": "filename", "url": "file_url", "media_type": "filename", "data": "file_data"}
    at = {"": where, **{here: f"{where}.{there}" for here, there in fields.items()}}
    made = {"type": "file", "name": name, "at": at}
    if isinstance(url, str):
        return {**made, "media_type": ending or "application/pdf", "url": url}
    if not isinstance(data, str):
        raise refuse(
            f"{where}.file_data", "is missing: AOS keeps no uploaded files; send the file's data"
        )
    found = _DATA_URL.match(data)
    kind = ending if found is None else found[1].lower()
    if kind is None:
        raise refuse(f"{where}.filename", "must end with .txt, .md, .csv, .json or .pdf")
    body = data if found is None else data[found.end() :]
    return {**made, "media_type": kind, "data": body}


def _read_decision(item: dict[str, Any], where: str) -> Verdicts:
    asked, approve, reason = (item.get(n) for n in ("approval_request_id", "approve", "reason"))
    named = read_approval(asked) if isinstance(asked, str) else None
    if named is None:
        raise refuse(f"{where}.approval_request_id", "is not the id of an mcp_approval_request")
    if not isinstance(approve, bool):
        raise refuse(f"{where}.approve", "must be true or false", code="invalid_type")
    if reason is not None and (not isinstance(reason, str) or len(reason) > 1024):
        raise refuse(f"{where}.reason", "must be a string of at most 1,024 characters")
    run_id, tool_call_id = named
    return Verdicts(run_id, tool_call_id, "approve" if approve else "deny", reason or "")


def list_runs(decisions: Iterable[Verdicts]) -> Sequence[str]:
    """The runs that the decisions are about, each once."""
    return list(dict.fromkeys(item.run_id for item in decisions))
