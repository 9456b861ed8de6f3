"""Plants bugs in the entry points, to see whether the simulation runs them. Entry point:
`PLANTED_IN_TRIGGERS`."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest.mock import patch

from aos.entrypoints.bus.requests import RequestQueue
from aos.entrypoints.bus.settling import Settling


def postponed_without_a_copy() -> contextlib.AbstractContextManager[Any]:
    """A message that cannot be handled now is completed, and no scheduled copy is sent."""

    async def postpone(self: Settling, *given: object) -> None:
        return None

    return patch.object(Settling, "_postpone", postpone)


def refused_in_silence() -> contextlib.AbstractContextManager[Any]:
    """A request over the queue that is refused gets no reply."""

    async def refuse(self: RequestQueue, *given: object) -> None:
        return None

    return patch.object(RequestQueue, "_refuse", refuse)


PLANTED_IN_TRIGGERS = {
    "postponed_without_a_copy": postponed_without_a_copy,
    "refused_in_silence": refused_in_silence,
}
"""These bugs by their names on the command line."""
