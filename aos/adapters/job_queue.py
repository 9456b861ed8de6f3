"""Sends orders on the storage queue `aos-jobs`. Entry point: `AzureJobQueue`."""

from __future__ import annotations

from aos.adapters.storage_queues import OpenedQueue, QueueAccount, open_queue
from aos.domain.dead_letters import JOBS_QUEUE
from aos.domain.jobs import ArchiveRun, write_job
from aos.errors import TransientError


class AzureJobQueue:
    """The queue of one account, with one client. Implements `JobQueue`."""

    def __init__(self, account: QueueAccount) -> None:
        self._account = account
        self._opened: OpenedQueue | None = None

    async def send(self, job: ArchiveRun) -> None:
        """Send an order as text. One call."""
        from azure.core.exceptions import AzureError

        if self._opened is None:
            self._opened = open_queue(self._account, JOBS_QUEUE)
        try:
            await self._opened.client.send_message(write_job(job).decode("utf-8"))
        except AzureError as error:
            raise TransientError(
                f"the storage queue {JOBS_QUEUE!r} did not take a job ({type(error).__name__})"
            ) from error

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()
