"""Writes the images and files of a message for a model's endpoint. Entry points: `write_content`,
`write_response_content`, `describe_attachments`, `describe_earlier`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aos.domain.runs.attachments import NOT_AGAIN, NOT_SEEN, Attachment
from aos.ports.model import ChatMessage, ModelCall


def describe_attachments(call: ModelCall) -> ModelCall:
    """Return the call for a model that cannot see: a line of text replaces each attachment."""
    return replace(
        call, messages=tuple(_describe(m, m.attachments, NOT_SEEN) for m in call.messages)
    )


def describe_earlier(call: ModelCall) -> ModelCall:
    """Return the call with a line of text in place of each attachment of an earlier message."""
    messages = tuple(
        _describe(m, tuple(item for item in m.attachments if item.is_earlier), NOT_AGAIN)
        for m in call.messages
    )
    return replace(call, messages=messages)


def write_content(text: str, attachments: tuple[Attachment, ...]) -> str | list[dict[str, Any]]:
    """Return the content of a chat completion's message: the text, or parts that begin with it."""
    if not attachments:
        return text
    return [{"type": "text", "text": text}, *map(_write_part, attachments)]


def write_response_content(
    text: str, attachments: tuple[Attachment, ...]
) -> str | list[dict[str, Any]]:
    """Do the same for a message of the Responses API."""
    if not attachments:
        return text
    return [{"type": "input_text", "text": text}, *map(_write_response_part, attachments)]


def _write_part(item: Attachment) -> dict[str, Any]:
    if item.is_image:
        return {"type": "image_url", "image_url": {"url": item.data_url}}
    return {"type": "file", "file": {"filename": item.name, "file_data": item.data_url}}


def _write_response_part(item: Attachment) -> dict[str, Any]:
    if item.is_image:
        return {"type": "input_image", "image_url": item.data_url, "detail": "auto"}
    return {"type": "input_file", "filename": item.name, "file_data": item.data_url}


def _describe(message: ChatMessage, items: tuple[Attachment, ...], why: str) -> ChatMessage:
    """Return the message with a line of text in place of these attachments."""
    if not items:
        return message
    text = "\n\n".join((message.content, *(item.describe(why) for item in items)))
    kept = tuple(item for item in message.attachments if item not in items)
    return replace(message, content=text, attachments=kept)
