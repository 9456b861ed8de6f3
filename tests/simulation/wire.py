"""Does everything survive being written down?

A conversation store that keeps the stored forms (through JSON) instead of the values.
"""

from __future__ import annotations

import json
from dataclasses import replace

from aos.adapters.memory import MemoryConversationStore
from aos.domain.conversation import Conversation, Step
from aos.domain.run import Run


class WireConversationStore(MemoryConversationStore):
    """Like the real store, it gives back what JSON could hold."""

    def write(self, step: Step) -> str:
        """Write what is left of the step after a journey through JSON."""
        head = Conversation.from_dict(json.loads(json.dumps(step.conversation.to_dict())))
        runs = tuple(Run.from_dict(json.loads(json.dumps(run.to_dict()))) for run in step.runs)
        return super().write(replace(step, conversation=head, runs=runs))
