"""The HTTP client: tools, approvals and the cards of MCP servers."""

from __future__ import annotations

from typing import Any

import pytest

from aos.client import AosClient, AosClientError, AosUnreachable
from tests.unit.client.stub_main import CUT, Say, StubMain, refusal

CALL: dict[str, Any] = {"run_id": "r1", "tool_call_id": "call_00000001_0_0", "tool": "a/b"}


def client(main: StubMain) -> AosClient:
    return AosClient(url=main.url, sleep=lambda seconds: None)


def test_tools_and_approvals_are_read_page_by_page(main: StubMain) -> None:
    main.then(
        Say(body={"items": [{"server_id": "a"}], "next": "/api/tools?after=x"}),
        Say(body={"items": [{"server_id": "b"}], "next": None}),
        Say(body={"items": [CALL], "next": None}),
    )
    assert [server["server_id"] for server in client(main).tools()] == ["a", "b"]
    assert list(client(main).approvals()) == [CALL]
    assert [seen.path for seen in main.seen] == [
        "/api/tools",
        "/api/tools?after=x",
        "/api/approvals",
    ]


def test_a_decision_is_sent_once(main: StubMain) -> None:
    main.then(Say(body=CALL | {"decision": "deny"}))
    decided = client(main).decide("r1", "call_00000001_0_0", "deny", "Not today.")
    assert decided["decision"] == "deny"
    [seen] = main.seen
    assert (seen.method, seen.path) == ("POST", "/api/runs/r1/approvals/call_00000001_0_0")
    assert seen.body == {"decision": "deny", "reason": "Not today."}


def test_a_decision_whose_answer_is_lost_is_not_repeated(main: StubMain) -> None:
    main.then(CUT)
    with pytest.raises(AosUnreachable):
        client(main).decide("r1", "call_00000001_0_0", "approve")
    assert len(main.seen) == 1


def test_a_decision_that_stands_already_is_an_error_of_its_own(main: StubMain) -> None:
    main.then(refusal("already_decided"))
    with pytest.raises(AosClientError) as caught:
        client(main).decide("r1", "call_00000001_0_0", "approve")
    assert caught.value.code == "already_decided"


def test_the_card_of_an_mcp_server_is_put(main: StubMain) -> None:
    main.then(Say(body={"state": "active"}))
    client(main).put_mcp_server("github", {"server_id": "github", "command": "npx"})
    [seen] = main.seen
    assert (seen.method, seen.path) == ("PUT", "/api/mcp-servers/github")
    assert seen.body["server_id"] == "github"


QUESTION: dict[str, Any] = {
    "run_id": "r1",
    "question_id": "call_00000001_0_0.2",
    "tool": "a/b",
    "message": "Which seat?",
    "requested_schema": {
        "type": "object",
        "properties": {
            "seat": {"type": "string", "title": "Seat"},
            "window": {"type": "boolean"},
            "size": {"type": "string", "enum": ["S", "L"]},
        },
        "required": ["seat"],
    },
    "expires_at": "2030-01-02T00:00:00.000Z",
}


def test_questions_are_listed_and_answered_once(main: StubMain) -> None:
    main.then(Say(body={"items": [QUESTION], "next": None}), Say(body={"action": "accept"}))
    assert list(client(main).questions()) == [QUESTION]
    client(main).answer("r1", "call_00000001_0_0.2", {"seat": "12A"})
    listed, seen = main.seen
    assert listed.path == "/api/questions"
    assert (seen.method, seen.path) == ("POST", "/api/runs/r1/questions/call_00000001_0_0.2")
    assert seen.body == {"action": "accept", "content": {"seat": "12A"}}


def test_an_answer_whose_answer_is_lost_is_not_repeated(main: StubMain) -> None:
    main.then(CUT)
    with pytest.raises(AosUnreachable):
        client(main).answer("r1", "call_00000001_0_0", action="decline")
    assert len(main.seen) == 1
