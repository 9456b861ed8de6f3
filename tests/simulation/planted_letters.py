"""Would the simulation notice? Bugs of dead letters that are planted to see."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from aos.domain import webhooks
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


def delivery_given_up_early() -> contextlib.AbstractContextManager[Any]:
    """A delivery to a receiver is given up a minute after its first try."""
    return patch.object(webhooks, "GIVE_UP_AFTER", timedelta(minutes=1))


PLANTED_IN_LETTERS = {
    "delivery_given_up_early": delivery_given_up_early,
    "removed_before_sent": removed_before_sent,
    "asked_again_under_a_new_key": asked_again_under_a_new_key,
}
"""These bugs by their names on the command line."""
