"""What must every store of requests do with trees of runs, and every conversation store with turns
that use tools?"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest
from aos.domain.tools.tool import MessageCall, ToolOutcome
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from tests.samples import NOON, a_delegated_request

LARGE = "ü" * 40_000


class TreeSuite:
    """Needs the fixture `requests: RequestStore`."""

    async def test_a_tree_counts_each_run_once_and_its_root(self, requests: RequestStore) -> None:
        root, child = str(uuid.uuid4()), str(uuid.uuid4())
        assert await requests.join_tree(root, child) == 2
        assert await requests.join_tree(root, child) == 2
        assert await requests.join_tree(root, str(uuid.uuid4())) == 3
        assert await requests.join_tree(str(uuid.uuid4()), child) == 2

    async def test_a_delegated_request_and_why_it_was_cancelled_are_kept(
        self, requests: RequestStore
    ) -> None:
        request = a_delegated_request()
        await requests.insert(request)
        await requests.join_tree(request.run_id, str(uuid.uuid4()))
        await requests.ask_cancel(request.run_id, at=NOON, reason="parent_ended")
        await requests.ask_cancel(request.run_id, at=NOON + timedelta(1))
        stored = await requests.find(request.run_id)
        assert stored is not None
        assert stored.request == request
        assert (stored.cancel_requested_at, stored.cancel_reason) == (NOON, "parent_ended")


class TurnsSuite:
    """Needs the fixture `conversations: ConversationStore`."""

    async def test_a_turn_with_32_large_calls_and_results_is_kept_whole(
        self, conversations: ConversationStore
    ) -> None:
        request = a_delegated_request()
        calls = tuple(
            OpenCall(
                tool_call_id=f"call_00000001_0_{n}",
                name="a__b",
                written=f'{{"n": {n}, "text": "{LARGE}"}}',
                state="answered",
                server_id="a",
                tool="b",
                arguments={"n": n, "text": LARGE},
                result=ToolOutcome(
                    outcome="ok", content=f"{n} {LARGE}", parts=({"type": "image", "n": n},)
                ),
            )
            for n in range(32)
        )
        head = Conversation.create(request, now=NOON)
        active = ActiveRun(
            request=request,
            card_digest="d",
            run_timeout_seconds=60.0,
            started_at=NOON,
            calls=calls,
            waiting_since=NOON,
        )
        messages = (
            _message(request, 0, "user", "?"),
            replace(
                _message(request, 1, "assistant", ""),
                tool_calls=tuple(
                    MessageCall(tool_call_id=c.tool_call_id, name=c.name, arguments=c.written)
                    for c in calls
                ),
            ),
            *(
                replace(
                    _message(request, n + 2, "tool", c.result.content if c.result else ""),
                    tool_call_id=c.tool_call_id,
                    parts=({"type": "image", "n": n},),
                )
                for n, c in enumerate(calls)
            ),
        )
        head = replace(head, active=active, next_sequence=len(messages))
        await conversations.save(Step(conversation=head, messages=messages), etag=None)
        assert (await conversations.load(head.conversation_id)).conversation == head
        kept = await conversations.read_history(head.conversation_id, before=34, limit=34)
        assert kept == list(messages)


def _message(request: AdmittedRequest, sequence: int, role: Any, content: str) -> Message:
    return Message(
        sequence=sequence,
        role=role,
        content=content,
        run_id=request.run_id,
        created_at=NOON,
    )
