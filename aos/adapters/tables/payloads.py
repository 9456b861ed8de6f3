"""Keeps the texts that are too large for a row in blobs. Entry point: `Payloads`.

They are blobs `payloads/<conversation_id>/<sha256>` (those of a request: `payloads/<run_id>/…`),
written before the row that refers to them.
They never change, so recent ones are cached in memory, up to 16 MiB.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aos.adapters.tables.account import Entity
from aos.adapters.tables.rows import check_schema, document, list_spilled, restore
from aos.errors import OutcomeUnknown, TransientError
from aos.ports.blobs import BlobMissing, BlobStore

CACHE_BYTES = 16 * 1024 * 1024
AT_ONCE = 8
FOLDER = "payloads/"


class Payloads:
    """The large texts of all conversations."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._recent_bytes = 0
        self._calls = asyncio.Semaphore(AT_ONCE)

    async def keep(
        self, conversation_id: str, payloads: Mapping[str, bytes], *, standing: Collection[str] = ()
    ) -> None:
        """Write the payloads that are not in `standing`, the digests known to exist.

        Raises TransientError, also if an answer was lost; writing again changes nothing.
        """
        new = [digest for digest in payloads if digest not in standing]
        await asyncio.gather(
            *(self._write(conversation_id, digest, payloads[digest]) for digest in new)
        )

    async def whole(self, conversation_id: str, entity: Entity) -> dict[str, Any]:
        """Return the document of a row with its payloads put back.

        Raises TransientError if this version cannot read the row or a payload is missing.
        """
        (read,) = await self.wholes(conversation_id, [entity])
        return read

    async def wholes(
        self, conversation_id: str, entities: Sequence[Entity]
    ) -> list[dict[str, Any]]:
        """Return the documents of several rows, like `whole`."""
        for entity in entities:
            check_schema(entity)
        spilled = [list_spilled(entity) for entity in entities]
        bodies = await self._read_bodies(
            conversation_id, {s.digest for row in spilled for s in row}
        )
        read = [document(entity) for entity in entities]
        for target, row in zip(read, spilled, strict=True):
            for item in row:
                restore(target, item, bodies[item.digest])
        return read

    async def _read_bodies(
        self, conversation_id: str, digests: Collection[str]
    ) -> dict[str, bytes]:
        if not digests:
            return {}
        wanted = list(digests)
        found = await asyncio.gather(*(self._read(conversation_id, item) for item in wanted))
        return dict(zip(wanted, found, strict=True))

    async def _write(self, conversation_id: str, digest: str, body: bytes) -> None:
        try:
            async with self._calls:
                await self._blobs.write(make_payload_name(conversation_id, digest), body)
        except OutcomeUnknown as error:
            raise TransientError(
                f"a text of {conversation_id!r} was not stored: {error}"
            ) from error
        self._remember(digest, body)

    async def _read(self, conversation_id: str, digest: str) -> bytes:
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return self._recent[digest]
        name = make_payload_name(conversation_id, digest)
        try:
            async with self._calls:
                blob = await self._blobs.read(name)
        except BlobMissing as error:
            raise TransientError(
                f"a row refers to blob {name!r}, which is missing; restore it from a backup"
            ) from error
        self._remember(digest, blob.body)
        return blob.body

    def _remember(self, digest: str, body: bytes) -> None:
        if digest in self._recent or len(body) > CACHE_BYTES:
            return
        self._recent[digest] = body
        self._recent_bytes += len(body)
        while self._recent_bytes > CACHE_BYTES:
            _, dropped = self._recent.popitem(last=False)
            self._recent_bytes -= len(dropped)


def make_payload_name(conversation_id: str, digest: str) -> str:
    """Return the name of a payload's blob. A part of the path must not end in a dot, because `..`
    would lead to another folder."""
    return f"{make_folder_name(conversation_id)}{digest}"


def make_folder_name(conversation_id: str) -> str:
    """Return the folder of the payloads of a conversation, or of a run's own."""
    folder = conversation_id.rstrip(".")
    dots = len(conversation_id) - len(folder)
    return f"{FOLDER}{folder}{'%2E' * dots}/"
