"""Gives services the storage queue `aos-jobs`. Entry point: `JobQueue`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.jobs import ArchiveRun


class JobQueue(Protocol):
    """The storage queue `aos-jobs`, which main serves: at least once, in no order."""

    async def send(self, job: ArchiveRun) -> None:
        """Send an order. Raises TransientError when the queue does not answer."""
        ...
