"""The text of messages in pieces: nothing twice, nothing missing, and a new beginning is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aos.domain.runs.run_events import RunEvent, RunEventType
from aos.entrypoints.http.message_text import MessageText, Piece

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def event(kind: RunEventType, turn: int = 1, **data: Any) -> RunEvent:
    return RunEvent(id="1", type=kind, time=NOW, turn=turn, data=data)


def attempt(turn: int = 1) -> RunEvent:
    return event("attempt.started", turn)


def delta(text: str, turn: int = 1) -> RunEvent:
    return event("message.delta", turn, text=text)


def completed(content: str, turn: int = 1) -> RunEvent:
    return event("message.completed", turn, content=content)


def read(*events: RunEvent) -> list[Piece]:
    text = MessageText()
    return [piece for item in events if (piece := text.read(item)) is not None]


def test_pieces_are_told_as_they_come_and_the_message_ends_them() -> None:
    assert read(attempt(), delta("Sell"), delta(" now"), completed("Sell now.")) == [
        Piece(turn=1, text="Sell"),
        Piece(turn=1, text=" now"),
        Piece(turn=1, text=".", is_last=True),
    ]


def test_a_message_without_pieces_is_told_whole() -> None:
    assert read(completed("Sell.")) == [Piece(turn=1, text="Sell.", is_last=True)]


def test_an_attempt_that_says_the_same_again_is_told_from_where_the_first_ended() -> None:
    assert read(
        attempt(), delta("Sell n"), attempt(), delta("Sel"), delta("l now"), completed("Sell now")
    ) == [
        Piece(turn=1, text="Sell n"),
        Piece(turn=1, text="ow"),
        Piece(turn=1, text="", is_last=True),
    ]


def test_an_attempt_that_says_something_else_begins_the_text_again() -> None:
    assert read(attempt(), delta("Sell"), attempt(), delta("Buy"), completed("Buy.")) == [
        Piece(turn=1, text="Sell"),
        Piece(turn=1, text="Buy", restarted=True),
        Piece(turn=1, text=".", is_last=True),
    ]


def test_a_message_that_is_shorter_than_what_was_told_begins_it_again() -> None:
    assert read(attempt(), delta("Sell all"), attempt(), completed("Sell")) == [
        Piece(turn=1, text="Sell all"),
        Piece(turn=1, text="Sell", restarted=True, is_last=True),
    ]


def test_each_turn_has_a_message_of_its_own() -> None:
    assert read(delta("One", 1), completed("One", 1), delta("Two", 2), completed("Two", 2)) == [
        Piece(turn=1, text="One"),
        Piece(turn=1, text="", is_last=True),
        Piece(turn=2, text="Two"),
        Piece(turn=2, text="", is_last=True),
    ]
