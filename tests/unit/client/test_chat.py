"""What a chat shows of a run's events, and what it sends. tests/e2e has the terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.client import AosClient
from aos.client.chat import Chat
from tests.unit.client.stub_main import Say, StubMain

STARTED = Say(body={"run_id": "r1", "status": "queued"}, status=202)


def event(number: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "run_id": "r1", "time": "", "data": data}


def stream(*events: dict[str, Any]) -> Say:
    body = "".join(f"id: {e['id']}\ndata: {json.dumps(e)}\n\n" for e in events).encode()
    return Say(body=body, headers={"Content-Type": "text/event-stream"})


def chat(main: StubMain) -> Chat:
    client = AosClient(url=main.url, sleep=lambda seconds: None)
    return Chat(client, agent_id="ceo", conversation_id="board")


def test_text_is_written_as_it_comes_and_only_once(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    deltas = [
        event("3.1.1", "attempt.started", attempt=1),
        event("3.1.2", "message.delta", text="Ca"),
        event("3.1.3", "message.delta", text="sh\x1b[2J"),
    ]
    done = event("4", "message.completed", content="Cash\x1b[2J first.")
    main.then(STARTED, stream(*deltas), stream(done, event("5", "run.completed")))
    assert chat(main).send("What?") == 0
    assert capsys.readouterr().out == "Cash\N{REPLACEMENT CHARACTER}[2J first.\n"
    asked, first, again = main.seen
    assert (asked.body["stream"], asked.body["conversation_id"]) == (True, "board")
    assert (first.headers.get("last-event-id"), again.headers["last-event-id"]) == (None, "3.1.3")


def test_an_answer_that_is_begun_again_is_announced_and_written_anew(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [
        event("3.1.2", "message.delta", text="Perh"),
        event("3.2.1", "attempt.started", attempt=2),
        event("3.2.2", "message.delta", text="Yes"),
        event("4", "message.completed", content="Yes."),
        event("5", "run.completed"),
    ]
    main.then(STARTED, stream(*events))
    assert chat(main).send("Is it?") == 0
    assert capsys.readouterr().out == (
        "Perh\n  the answer was cut; the model is asked again\nYes.\n"
    )


def test_why_the_model_is_asked_again_is_said(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [
        event("3.2.1", "attempt.started", attempt=2, reason="503: overloaded"),
        event("4", "message.completed", content="Yes."),
        event("5", "run.completed"),
    ]
    main.then(STARTED, stream(*events))
    assert chat(main).send("Is it?") == 0
    assert capsys.readouterr().out == "  the model is asked again: 503: overloaded\nYes.\n"


def test_a_failed_run_says_why_and_what_to_do(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "model_quota", "message": "no quota is left", "type": "operator"}
    main.then(STARTED, stream(event("4", "run.failed", error=error)))
    assert chat(main).send("Is it?") == 1
    assert capsys.readouterr().err == (
        "failed model_quota: no quota is left\n"
        "what to do: raise the quota at the model's provider, then ask again with: aos replay r1\n"
    )


def test_where_nobody_can_be_asked_it_says_how_to_decide(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = event("4", "approval.requested", tool_call_id="c1", name="git/push", arguments="{}")
    main.then(STARTED, stream(asks))
    assert chat(main).send("Push") == 3
    out, said = capsys.readouterr()
    assert out == "wants to call git/push\n  with {}\n"
    assert said == "decide with: aos approve r1 c1\n"
