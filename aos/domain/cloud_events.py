"""Reads CloudEvents 1.0 from messages, in structured and in binary mode. Entry point:
`read_cloud_event`.

The modes are those of the AMQP protocol binding: a message whose content type is
`application/cloudevents+json` is the event; otherwise its application properties, with the prefix
`cloudEvents:` or `cloudEvents_`, are the event's attributes, and its body is the event's data.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aos.domain.json_reader import JsonTextError, parse_json
from aos.domain.json_writer import write_json

PREFIXES = ("cloudEvents:", "cloudEvents_")
STRUCTURED = "application/cloudevents+json"
MAX_BODY_BYTES = 1024 * 1024
MAX_ATTRIBUTE = 1024
"""The most characters of `id`, `source` and `type`."""
_EVENTS = "application/cloudevents"


class EventFault(ValueError):
    """A message that is not a CloudEvent; the text says what its sender has to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """An event from outside. `data` is its data as JSON text, None without data."""

    id: str
    source: str
    type: str
    data: str | None = None

    @property
    def key(self) -> str:
        """What makes a repeat the same event: `source` and `id`."""
        return write_json([self.source, self.id], ensure_ascii=False)


def read_cloud_event(
    body: bytes, *, content_type: str | None, properties: Mapping[str, object]
) -> CloudEvent:
    """Read the event of a message. Raises EventFault."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind == STRUCTURED:
        return _read_structured(body)
    if kind.startswith(_EVENTS):
        raise EventFault(f"the content type {kind[:80]!r} is not read; send {STRUCTURED}")
    attributes = _find_attributes(properties)
    if not attributes:
        raise EventFault(
            f"the message is not a CloudEvent: send the event as JSON with the content type"
            f" {STRUCTURED}, or its attributes as properties cloudEvents:id, cloudEvents:source …"
        )
    return _make_event(attributes, _read_bytes(body, kind) if body else None)


def _read_structured(body: bytes) -> CloudEvent:
    event = _parse(body)
    if not isinstance(event, dict):
        raise EventFault("the body is not a JSON object; send the event itself, not a text or list")
    if "data_base64" in event:
        if "data" in event:
            raise EventFault("the event has both data and data_base64; send one of them")
        kind = str(event.get("datacontenttype") or "").partition(";")[0].strip().lower()
        return _make_event(event, _read_bytes(_decode_base64(event["data_base64"]), kind))
    return _make_event(event, _write(event["data"]) if "data" in event else None)


def _find_attributes(properties: Mapping[str, object]) -> dict[str, object]:
    return {
        name.removeprefix(prefix): value
        for prefix in PREFIXES
        for name, value in properties.items()
        if name.startswith(prefix)
    }


def _make_event(attributes: Mapping[str, object], data: str | None) -> CloudEvent:
    version = attributes.get("specversion")
    if version != "1.0":
        raise EventFault(f"specversion is {str(version)[:40]!r}; AOS reads CloudEvents 1.0")
    return CloudEvent(
        id=_require_text(attributes, "id"),
        source=_require_text(attributes, "source"),
        type=_require_text(attributes, "type"),
        data=data,
    )


def _require_text(attributes: Mapping[str, object], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value.strip():
        raise EventFault(f"the event has no {name}; CloudEvents 1.0 requires a text")
    if len(value) > MAX_ATTRIBUTE:
        raise EventFault(
            f"{name} has {len(value):,} characters; AOS reads at most {MAX_ATTRIBUTE:,}"
        )
    return value


def _read_bytes(data: bytes, kind: str) -> str:
    """Return data as JSON text: JSON as it is, text as a string, other bytes in base64."""
    declared = kind == "application/json" or kind == "text/json" or kind.endswith("+json")
    if declared or not kind:
        try:
            return _write(_parse(data))
        except EventFault:
            if declared:
                raise
    try:
        return _write(data.decode("utf-8"))
    except UnicodeDecodeError:
        return _write(base64.b64encode(data).decode())


def _decode_base64(value: object) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise EventFault("data_base64 is not base64") from error


def _parse(body: bytes) -> Any:
    try:
        return parse_json(body, max_bytes=MAX_BODY_BYTES, allow_control_characters=True)
    except JsonTextError as error:
        raise EventFault(f"not JSON at {error.path}: {error.message}; {error.hint}") from error


def _write(value: Any) -> str:
    return write_json(value, ensure_ascii=False)
