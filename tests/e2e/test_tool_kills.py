"""A tool that may not be repeated is called once, whoever dies while it works."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest

from tests.contract.mcp.kit import NASTY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually
from tests.scripted_model import Request, Say

BACK_SECONDS = 5.0
AFTER_SECONDS = 60.0
"""Locks are 5 s here; then the message comes again."""


def marking(request: Request) -> Say:
    """Mark slowly, twice in one turn; then say what the tool said."""
    results = [m["content"] for m in request.messages if m["role"] == "tool"]
    if results:
        return Say(" and ".join(results))
    name = request.body["tools"][0]["function"]["name"]
    return Say(calls=[(name, {"text": text, "seconds": 2}) for text in ("a", "b")])


@pytest.mark.parametrize("name", ["realm", "servicebus", "main"])
def test_a_process_is_killed_while_tools_work(
    road: Road, model: Model, tmp_path: Path, name: str
) -> None:
    model.server.always(marking)
    marks = tmp_path / "marks"
    server_id = road.live_server(
        f"s-{uuid.uuid4().hex[:8]}",
        command=sys.executable,
        args=[NASTY, "--marks", str(marks)],
    )
    agent = road.live(f"a-{uuid.uuid4().hex[:8]}", mcp_tools=[f"{server_id}/mark"])
    key = road.request(agent, "Mark it.")
    eventually(marks.exists, seconds=20, what="the first effect")
    child = road.laptop.child(name)
    restarts = child.restarts
    child.kill9()
    eventually(lambda: child.restarts > restarts or None, seconds=BACK_SECONDS)
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert (reply["type"], reply["output"]) == ("run.completed", "marked and marked")
    assert sorted(marks.read_text().split()) == ["a", "b"]
    path = f"/api/conversations/{reply['conversation_id']}/messages"
    items = road.call("GET", path).body["items"]
    asked = [json.loads(call["arguments"])["text"] for call in items[1]["tool_calls"]]
    assert asked == ["a", "b"]
    assert [i["tool_call_id"] for i in items[2:4]] == [
        call["tool_call_id"] for call in items[1]["tool_calls"]
    ]
    assert road.no_more_replies(key)
