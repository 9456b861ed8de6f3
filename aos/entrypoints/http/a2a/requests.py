"""Reads the requests of A2A 1.0. Entry points: `read_params`, `read_content`, the models.

The forms are those of ProtoJSON: names in camelCase or snake_case, null for a field that is not
set, enums as names or numbers. Unknown fields are ignored. Import this module only where a body is
read, because pydantic loads slowly.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from aos.domain.json_writer import write_json
from aos.entrypoints.http.a2a.errors import A2aRefused
from aos.entrypoints.message_parts import (
    MAX_PARTS,
    MAX_URL,
    AnyPart,
    FilePart,
    FileType,
    ImagePart,
    ImageType,
    TextPart,
)

P = TypeVar("P", bound=BaseModel)
MAX_MESSAGE_ID = 256
MAX_NAME = 128
MAX_MODES = 32
MAX_TOKEN = 1024
MAX_CREDENTIALS = 4096
LARGEST_PAGE = 100
USUAL_PAGE = 50
ROLES = ("ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT")
STATES = (
    "TASK_STATE_UNSPECIFIED",
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
)
"""The enums of A2A, in the order of their numbers."""
_IMAGES: tuple[str, ...] = ImageType.__args__  # type: ignore[attr-defined]
_FILES: tuple[str, ...] = FileType.__args__  # type: ignore[attr-defined]


def _read_name(names: tuple[str, ...]) -> BeforeValidator:
    """Make the reader of an enum, which may come as its name or its number."""

    def read(value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return names[value]
        if value in names:
            return value
        raise ValueError(f"must be one of {', '.join(names[1:])}")

    return BeforeValidator(read)


def _read_whole(value: Any) -> Any:
    """Read a number that came as a text: in the query, or as ProtoJSON allows."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value


def _read_time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("the time zone is missing; write a time such as 2026-01-31T12:00:00Z")
    return moment


def _read_flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_read_whole), Field(ge=0, le=2**31 - 1)]
Flag = Annotated[bool, BeforeValidator(_read_flag)]
Id = Annotated[str, StringConstraints(max_length=MAX_MESSAGE_ID)]
SomeId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_MESSAGE_ID)]
ConfigId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,128}$")]
"""It becomes a key of storage."""
HeaderText = StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$")
Timestamp = Annotated[datetime, BeforeValidator(_read_time)]


