"""Reads the text of a run's messages from its events, for protocols that tell it in pieces. Entry
point: `MessageText.read`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aos.domain.runs.run_events import RunEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What comes next of a message's text.

    `restarted`: what was told of this message before does not count, and the text begins again with
    this piece. `is_last`: the message is complete. `begins`: nothing was told of it before.
    """

    turn: int
    text: str
    restarted: bool = False
    is_last: bool = False
    begins: bool = field(default=False, compare=False)


class MessageText:
    """The texts of one run's messages, as they are told to one client.

    A model that is asked again (after a fault or a kill) writes its message anew. As long as it
    writes what it wrote before, nothing is told twice; where it writes something else, the piece
    says so.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._told = ""
        self._written = ""

    @property
    def told(self) -> str:
        """What was told of the message of this turn."""
        return self._told

    def read(self, event: RunEvent) -> Piece | None:
        """Return what the event adds to a message; None if that is nothing."""
        if event.turn is not None and event.turn != self._turn:
            self._turn, self._told, self._written = event.turn, "", ""
        match event.type:
            case "attempt.started":
                self._written = ""
            case "message.delta":
                self._written += str(event.data.get("text", ""))
                return self._tell()
            case "message.completed":
                self._written = str(event.data.get("content", ""))
                return self._tell(is_last=True)
        return None

    def _tell(self, *, is_last: bool = False) -> Piece | None:
        told, written = self._told, self._written
        if written.startswith(told):
            self._told = written
            text = written[len(told) :]
            if not text and not is_last:
                return None
            return Piece(turn=self._turn, text=text, is_last=is_last, begins=not told)
        if told.startswith(written) and not is_last:
            return None
        self._told = written
        return Piece(turn=self._turn, text=written, restarted=True, is_last=is_last)
