"""Makes and finishes unfinished work of one version of AOS, for `test_versions.py`.

It runs under the package that is on the path, of this version or of the one before, so it uses only
what both have: `python version_story.py make FILE`, `python version_story.py finish FILE`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from aos.adapters.memory.tables import ConversationRows
from aos.domain.codec import decode, encode
from aos.domain.envelope import MAIN_QUEUE, MCP_QUEUE, REALM_QUEUE
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.tools.tool import ApprovalRequest
from aos.errors import TransientError
from aos.ports.model import ModelAnswer, ModelCall
from aos.ports.requests import PendingRun, StoredRequest
from aos.testing import Calls, MemoryWorld, ScriptedModel

QUEUES = (MAIN_QUEUE, MCP_QUEUE, REALM_QUEUE)
CARDS: list[dict[str, Any]] = [
    {"agent_id": "plain", "purpose": "Answer."},
    {"agent_id": "tools", "purpose": "Count.", "mcp_tools": ["books"]},
    {
        "agent_id": "asks",
        "purpose": "Count with care.",
        "mcp_tools": [{"server": "books", "tools": ["count"], "approval": "always"}],
    },
]


async def _world(model: Any = None) -> Any:
    world = MemoryWorld(model=model)
    await world.put_mcp_server(
        {"server_id": "books", "command": "npx", "args": ["-y", "@modelcontextprotocol/x@1"]},
        {"count": lambda arguments: "7 books"},
    )
    for card in CARDS:
        status = await world.put_agent(card)
        assert status["state"] == "active", status
    return world


class AwayModel(ScriptedModel):
    """A scripted model that may be away."""

    away = False

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Return the next answer of the script, unless it is away."""
        if self.away:
            raise TransientError("the model is away")
        return await super().complete(call)


async def make() -> dict[str, Any]:
    """A run that waits for its model with one queued behind it, an open call, and an approval."""
    model = AwayModel()
    world = await _world(model)
    model.away = True
    await world.ask("plain", "First.", conversation_id="waits", key="1")
    await world.ask("plain", "Second.", conversation_id="waits", key="2")
    model.away = False
    model.then(Calls(("books__count", {})), Calls(("books__count", {})))
    await world.ask("asks", "How many?", conversation_id="approval", key="4")

    async def keep_for_later(message: Any) -> None:
        """mcp is away: its command waits."""
        world.broker.send(
            MCP_QUEUE,
            message.get_body(),
            message_id=message.message_id,
            scheduled_at=world.clock.now() + timedelta(minutes=1),
        )

    world.mcp.commands.handle = keep_for_later
    await world.ask("tools", "How many?", conversation_id="open-call", key="3")
    return _dump(world)


def _dump(world: Any) -> dict[str, Any]:
    tables = world.tables
    return {
        "now": world.clock.now().isoformat(),
        "requests": [encode(stored.request) for stored in tables.requests.values()],
        "pending": [encode(row, without=("etag",)) for row in tables.pending.values()],
        "heads": [encode(rows.head) for rows in tables.conversations.values()],
        "messages": {
            name: [encode(m) for m in rows.messages.values()]
            for name, rows in tables.conversations.items()
        },
        "runs": [encode(r) for rows in tables.conversations.values() for r in rows.runs.values()],
        "approvals": [encode(row) for row in tables.approvals.values()],
        "bus": [
            {
                "entity": queue,
                "body": kept.body.decode(),
                "message_id": kept.message_id,
                "session_id": kept.session_id,
                "at": kept.visible_at.isoformat(),
            }
            for queue in QUEUES
            for kept in world.broker.messages(queue)
        ],
    }


async def _restore(world: Any, kept: dict[str, Any]) -> None:
    """Put the rows and the messages of the other version into this world."""
    tables = world.tables
    now = datetime.fromisoformat(kept["now"])
    world.clock.advance(max(0.0, (now - world.clock.now()).total_seconds()))
    for raw in kept["requests"]:
        request = decode(AdmittedRequest, raw)
        tables.requests[request.run_id] = StoredRequest(request=request)
    for raw in kept["pending"]:
        await world.ports.pending.put(decode(PendingRun, raw))
    _restore_conversations(tables, kept)
    for raw in kept["approvals"]:
        approval = decode(ApprovalRequest, raw)
        tables.approvals[approval.run_id, approval.tool_call_id] = approval
        tables.open_approvals.add((approval.run_id, approval.tool_call_id))
    for message in kept["bus"]:
        world.broker.send(
            message["entity"],
            message["body"].encode(),
            message_id=message["message_id"],
            session_id=message["session_id"],
            scheduled_at=datetime.fromisoformat(message["at"]),
        )


def _restore_conversations(tables: Any, kept: dict[str, Any]) -> None:
    for raw in kept["heads"]:
        head = decode(Conversation, raw)
        rows = ConversationRows(head=head, etag=tables.new_etag())
        tables.conversations[head.conversation_id] = rows
        for item in kept["messages"][head.conversation_id]:
            message = decode(Message, item)
            rows.messages[message.sequence] = message
    for raw in kept["runs"]:
        run = decode(Run, raw)
        tables.conversations[run.conversation_id].runs[run.run_id] = run


async def finish(kept: dict[str, Any]) -> dict[str, Any]:
    """Let the work of the other version end; what became of each conversation's runs."""
    world = await _world()
    tables = world.tables
    await _restore(world, kept)
    await world.settle()
    for item in (await world.waiting_approvals()).items:
        await world.decide(item.run_id, item.tool_call_id, "approve")
    await world.advance(timedelta(minutes=40).total_seconds())
    return {
        "statuses": {
            name: [str(run.status) for run in rows.runs.values()]
            for name, rows in sorted(tables.conversations.items())
        },
        "pending": len(tables.pending),
        "heads": [encode(rows.head) for rows in tables.conversations.values()],
    }


if __name__ == "__main__":
    command, path = sys.argv[1], Path(sys.argv[2])
    if command == "make":
        path.write_text(json.dumps(asyncio.run(make()), indent=1, ensure_ascii=False) + "\n")
    else:
        print(json.dumps(asyncio.run(finish(json.loads(path.read_text())))))  # noqa: T201
