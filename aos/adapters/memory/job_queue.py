"""Sends orders to the storage queue of a `MemoryBroker`. Entry point: `MemoryJobQueue`."""

from __future__ import annotations

from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.domain.jobs import ArchiveRun, write_job


class MemoryJobQueue:
    """The storage queue `aos-jobs`."""

    def __init__(self, broker: MemoryBroker, *, intercept: Interceptor = pass_through) -> None:
        self._broker = broker
        self._intercept = intercept

    async def send(self, job: ArchiveRun) -> None:
        """Send an order."""
        body = write_job(job)
        await self._intercept("jobs.send", job.run_id, lambda: self._broker.jobs.append(body))
