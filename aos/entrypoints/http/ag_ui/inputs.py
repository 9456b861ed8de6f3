"""Reads the input of an AG-UI run. Entry points: `read_input`, `AgUiInput`.

AG-UI 1.0: an unknown field or role is ignored, a known field with a wrong value is refused. Import
this module only where a body is read, because pydantic loads slowly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from aos.domain.json_writer import write_json
from aos.domain.runs.run_options import ClientTool, RunOptions
from aos.entrypoints.message_parts import FileType, ImageType
from aos.entrypoints.requests import ConversationId, validate
from aos.errors import Refused

MAX_RUN_ID = 256
MAX_MESSAGES = 10_000
MAX_NAME = 128
MAX_TOOLS = 128
IN_HISTORY = ("user", "assistant", "tool")
"""The roles of messages that a conversation of AOS holds too."""
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INSTRUCTING = ("system", "developer")


class _Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class AgUiMessage(_Input):
    """One message that the client has; its content and its calls are read where they count."""

    id: str
    role: str
    content: Any = None
    toolCalls: Any = None
    toolCallId: str | None = None
    error: str | None = None


class AgUiTool(_Input):
    """A tool that the application runs."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class ContextItem(_Input):
    """A piece of information that the application gives the agent."""

    description: str
    value: str


class ResumeEntry(_Input):
    """The answer to one interrupt."""

    interruptId: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None
    metadata: dict[str, Any] | None = None


class AgUiInput(_Input):
    """The body of `POST /api/ag-ui/{agent_id}`: AG-UI's RunAgentInput."""

    threadId: ConversationId
    runId: Annotated[str, StringConstraints(min_length=1, max_length=MAX_RUN_ID)]
    parentRunId: str | None = None
    protocolVersion: str | None = None
    state: Any = None
    messages: Annotated[list[AgUiMessage], Field(max_length=MAX_MESSAGES)]
    tools: Annotated[list[AgUiTool], Field(max_length=MAX_TOOLS)] | None = None
    context: list[ContextItem] | None = None
    forwardedProps: Any = None
    resume: list[ResumeEntry] | None = None

    @property
    def key(self) -> str:
        """The idempotency key: the client's run in its thread."""
        return f"{self.threadId}\n{self.runId}"

    @property
    def known_messages(self) -> int:
        """How many messages of the conversation the client has."""
        return sum(message.role in IN_HISTORY for message in self.messages)

    @property
    def question_index(self) -> int | None:
        """The place of the user's last message; None without one."""
        places = (i for i, message in enumerate(self.messages) if message.role == "user")
        return max(places, default=None)

    @property
    def ends_with_question(self) -> bool:
        """Whether the last message of the conversation is the user's."""
        roles = [message.role for message in self.messages if message.role in IN_HISTORY]
        return roles[-1:] == ["user"]

    @property
    def options(self) -> RunOptions | None:
        """What the input asks of its run: its instructions, context and state, for the model, and
        its tools."""
        pieces = [
            join_texts(message.content) for message in self.messages if message.role in _INSTRUCTING
        ]
        for item in self.context or ():
            pieces.append(f"{item.description}:\n{item.value}")
        if self.state not in (None, {}, [], ""):
            pieces.append(f"The state of the application, as JSON:\n{write_json(self.state)}")
        text = "\n\n".join(piece for piece in pieces if piece.strip())
        tools = tuple(
            ClientTool(
                name=tool.name, description=tool.description, parameters=tool.parameters or {}
            )
            for tool in self.tools or ()
        )
        return RunOptions(instructions=text, tools=tools) if text or tools else None

    @property
    def metadata(self) -> dict[str, Any]:
        """The run's metadata: what the application passes through."""
        return {} if self.forwardedProps is None else {"forwardedProps": self.forwardedProps}


def read_input(raw: Mapping[str, Any]) -> AgUiInput:
    """Check the body of a request. Raises Refused `invalid_request`."""
    read = validate(AgUiInput, dict(raw))
    names = [tool.name for tool in read.tools or ()]
    for place, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            raise _refuse(
                f"tools[{place}].name",
                f'is {name[:80]!r}; write 1 to 64 of A-Z, a-z, 0-9, "_" and "-"',
            )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _refuse("tools", f"has {twice!r} twice; name each tool once")
    return read


def read_question(read: AgUiInput) -> tuple[Any, list[str]]:
    """Return the user's last message in the form of the native route, and what was left out of it.

    AG-UI demands that a part which cannot be used is skipped. Raises Refused `invalid_request`.
    """
    index = read.question_index
    if index is None:
        raise Refused(
            "invalid_request",
            "messages has no message of the user; add one, such as"
            ' {"id": "1", "role": "user", "content": "Hello"}',
            field="messages",
        )
    content = read.messages[index].content
    if not isinstance(content, list):
        return content, []
    parts, left_out = [], []
    for place, part in enumerate(content):
        path = f"messages[{index}].content[{place}]"
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _refuse(path, 'is not a part; write one such as {"type": "text", "text": "Hi"}')
        read_part = _read_part(part, path)
        if read_part is None:
            left_out.append(f"{path}, {part['type'][:40]!r}")
        else:
            parts.append(read_part)
    return parts, left_out


def join_texts(content: Any) -> str:
    """Return a message's text: its content, or the texts of its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _read_part(part: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return a part in the form of the native route; None for one that no agent can use."""
    kind = part["type"]
    if kind == "text":
        at = {"": path, "text": f"{path}.text"}
        return {"type": "text", "text": part.get("text"), "at": at}
    if kind not in ("image", "document"):
        return None
    source = part.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("value"), str):
        raise _refuse(f"{path}.source", "is not a source; write its type and its value")
    media_type, value = source.get("mimeType"), source["value"]
    where = {"data": "data", "url": "url"}.get(str(source.get("type")))
    known = get_args(ImageType if kind == "image" else FileType)
    needs_type = where == "data" or kind == "document"
    if where is None or (media_type not in known and (needs_type or media_type is not None)):
        return None
    at = {
        "": path,
        "data": f"{path}.source.value",
        "url": f"{path}.source.value",
        "media_type": f"{path}.source.mimeType",
        "name": f"{path}.metadata.title",
    }
    made = {"media_type": media_type, where: value, "at": at}
    if kind == "image":
        return {"type": "image", **made}
    return {"type": "file", "name": _name_file(part.get("metadata")), **made}


def _name_file(metadata: Any) -> str:
    """Return the title of a document, where it can be a file's name."""
    title = metadata.get("title") if isinstance(metadata, dict) else None
    if not isinstance(title, str) or not 0 < len(title) <= MAX_NAME or set(title) & set("/\\"):
        return "document"
    return title if title.isprintable() else "document"


def _refuse(path: str, says: str) -> Refused:
    return Refused("invalid_request", f"{path} {says}", field=path)
