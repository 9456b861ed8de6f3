"""Plants bugs in what ends by its age. Entry point: `PLANTED_IN_AGING`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.domain.envelope import DeleteConversation
from aos.domain.runs.conversation import Conversation
from aos.ports.cleaning import OldRun
from aos.services.cleaner import Cleaner
from aos.services.execution.deletion import Deletions


def used_conversation_ends() -> contextlib.AbstractContextManager[Any]:
    """An age counts from the first run, and realm believes what main says."""

    async def expire(self: Cleaner, page: Sequence[OldRun], end: datetime, **_: Any) -> None:
        for old in page:
            name = old.run.conversation_id
            await self._deletions.start(name, deleted_at=end, unused=True)

    async def is_used(
        self: Deletions, conversation: Conversation, command: DeleteConversation
    ) -> bool:
        return False

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Cleaner, "_expire", expire))
    stack.enter_context(patch.object(Deletions, "_is_used", is_used))
    return stack


def nothing_ends_by_its_age() -> contextlib.AbstractContextManager[Any]:
    """What a look finds old is noted as done, and nothing comes of it."""

    async def expire(self: Cleaner, page: Sequence[OldRun], end: datetime, **_: Any) -> None:
        return None

    return patch.object(Cleaner, "_expire", expire)


def long_run_never_ends_by_its_age() -> contextlib.AbstractContextManager[Any]:
    """A look that comes between a run's admission and its last message is the last one."""

    async def look_later(self: Cleaner, conversation_id: str, *given: Any, **more: Any) -> None:
        return None

    return patch.object(Cleaner, "_look_later", look_later)


PLANTED_IN_AGING = {
    "used_conversation_ends": used_conversation_ends,
    "nothing_ends_by_its_age": nothing_ends_by_its_age,
    "long_run_never_ends_by_its_age": long_run_never_ends_by_its_age,
}
"""These bugs by their names on the command line."""
