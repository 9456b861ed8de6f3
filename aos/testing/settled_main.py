"""Makes an app main whose batches wait for `settle`, so that no clock moves for them. Entry point:
`SettledMain`."""

from __future__ import annotations

import asyncio

from aos.wiring.main import Main


class SettledMain(Main):
    """Main in a world that says itself when batches are written: `services.books.flush`."""

    async def gather_batch(self, seconds: float) -> None:
        """Wait until the batch is written, or the process is told to stop."""
        await self.drain.wait(_wait_for_ever)


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()
