"""Shows a message to filters. Entry point: `Seen`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from devhost.amqp.message import Properties

SYSTEM_NAMES = {
    "messageid": "message_id",
    "correlationid": "correlation_id",
    "sessionid": "group_id",
    "label": "subject",
    "subject": "subject",
    "to": "to",
    "replyto": "reply_to",
    "replytosessionid": "reply_to_group_id",
    "contenttype": "content_type",
}
"""The names behind `sys.`, in lower case, and the fields that they mean."""


class Seen(Protocol):
    """A message as filters see it."""

    @property
    def properties(self) -> Properties:
        """The standard properties."""
        ...

    @property
    def application_properties(self) -> dict[Any, Any]:
        """The sender's own properties."""
        ...


def casefold_names(properties: Mapping[Any, Any]) -> dict[str, Any]:
    """Application properties by their name in lower case: Service Bus ignores case."""
    return {str(key).casefold(): value for key, value in properties.items()}
