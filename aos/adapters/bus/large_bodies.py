"""Stores the bodies of commands that are too large for a bus message. Entry point: `LargeBodies`.

The body is written to `aos-data/payloads/<run_id>/<sha256>` before the message is sent.
The message carries the blob's name in the property `aos_payload`, and the receiver reads the body
from there. A repeated write changes nothing. The blob is deleted with the run's other payloads.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from aos.adapters.bus.messages import BusMessage
from aos.adapters.tables.payloads import FOLDER, make_payload_name
from aos.errors import OutcomeUnknown, TransientError
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.bus import LARGEST_BODY_BYTES, ReceivedMessage

PROPERTY = "aos_payload"


class LargeBodies:
    """Writes and reads the bodies that are too large for the bus."""

    def __init__(self, payloads: BlobStore) -> None:
        self._payloads = payloads

    async def store_large(self, message: BusMessage, *, run_id: str) -> BusMessage:
        """Return the message unchanged, or without its body after storing it as a blob.

        Raises TransientError if the body could not be stored.
        """
        if len(message.body) <= LARGEST_BODY_BYTES:
            return message
        name = make_payload_name(run_id, hashlib.sha256(message.body).hexdigest())
        try:
            await self._payloads.write(name, message.body)
        except OutcomeUnknown as error:
            raise TransientError(f"the body of a large command was not stored: {error}") from error
        return replace(message, body=b"{}", properties={**message.properties, PROPERTY: name})

    async def read_body(self, message: ReceivedMessage) -> bytes:
        """Return the whole body. Raises TransientError if it cannot be read now."""
        name = message.properties.get(PROPERTY)
        if not isinstance(name, str) or not name.startswith(FOLDER):
            return message.body
        try:
            blob = await self._payloads.read(name)
        except BlobMissing as error:
            raise TransientError(f"the body of a command is missing: blob {name!r}") from error
        return blob.body
