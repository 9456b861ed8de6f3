"""Reads the parts of a message: texts, images and files. Entry points: `join_text`, `read_parts`.

Images and files come with their data or with a URL. AOS opens no URL; the model's endpoint may.
Import this module only where a body is read, because pydantic loads slowly.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from aos.domain.cards.hosts import is_public_host
from aos.domain.runs.attachments import (
    ANY_IMAGE,
    WITHOUT_TEXT,
    Part,
    make_file_part,
    make_image_part,
    make_link_part,
)
from aos.errors import Refused

MAX_PARTS = 256
MAX_ATTACHED = 16
"""Images and files of one message."""
MAX_URL = 2048
BLANK_RULE = r"\S"
ImageType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
FileType = Literal["text/plain", "text/markdown", "text/csv", "application/json", "application/pdf"]
_BEGINNINGS: dict[str, tuple[re.Pattern[bytes], str]] = {
    "image/png": (re.compile(rb"\x89PNG\r\n\x1a\n"), "a PNG image"),
    "image/jpeg": (re.compile(rb"\xff\xd8\xff"), "a JPEG image"),
    "image/gif": (re.compile(rb"GIF8[79]a"), "a GIF image"),
    "image/webp": (re.compile(rb"RIFF....WEBP", re.DOTALL), "a WebP image"),
    "application/pdf": (re.compile(rb"%PDF-"), "a PDF file"),
}

_FIELD = re.compile(r"message(\[(?P<place>\d+)\](\.(?P<name>\w+))?.*)?")
"""A field of a message, as refusals name it."""

Text = Annotated[str, StringConstraints(min_length=1, pattern=BLANK_RULE)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class TextPart(_Part):
    """A text part of a message."""

    type: Literal["text"]
    text: Text


class ImagePart(_Part):
    """An image part of a message: `data` in base64 with its `media_type`, or an https `url`."""

    type: Literal["image"]
    media_type: ImageType | None = None
    data: str | None = None
    url: str | None = None


class FilePart(_Part):
    """A file part of a message: `data` in base64, or an https `url`."""

    type: Literal["file"]
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    media_type: FileType
    data: str | None = None
    url: str | None = None


AnyPart: TypeAlias = TextPart | ImagePart | FilePart
Parts = Annotated[
    list[Annotated[AnyPart, Field(discriminator="type")]],
    Field(min_length=1, max_length=MAX_PARTS),
]


def join_text(message: str | list[AnyPart]) -> str:
    """Return the text for the model: the texts of the parts, separated by blank lines."""
    if isinstance(message, str):
        return message
    texts = [part.text for part in message if isinstance(part, TextPart)]
    return "\n\n".join(texts) if texts else WITHOUT_TEXT


def read_parts(message: str | list[AnyPart], *, max_bytes: int) -> tuple[Part, ...]:
    """Return the images and files of a message in the form in which they are stored.

    `max_bytes` is the most that all data may have together. Raises Refused `invalid_request` or
    `too_large`.
    """
    if isinstance(message, str):
        return ()
    attached = [
        (f"message[{place}]", part)
        for place, part in enumerate(message)
        if not isinstance(part, TextPart)
    ]
    if len(attached) > MAX_ATTACHED:
        raise _refuse(
            "message", f"has {len(attached)} images and files; send at most {MAX_ATTACHED}"
        )
    # data that is too large is not decoded
    size = sum(_count_bytes(part.data or "") for _, part in attached)
    if size > max_bytes:
        raise Refused(
            "too_large",
            f"the images and files have {size:,} bytes, the limit is {max_bytes:,}"
            " (AOS_MAX_PART_BYTES); send less, or send URLs",
            field="message",
        )
    return tuple(_read_part(part, path) for path, part in attached)


def name_field(error: Refused, message: Any, *, where: str) -> Refused:
    """Return the refusal of a message in the words of the door that it came through.

    `where` is the message there. A part of `message` may name its own fields there, by their names
    here: `at`, with "" for the part itself.
    """
    field = str(error.info.details.get("field", ""))
    found = _FIELD.fullmatch(field)
    if found is None:
        return error
    named = where
    if found["place"] is not None and isinstance(message, list):
        at = message[int(found["place"])].get("at", {})
        named = at.get(found["name"] or "", at.get("", where))
    details = {**error.info.details, "field": named}
    return Refused(error.code, error.info.message.replace(field, named, 1), **details)


def _read_part(part: ImagePart | FilePart, path: str) -> Part:
    if (part.data is None) == (part.url is None):
        raise _refuse(path, "must have either data or url; write one of them")
    if isinstance(part, FilePart) and not _is_file_name(part.name):
        raise _refuse(f"{path}.name", "is not the name of a file; write one without a path")
    if part.url is not None:
        url = _check_url(part.url, f"{path}.url")
        name = part.name if isinstance(part, FilePart) else "image"
        return make_link_part(name, part.media_type or ANY_IMAGE, url)
    if part.media_type is None:
        raise _refuse(f"{path}.media_type", "is missing; add it, such as image/png")
    data = _decode(part.data or "", f"{path}.data")
    beginning = _BEGINNINGS.get(part.media_type)
    if beginning is not None and not beginning[0].match(data):
        raise _refuse(
            f"{path}.data",
            f"is not {beginning[1]}; write the media_type that the data has",
        )
    if isinstance(part, ImagePart):
        return make_image_part(part.media_type, part.data or "")
    try:
        made = make_file_part(part.name, part.media_type, data)
    except UnicodeDecodeError:
        made = None
    if made is None or (beginning is None and b"\0" in data):
        raise _refuse(f"{path}.data", "is not a text in UTF-8; send the file as UTF-8")
    return made


def _is_file_name(name: str) -> bool:
    return name.isprintable() and not re.search(r"[/\\]", name)


def _count_bytes(data: str) -> int:
    """Return the bytes that base64 stands for."""
    return len(data) * 3 // 4 - data[-2:].count("=")


def _decode(data: str, path: str) -> bytes:
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise _refuse(
            path, "is not base64; write the content in base64, without data: and line breaks"
        )
    return decoded


def _check_url(url: str, path: str) -> str:
    """Return the URL when it leads to a public host over https."""
    rules: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (lambda parts: parts.scheme == "https", "does not begin with https://; write such a URL"),
        (
            lambda parts: parts.username is None and parts.password is None,
            "has a user name or password; leave it out",
        ),
        (
            lambda parts: is_public_host(parts.hostname or "") and parts.port != 0,
            "has a host that is not public; send the data instead",
        ),
    )
    if len(url) > MAX_URL or not re.fullmatch(r"[!-~]+", url):
        raise _refuse(
            path, f"is not a URL of at most {MAX_URL} ASCII characters; write an https URL"
        )
    try:
        parts = urlsplit(url)
        broken = next((says for is_kept, says in rules if not is_kept(parts)), None)
    except ValueError:
        broken = "is not a URL; write an https URL"
    if broken is not None:
        raise _refuse(path, broken)
    return url


def _refuse(path: str, says: str) -> Refused:
    return Refused("invalid_request", f"{path} {says}", field=path)
