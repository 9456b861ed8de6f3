"""The command `aos` over what runs did: `show`, `tail`, `replay`, `dead-letters`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.client.cli import main as aos
from tests.unit.client.stub_main import CUT, Say, StubMain
from tests.unit.client.test_cli import RUN


def _event(number: int, kind: str, turn: int | None = None, **data: Any) -> dict[str, Any]:
    counted = {} if turn is None else {"turn": turn}
    time = f"2030-01-01T00:00:0{number}.000Z"
    return {"id": str(number), "type": kind, "run_id": "r1", "time": time, **counted, "data": data}


EVENTS = [
    _event(1, "run.queued"),
    _event(2, "run.started", card_digest="de0cf826e6af94a1"),
    _event(3, "turn.started", 1),
    _event(
        4,
        "message.completed",
        1,
        content="",
        model="m",
        milliseconds=12,
        usage={"input_tokens": 3, "output_tokens": 4},
    ),
    _event(5, "tool.called", 1, name="git/log", arguments='{"n": 1}'),
    _event(6, "tool.completed", 1, name="git/log", outcome="ok", milliseconds=7, content="one"),
    _event(7, "run.failed", error={"code": "max_turns", "message": "1 turn is the limit"}),
]


def stream(events: list[dict[str, Any]]) -> Say:
    """The events as an event stream, which is cut in the middle of one more."""
    text = "".join(
        f"id: {e['id']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n: waiting\n\n" for e in events
    )
    body = f'retry: 1000\n\n{text}id: 99\ndata: {{"type": "cu'.encode()
    return Say(body=body, headers={"Content-Type": "text/event-stream; charset=utf-8"})


def test_show_has_the_run_its_error_what_to_do_and_its_timeline(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "max_turns", "message": "1 turn is the limit", "type": "caller"}
    failed = {**RUN, "status": "failed", "output": "", "error": error, "model": "m"}
    pages = [
        Say(body={"items": EVENTS[:4], "next": "/api/runs/r1/events?after=4&limit=100"}),
        Say(body={"items": EVENTS[4:], "next": None}),
    ]
    main.then(Say(body=failed), *pages)
    assert aos(["show", "r1", "--url", main.url]) == 0
    assert capsys.readouterr().out == (
        "run           r1\n"
        "status        failed\n"
        "agent         ceo\n"
        "conversation  board\n"
        "model         m\n"
        "tokens        0 in, 0 out\n"
        "created       2030-01-01T00:00:00.000Z\n"
        "error         max_turns: 1 turn is the limit\n"
        "what to do    raise limits.max_turns in the agent's card, or see above what the agent"
        " tried again and again\n"
        "\n"
        "timeline\n"
        "  00:00:01.000  run.queued\n"
        "  00:00:02.000  run.started                  card de0cf826e6af\n"
        "  00:00:03.000  turn.started        turn 1\n"
        "  00:00:04.000  message.completed   turn 1   (m, 12 ms, 3 + 4 tokens)\n"
        '  00:00:05.000  tool.called         turn 1   git/log {"n": 1}\n'
        "  00:00:06.000  tool.completed      turn 1   git/log: ok in 7 ms: one\n"
        "  00:00:07.000  run.failed                   max_turns: 1 turn is the limit\n"
    )
    main.then(Say(body=failed), *pages)
    assert aos(["show", "r1", "--json", "--url", main.url]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": failed, "events": EVENTS}


def test_tail_follows_a_stream_that_is_cut_without_a_gap_or_a_double(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    delta = _event(3, "message.delta", 1, text="He") | {"id": "3.1.1"}
    main.then(stream(EVENTS[:3]), stream([delta]), CUT, stream(EVENTS[3:]))
    main.then(Say(body={**RUN, "status": "failed"}))
    assert aos(["tail", "r1", "--json", "--url", main.url]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [*EVENTS[:3], delta, *EVENTS[3:]]
    asked = [seen.headers.get("last-event-id") for seen in main.seen]
    assert asked == [None, "3", "3.1.1", "3.1.1", None]


def test_tail_of_a_run_without_more_events_ends(main: StubMain) -> None:
    main.then(Say(body=b"", status=204), Say(body=RUN))
    assert aos(["tail", "r1", "--url", main.url]) == 0


def test_tail_without_a_run_prints_runs_as_they_change(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    going = {**RUN, "status": "in_progress"}
    main.then(Say(body={"items": [going], "next": None}), Say(body={"items": [], "next": None}))
    main.then(Say(body=RUN))
    assert aos(["tail", "--json", "--timeout", "1", "--url", main.url]) == 0
    shown = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["in_progress", "completed"]


def test_replay_prints_the_new_run(main: StubMain, capsys: pytest.CaptureFixture[str]) -> None:
    main.then(Say(status=202, body={**RUN, "run_id": "r2", "status": "queued"}))
    assert aos(["replay", "r1", "--url", main.url]) == 0
    assert capsys.readouterr().out == "r2 (queued)\n"
    [seen] = main.seen
    assert (seen.method, seen.path) == ("POST", "/api/runs/r1/replay")


def test_dead_letters_are_listed_with_what_to_do(
    main: StubMain, capsys: pytest.CaptureFixture[str]
) -> None:
    item = {
        "entity": "aos-main",
        "sequence_number": 7,
        "reason": "expired",
        "advice": "replay it",
    }
    main.then(Say(body={"items": [item], "next": None}))
    assert aos(["dead-letters", "--entity", "aos-main", "--url", main.url]) == 0
    assert capsys.readouterr().out == "aos-main 7: expired; replay it\n"
    assert main.seen[0].path == "/api/dead-letters?entity=aos-main"
