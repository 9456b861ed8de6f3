"""Decides what a model is shown of the images and files of a message. Entry point:
`show_parts`.

Images and files are stored as MCP writes content: `image`, `resource` and `resource_link`. Text
files and the addresses of files become text, which every model reads. Images and PDF files are
attachments, which only some models can see.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from aos.domain.runs.conversation import Message

MAX_SHOWN = 4
"""Earlier messages whose attachments a model is shown."""
NOT_SEEN = "not shown to this model"
NOT_AGAIN = "not shown again"
WITHOUT_TEXT = "(no text)"
"""The text of a message that is images and files only."""
ANY_IMAGE = "image/*"
_FILE = "file:///"

Part = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An image or a PDF file: its data in base64, or the URL of an image.

    `is_earlier`: it belongs to an earlier run's question.
    """

    media_type: str
    name: str = ""
    data: str = ""
    url: str = ""
    is_earlier: bool = False

    @property
    def is_image(self) -> bool:
        """False for a file."""
        return self.media_type.startswith("image/")

    @property
    def data_url(self) -> str:
        """The URL of an image, or the data as a URL."""
        return self.url or f"data:{self.media_type};base64,{self.data}"

    def describe(self, why: str) -> str:
        """The text that a model reads in its place."""
        what = "image" if self.is_image else f"file {self.name!r}"
        where = self.url or f"about {len(self.data) * 3 // 4:,} bytes"
        return f"[{what}: {self.media_type}, {where}, {why}]"


def make_image_part(media_type: str, data: str) -> Part:
    """An image by its data."""
    return {"type": "image", "mimeType": media_type, "data": data}


def make_file_part(name: str, media_type: str, data: bytes) -> Part:
    """A file by its data. Raises UnicodeDecodeError for a text file that is not UTF-8."""
    resource = {"uri": f"{_FILE}{quote(name)}", "mimeType": media_type}
    if media_type == "application/pdf":
        return {
            "type": "resource",
            "resource": {**resource, "blob": base64.b64encode(data).decode()},
        }
    return {"type": "resource", "resource": {**resource, "text": data.decode("utf-8-sig")}}


def make_link_part(name: str, media_type: str, url: str) -> Part:
    """An image or a file by its URL."""
    return {"type": "resource_link", "uri": url, "name": name, "mimeType": media_type}


def list_attachments(parts: Sequence[Part]) -> tuple[Attachment, ...]:
    """The attachments of a message, in their order."""
    return tuple(found for part in parts if (found := _read_attachment(part)) is not None)


def show_parts(
    message: Message, *, run_id: str, as_attachments: bool
) -> tuple[str, tuple[Attachment, ...]]:
    """The text and the attachments that a model is shown of a user's message in this run.

    Where `as_attachments` is False, a line says of each attachment that it is not shown again.
    """
    if message.role != "user" or not message.parts:
        return message.content, ()
    attachments = list_attachments(message.parts)
    texts = [message.content, *_list_texts(message.parts)]
    if as_attachments:
        is_earlier = message.run_id != run_id
        shown = tuple(replace(item, is_earlier=is_earlier) for item in attachments)
        return "\n\n".join(texts), shown
    texts += [attachment.describe(NOT_AGAIN) for attachment in attachments]
    return "\n\n".join(texts), ()


def choose_shown(messages: Sequence[Message], *, run_id: str) -> frozenset[int]:
    """The places of the messages whose attachments are shown: the run's own question, and the last
    `MAX_SHOWN` others that have some."""
    places = [
        place
        for place, message in enumerate(messages)
        if message.role == "user" and list_attachments(message.parts)
    ]
    others = [place for place in places if messages[place].run_id != run_id]
    return frozenset(places) - frozenset(others[:-MAX_SHOWN])


def _read_attachment(part: Mapping[str, Any]) -> Attachment | None:
    match part:
        case {"type": "image", "mimeType": str(media_type), "data": str(data)}:
            return Attachment(media_type=media_type, data=data)
        case {
            "type": "resource",
            "resource": {"uri": str(uri), "mimeType": str(media_type), "blob": str(data)},
        }:
            return Attachment(media_type=media_type, name=_read_name(uri), data=data)
        case {"type": "resource_link", "uri": str(url), "mimeType": str(media_type)} if (
            media_type.startswith("image/")
        ):
            return Attachment(media_type=media_type, url=url)
        case _:
            return None


def _list_texts(parts: Sequence[Part]) -> list[str]:
    texts = []
    for part in parts:
        match part:
            case {"type": "resource", "resource": {"uri": str(uri), "text": str(text)} as file}:
                texts.append(f"File {_read_name(uri)!r} ({file['mimeType']}):\n{text}")
            case {"type": "resource_link"} if _read_attachment(part) is None:
                texts.append(f"[file {part['name']!r}: {part['mimeType']}, at {part['uri']}]")
    return texts


def _read_name(uri: str) -> str:
    return unquote(uri.removeprefix(_FILE))
