"""Serves the storage queue `aos-jobs`. Entry point: `Jobs.handle`.

An order that fails is delivered again after the time of host.json. After five deliveries the host
moves it to `aos-jobs-poison`, where it is a dead letter (docs/contracts/service-bus.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import azure.functions as func

from aos.domain.jobs import JobError, read_job
from aos.errors import TransientError
from aos.ports.telemetry import Telemetry
from aos.services.transcripts import Transcripts


class Jobs:
    """Carries out what was ordered on `aos-jobs`."""

    def __init__(
        self,
        transcripts: Transcripts,
        *,
        telemetry: Telemetry,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._transcripts = transcripts
        self._telemetry = telemetry
        self._ready = ready

    async def handle(self, msg: func.QueueMessage) -> None:
        """Carry out one order. Raises what the host answers with another delivery."""
        await self._ready()
        try:
            await self._transcripts.write(read_job(msg.get_body()))
        except (JobError, TransientError) as error:
            self._telemetry.log(
                "job_failed",
                level="warning" if isinstance(error, TransientError) else "error",
                job_id=msg.id,
                delivery_count=msg.dequeue_count,
                reason=str(error),
            )
            raise