class _Proto(BaseModel):
    """A message of A2A. Null is a field that is not set."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        return {name: value for name, value in raw.items() if value is not None}


class Part(_Proto):
    """A part of a message: a text, the bytes of a file, its address, or JSON."""

    text: str | None = None
    raw: str | None = None
    url: str | None = None
    data: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    filename: str = ""
    media_type: str = ""


class Message(_Proto):
    """A message of a client."""

    message_id: SomeId
    context_id: Id = ""
    task_id: Id = ""
    role: Annotated[str, _read_name(ROLES)]
    parts: Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]
    metadata: dict[str, Any] = Field(default_factory=dict)
    extensions: Annotated[list[str], Field(max_length=MAX_MODES)] = Field(default_factory=list)
    reference_task_ids: Annotated[list[Id], Field(max_length=MAX_MODES)] = Field(
        default_factory=list
    )


class Authentication(_Proto):
    """How AOS authenticates itself to the receiver of a push notification."""

    scheme: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
    credentials: (
        Annotated[str, StringConstraints(max_length=MAX_CREDENTIALS), HeaderText] | None
    ) = None


class PushNotification(_Proto):
    """Where push notifications of a task go: `TaskPushNotificationConfig`."""

    tenant: str = ""
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{0,128}$")] = ""
    task_id: Id = ""
    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
    token: Annotated[str, StringConstraints(max_length=MAX_TOKEN), HeaderText] | None = None
    authentication: Authentication | None = None


class Configuration(_Proto):
    """How a client wants the answer to a message."""

    accepted_output_modes: Annotated[list[str], Field(max_length=MAX_MODES)] = Field(
        default_factory=list
    )
    task_push_notification_config: PushNotification | None = None
    history_length: Whole | None = None
    return_immediately: Flag = False


class SendMessage(_Proto):
    """The parameters of SendMessage and SendStreamingMessage."""

    tenant: str = ""
    message: Message
    configuration: Configuration = Field(default_factory=Configuration)
    metadata: dict[str, Any] = Field(default_factory=dict)


class GetTask(_Proto):
    """The parameters of GetTask."""

    tenant: str = ""
    id: SomeId
    history_length: Whole | None = None


class ListTasks(_Proto):
    """The parameters of ListTasks."""

    tenant: str = ""
    context_id: Id = ""
    status: Annotated[str, _read_name(STATES)] = STATES[0]
    page_size: Annotated[int, BeforeValidator(_read_whole), Field(ge=1, le=LARGEST_PAGE)] = (
        USUAL_PAGE
    )
    page_token: Annotated[str, StringConstraints(max_length=1024)] = ""
    history_length: Whole | None = None
    status_timestamp_after: Timestamp | None = None
    include_artifacts: Flag = False


class OneTask(_Proto):
    """The parameters of CancelTask and SubscribeToTask."""

    tenant: str = ""
    id: SomeId


class OnePushNotification(_Proto):
    """The parameters of GetTaskPushNotificationConfig and DeleteTaskPushNotificationConfig."""

    tenant: str = ""
    task_id: SomeId
    id: ConfigId


class PushNotifications(_Proto):
    """The parameters of ListTaskPushNotificationConfigs. All of them fit on one page."""

    tenant: str = ""
    task_id: SomeId


class NoParams(_Proto):
    """The parameters of GetExtendedAgentCard."""

    tenant: str = ""


def read_params(model: type[P], raw: Any) -> P:
    """Validate parameters. Raises A2aRefused `INVALID_PARAMS` with the first invalid field."""
    if not isinstance(raw, dict):
        raise A2aRefused("INVALID_PARAMS", "params is not an object; write its fields in braces")
    try:
        read = model.model_validate(raw)
    except ValidationError as error:
        first, *more = error.errors(include_url=False, include_input=False)
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        path = path.lstrip(".") or "params"
        says = first["msg"].removeprefix("Value error, ")
        says = says[:1].lower() + says[1:]
        rest = f" (and {len(more)} more)" if more else ""
        raise A2aRefused(
            "INVALID_PARAMS", f"{path} is not valid: {says}{rest}", field=path
        ) from error
    if getattr(read, "tenant", ""):
        raise A2aRefused(
            "INVALID_PARAMS",
            "tenant is set, but this agent has no tenants; leave it out",
            field="tenant",
        )
    return read


def read_content(message: Message) -> list[AnyPart]:
    """Return a message's parts as those of the native route.

    JSON becomes a text, files and images stay what they are. Raises A2aRefused.
    """
    if message.role != "ROLE_USER":
        raise A2aRefused(
            "INVALID_PARAMS",
            f"message.role is {message.role}; clients send ROLE_USER",
            field="message.role",
        )
    return [_read_part(part, f"message.parts[{i}]") for i, part in enumerate(message.parts)]


def _read_part(part: Part, path: str) -> AnyPart:
    given = [name for name in ("text", "raw", "url", "data") if getattr(part, name) is not None]
    if len(given) != 1:
        raise A2aRefused(
            "INVALID_PARAMS",
            f"{path} has {' and '.join(given) or 'no content'}; write one of text, raw, url, data",
            field=path,
        )
    if part.text is not None:
        if not part.text.strip():
            raise A2aRefused("INVALID_PARAMS", f"{path}.text is empty; write a text", field=path)
        return TextPart(type="text", text=part.text)
    if part.data is not None:
        return TextPart(type="text", text=write_json(part.data, ensure_ascii=False))
    return _read_file(part, path)


def _read_file(part: Part, path: str) -> AnyPart:
    media_type = (part.media_type or _guess_type(part)).partition(";")[0].strip().lower()
    raw = None if part.raw is None else _read_base64(part.raw, f"{path}.raw")
    if media_type in _IMAGES:
        return ImagePart.model_validate(
            {"type": "image", "media_type": media_type, "data": raw, "url": part.url}
        )
    if media_type not in _FILES:
        raise A2aRefused(
            "CONTENT_TYPE_NOT_SUPPORTED",
            f"{path} has the media type {media_type[:80] or 'of nothing known'!r}; send one of"
            f" {', '.join((*_IMAGES, *_FILES))}",
            field=f"{path}.mediaType",
        )
    extension = mimetypes.guess_extension(media_type) or ""
    name = (part.filename or f"file{extension}")[:MAX_NAME]
    return FilePart.model_validate(
        {"type": "file", "name": name, "media_type": media_type, "data": raw, "url": part.url}
    )


def _guess_type(part: Part) -> str:
    """Return the media type that the name or the address of a file says, or an empty text."""
    try:
        name = part.filename or urlsplit(part.url or "").path
    except ValueError:
        return ""
    return mimetypes.guess_type(name)[0] or ""


def _read_base64(raw: str, path: str) -> str:
    """Return the bytes in usual base64: ProtoJSON allows the form for URLs, and no padding."""
    usual = raw.translate(str.maketrans("-_", "+/")).rstrip("=")
    padded = usual + "=" * (-len(usual) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise A2aRefused(
            "INVALID_PARAMS", f"{path} is not base64; write the bytes in base64", field=path
        ) from error
    return padded
