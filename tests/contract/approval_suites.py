"""What must every store of approvals do, and every conversation store with turns that use tools?"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest
from aos.domain.tools.tool import MessageCall, ToolOutcome
from aos.errors import StaleWrite
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from aos.ports.tools import AskedApproval, Decisions
from tests.samples import (
    CALL_ID,
    NOON,
    a_decision,
    a_delegated_request,
    an_approval,
)

LARGE = "ü" * 40_000


class DecisionsSuite:
    """Needs the fixture `decisions: Decisions`."""

    async def test_what_was_asked_is_found_and_listed(self, decisions: Decisions) -> None:
        asked = an_approval()
        await decisions.ask(asked)
        assert await decisions.find(asked.run_id, CALL_ID) == AskedApproval(request=asked)
        page = await decisions.list_waiting(owner=asked.owner, after=None, limit=10)
        assert (page.items, page.next) == ([asked], None)

    async def test_asking_again_changes_nothing(self, decisions: Decisions) -> None:
        asked = an_approval()
        for _ in range(2):
            await decisions.ask(asked)
        page = await decisions.list_waiting(owner=asked.owner, after=None, limit=10)
        assert page.items == [asked]

    async def test_what_nobody_asked_is_not_there(self, decisions: Decisions) -> None:
        assert await decisions.find(str(uuid.uuid4()), CALL_ID) is None

    async def test_large_arguments_are_kept_whole(self, decisions: Decisions) -> None:
        asked = an_approval(arguments={"text": LARGE})
        await decisions.ask(asked)
        found = await decisions.find(asked.run_id, CALL_ID)
        assert found is not None
        assert found.request == asked

    async def test_of_two_decisions_at_once_one_stands(self, decisions: Decisions) -> None:
        asked = an_approval()
        await decisions.ask(asked)
        both = [a_decision(), a_decision(decision="deny", decided_by="bob")]
        ends = await asyncio.gather(
            *(decisions.decide(asked.run_id, CALL_ID, one) for one in both),
            return_exceptions=True,
        )
        assert sorted(type(end) for end in ends if end is not None) == [StaleWrite]
        found = await decisions.find(asked.run_id, CALL_ID)
        assert found is not None
        assert found.decision == both[ends.index(None)]

    async def test_a_closed_call_is_off_the_list_and_still_found(
        self, decisions: Decisions
    ) -> None:
        asked = an_approval()
        await decisions.ask(asked)
        for _ in range(2):
            await decisions.close(asked)
        page = await decisions.list_waiting(owner=asked.owner, after=None, limit=10)
        assert page.items == []
        assert await decisions.find(asked.run_id, CALL_ID) == AskedApproval(request=asked)

    async def test_the_list_is_the_oldest_first_and_paged(self, decisions: Decisions) -> None:
        owner = f"ann {uuid.uuid4()}"
        calls = [
            an_approval(owner=owner, requested_at=NOON + timedelta(seconds=n)) for n in (2, 0, 1)
        ]
        for call in calls:
            await decisions.ask(call)
        first = await decisions.list_waiting(owner=owner, after=None, limit=2)
        assert first.items == [calls[1], calls[2]]
        rest = await decisions.list_waiting(owner=owner, after=first.next, limit=2)
        assert (rest.items, rest.next) == ([calls[0]], None)

    async def test_everybodys_list_holds_them_all(self, decisions: Decisions) -> None:
        mine, theirs = an_approval(), an_approval()
        await decisions.ask(mine)
        await decisions.ask(theirs)
        page = await decisions.list_waiting(owner=None, after=None, limit=1000)
        assert {mine.run_id, theirs.run_id} <= {item.run_id for item in page.items}


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
