"""Would the simulation notice? Bugs of replays that are planted to see."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest.mock import patch

from aos.domain.runs.run import AdmittedRequest, Run
from aos.services.admission import Admission, Replays
from aos.services.dead_letters import DeadLetters, Replay


def removed_before_sent() -> contextlib.AbstractContextManager[Any]:
    """A replay removes the dead letter first and sends its copy then."""

    async def replay(self: DeadLetters, entity: str, sequence_number: int) -> Replay:
        dead = await self._find(entity, sequence_number)
        await self._remove(entity, sequence_number)
        await self._queues.resend(dead, message_id="replay:x")
        return Replay(entity=entity, sequence_number=sequence_number)

    return patch.object(DeadLetters, "replay", replay)


def asked_again_under_a_new_key() -> contextlib.AbstractContextManager[Any]:
    """A replay that is repeated begins another run each time."""
    real = Replays.repeat

    async def repeat(
        self: Replays, request: AdmittedRequest, run: Run, *, key: str | None = None, **more: Any
    ) -> Admission:
        return await real(self, request, run, key=self._admissions._ids.new_id(), **more)

    return patch.object(Replays, "repeat", repeat)


PLANTED_IN_LETTERS = {
    "removed_before_sent": removed_before_sent,
    "asked_again_under_a_new_key": asked_again_under_a_new_key,
}
"""These bugs by their names on the command line."""
