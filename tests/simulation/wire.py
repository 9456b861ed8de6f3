"""Does everything survive being written down?

Stores that keep the stored forms (through JSON) instead of the values.
"""

from __future__ import annotations

import json
from dataclasses import replace

from aos.adapters.memory import MemoryConversationStore, MemoryRequestStore, MemoryToolLedger
from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.tools.tool import ToolCallRow, ToolOutcome


class WireConversationStore(MemoryConversationStore):
    """Like the real store, it gives back what JSON could hold."""

    def write(self, step: Step) -> str:
        """Write what is left of the step after a journey through JSON."""
        head = decode(Conversation, json.loads(json.dumps(encode(step.conversation))))
        runs = tuple(decode(Run, json.loads(json.dumps(encode(run)))) for run in step.runs)
        return super().write(replace(step, conversation=head, runs=runs))


class WireRequestStore(MemoryRequestStore):
    """The rows of requests, as JSON holds them."""

    async def insert(self, request: AdmittedRequest) -> None:
        """Write what is left of the request after a journey through JSON."""
        await super().insert(decode(AdmittedRequest, json.loads(json.dumps(encode(request)))))


class WireToolLedger(MemoryToolLedger):
    """The rows of tool calls, as JSON holds them."""

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """Read what is left of the row after a journey through JSON."""
        row = await super().find(run_id, tool_call_id)
        return None if row is None else _travel(row)

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Write what is left of the row."""
        return await super().start(_travel(row))

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write what is left of the result."""
        return await super().finish(
            row, decode(ToolOutcome, json.loads(json.dumps(encode(outcome))))
        )


def _travel(row: ToolCallRow) -> ToolCallRow:
    raw = json.loads(json.dumps(encode(row, without=("etag",))))
    return decode(ToolCallRow, {**raw, "etag": row.etag})
