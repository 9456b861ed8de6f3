"""Does everything survive being written down, and being read in pieces?

A conversation store that keeps the stored forms (through JSON) instead of the values, and reads a
run's row a moment after the head.
"""

from __future__ import annotations

import json
from dataclasses import replace

from aos.adapters.memory import MemoryConversationStore
from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import Run
from aos.errors import TransientError
from aos.ports.conversations import Loaded

READS = 5


class WireConversationStore(MemoryConversationStore):
    """Like the real store, it gives back what JSON could hold."""

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """The head, then the run's row; the head again until it stands still."""
        for _ in range(READS):
            head = await super().load(conversation_id)
            run = None if run_id is None else await self.find_run(conversation_id, run_id)
            if run is None or (await super().load(conversation_id)).etag == head.etag:
                return replace(head, run=run)
        raise TransientError(f"conversation {conversation_id!r} is written too often to be read")

    def write(self, step: Step) -> str:
        """Write what is left of the step after a journey through JSON."""
        head = decode(Conversation, json.loads(json.dumps(encode(step.conversation))))
        runs = tuple(decode(Run, json.loads(json.dumps(encode(run)))) for run in step.runs)
        return super().write(replace(step, conversation=head, runs=runs))
