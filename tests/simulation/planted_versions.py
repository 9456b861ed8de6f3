"""Plants a bug between versions, to see whether the simulation finds it. Entry point:
`PLANTED_IN_VERSIONS`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.domain.runs.conversation import Step
from tests.simulation.versions import NewerConversationStore
from tests.simulation.wire import WireConversationStore


def newer_fields_dropped() -> contextlib.AbstractContextManager[Any]:
    """An older version writes back only the fields that it knows."""
    real = WireConversationStore.write

    def write(self: WireConversationStore, step: Step) -> str:
        if not isinstance(self, NewerConversationStore):
            head = step.conversation
            active = None if head.active is None else replace(head.active, unknown={})
            step = replace(step, conversation=replace(head, unknown={}, active=active))
        return real(self, step)

    return patch.object(WireConversationStore, "write", write)


PLANTED_IN_VERSIONS = {"newer_fields_dropped": newer_fields_dropped}
"""This bug by its name on the command line."""
