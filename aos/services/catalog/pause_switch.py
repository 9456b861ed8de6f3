"""Pauses and resumes AOS. Entry points: `PauseSwitch.pause`, `PauseSwitch.resume`.

The switch is a field of the catalog's head, which every admission reads anyway (at most every two
seconds): it costs no storage call of its own and holds for every instance of main.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aos.domain.cards.catalog_json import CatalogHead, head_from_json, head_to_json
from aos.domain.pause import Pause
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.system import Clock
from aos.services.catalog import storage
from aos.services.catalog.reader import CatalogReader

MAX_ATTEMPTS = 10
SETTING = "AOS_PAUSED"
BY_SETTING = Pause(by=f"setting {SETTING}")


class PauseSwitch:
    """The switch, as one process of main reads and sets it. Implements `PauseState`."""

    def __init__(
        self, data: BlobStore, catalog: CatalogReader, clock: Clock, *, held_by_setting: bool
    ) -> None:
        self._data = data
        self._catalog = catalog
        self._clock = clock
        self._held_by_setting = held_by_setting

    async def find_pause(self) -> Pause | None:
        """Return the pause, as known for at most two seconds; None: AOS is not paused."""
        if self._held_by_setting:
            return BY_SETTING
        await self._catalog.read()
        return self._catalog.pause

    async def pause(self, *, by: str, reason: str) -> Pause:
        """Set the switch. The first pause stays; pausing again changes nothing."""
        new = Pause(by=by, paused_at=self._clock.now(), reason=reason)
        held = await self._change(lambda pause: pause or new)
        assert held is not None
        return held

    async def resume(self) -> None:
        """Clear the switch. Raises Refused while the setting holds it."""
        await self._change(lambda _: None)
        if self._held_by_setting:
            raise Refused(
                "precondition_failed",
                f"the setting {SETTING} holds the pause; remove it, and restart main",
            )

    async def _change(self, change: Callable[[Pause | None], Pause | None]) -> Pause | None:
        """Write the head with the changed pause, and follow it in this process at once."""
        for _ in range(MAX_ATTEMPTS):
            head, etag = await self._read_head()
            pause = change(head.pause)
            if pause == head.pause or await self._write(replace(head, pause=pause), etag):
                await self._catalog.read_again()
                return pause
        raise TransientError("the catalog's head is written all the time; try again")

    async def _read_head(self) -> tuple[CatalogHead, str | None]:
        """Read the head and its ETag; an empty head where nothing was published yet."""
        try:
            blob = await self._data.read(storage.HEAD)
        except BlobMissing:
            return CatalogHead(version=0, revision=0, index=""), None
        return head_from_json(blob.body), blob.etag

    async def _write(self, head: CatalogHead, etag: str | None) -> bool:
        """Write the head; False when it changed meanwhile or the outcome is not known."""
        try:
            await self._data.write(
                storage.HEAD, head_to_json(head), if_match=etag, create_only=etag is None
            )
        except (StaleWrite, OutcomeUnknown):
            return False
        return True
