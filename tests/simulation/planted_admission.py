"""Would the simulation notice? Bugs about conversations that take one run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from aos.domain.runs.run import AdmittedRequest
from aos.ports.slots import Slot
from aos.services.admission import busy
from aos.services.admission.busy import Turnstile


def busy_by_the_head_alone() -> contextlib.AbstractContextManager[Any]:
    """Main looks at the head only, which realm writes when it can."""

    async def enter(self: Turnstile, request: AdmittedRequest) -> None:
        return None

    return patch.object(Turnstile, "enter", enter)


def slot_never_free() -> contextlib.AbstractContextManager[Any]:
    """A slot whose admission died is kept for ever."""
    real = Turnstile._is_free

    async def is_free(self: Turnstile, slot: Slot, run_id: str) -> bool:
        return await self._requests.find(slot.run_id) is not None and await real(self, slot, run_id)

    return patch.object(Turnstile, "_is_free", is_free)


def slot_free_at_once() -> contextlib.AbstractContextManager[Any]:
    """A slot whose run has no request row yet is taken for one whose admission died."""
    return patch.object(busy, "UNUSED", busy.UNUSED * 0)


PLANTED_IN_ADMISSION: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "busy_by_the_head_alone": busy_by_the_head_alone,
    "slot_never_free": slot_never_free,
    "slot_free_at_once": slot_free_at_once,
}
