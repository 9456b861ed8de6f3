"""How does a command travel that is larger than a bus message may be?

Its body goes to `aos-data/payloads/<conversation_id>/<sha256>` first, and the message carries that
name in the property `aos_payload`. The receiver reads it there. Written again, nothing changes; it
goes with the conversation's other payloads.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from aos.adapters.bus.messages import BusMessage
from aos.adapters.tables.payloads import FOLDER, payload_name
from aos.errors import OutcomeUnknown, TransientError
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.bus import ReceivedMessage

LARGEST_BODY_BYTES = 200 * 1024
"""Service Bus (Standard) takes 256 KiB, headers and properties included."""
PROPERTY = "aos_payload"


class LargeBodies:
    """Keeps and finds the bodies that are too large for the bus."""

    def __init__(self, payloads: BlobStore) -> None:
        self._payloads = payloads

    async def sent(self, message: BusMessage, *, conversation_id: str) -> BusMessage:
        """The message to send: itself, or one without a body that names it.

        Raises TransientError when the body could not be stored.
        """
        if len(message.body) <= LARGEST_BODY_BYTES:
            return message
        name = payload_name(conversation_id, hashlib.sha256(message.body).hexdigest())
        try:
            await self._payloads.write(name, message.body)
        except OutcomeUnknown as error:
            raise TransientError(f"a large command was not stored: {error}") from error
        return replace(message, body=b"{}", properties={**message.properties, PROPERTY: name})

    async def received(self, message: ReceivedMessage) -> bytes:
        """The whole body. Raises TransientError when it cannot be read now."""
        name = message.properties.get(PROPERTY)
        if not isinstance(name, str) or not name.startswith(FOLDER):
            return message.body
        try:
            blob = await self._payloads.read(name)
        except BlobMissing as error:
            raise TransientError(f"the body of a command is missing: blob {name!r}") from error
        return blob.body
