"""Turns the events of a run into the updates of a task's stream. Entry point: `TaskUpdates.read`.

Text of the model is a chunk of the artifact. A model that is asked again replaces what it wrote
before (`append` false), and so does a later turn. The last chunk ends the artifact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.runs.run_events import RunEvent
from aos.entrypoints.http.a2a.asks import Ask
from aos.entrypoints.http.a2a.tasks import (
    AOS,
    INPUT_REQUIRED,
    WORKING,
    write_artifact,
    write_asks,
    write_error,
    write_message,
    write_output,
    write_time,
)
from aos.entrypoints.http.message_text import MessageText, Piece

_ENDS = {
    "run.completed": "TASK_STATE_COMPLETED",
    "run.failed": "TASK_STATE_FAILED",
    "run.timed_out": "TASK_STATE_FAILED",
    "run.cancelled": "TASK_STATE_CANCELED",
}


class TaskUpdates:
    """The updates of one task, as they are told to one client.

    `whole_output`: the output comes at once when the run has ended, because it is data.
    """

    def __init__(
        self, request: AdmittedRequest, *, whole_output: bool = False, as_text: bool = False
    ) -> None:
        self._request = request
        self._whole_output = whole_output
        self._as_text = as_text
        self._text = MessageText()
        self._turn = 0
        self._told = ""
        self._is_complete = False
        self._asks: dict[str, Ask] = {}
        self.state = "TASK_STATE_SUBMITTED"

    @property
    def asks(self) -> list[Ask]:
        """What people are asked and have not answered."""
        return list(self._asks.values())

    @property
    def told(self) -> list[dict[str, Any]]:
        """The artifact as far as it was told."""
        return [write_artifact([{"text": self._told}])] if self._told else []

    def forget(self, answered: Collection[str]) -> None:
        """Leave out what was answered just now: its events come later."""
        self._asks = {name: ask for name, ask in self._asks.items() if name not in answered}
        if self.state == INPUT_REQUIRED and not self._asks:
            self.state = WORKING

    def needs_run(self, event: RunEvent) -> bool:
        """Whether `read` needs the ended run, whose output was not told in events."""
        return event.type == "run.completed" and not self._is_complete

    def read(self, event: RunEvent, run: Run | None = None) -> list[dict[str, Any]]:
        """Return the updates that an event means, as objects `StreamResponse`."""
        match event.type:
            case "run.started" | "run.retrying":
                return self._change(WORKING, event, self._describe_retry(event))
            case "attempt.started" | "message.delta" | "message.completed":
                return self._read_text(event)
            case "approval.requested" | "input.requested":
                ask = Ask.of_event(event)
                self._asks[ask.id] = ask
                return self._tell_asks(event) if self.state == INPUT_REQUIRED else []
            case "run.waiting" if self._asks:
                return self._tell_asks(event)
            case "approval.decided" | "input.answered":
                name = "tool_call_id" if event.type == "approval.decided" else "question_id"
                self._asks.pop(str(event.data.get(name)), None)
                return self._tell_asks(event) if self._asks else self._change(WORKING, event)
            case kind if kind in _ENDS:
                return self._end(event, run)
        return []

    def _read_text(self, event: RunEvent) -> list[dict[str, Any]]:
        piece = self._text.read(event)
        if piece is None or self._whole_output:
            return []
        if piece.is_last and event.data.get("tool_calls"):  # not the output
            return self._change(WORKING, event, str(event.data.get("content") or ""))
        return self._tell_piece(piece)

    def _tell_piece(self, piece: Piece) -> list[dict[str, Any]]:
        goes_on = piece.turn == self._turn and not piece.restarted and bool(self._told)
        self._turn = piece.turn
        self._told = f"{self._told}{piece.text}" if goes_on else piece.text
        self._is_complete = piece.is_last
        return [self._write_chunk([{"text": piece.text}], append=goes_on, last=piece.is_last)]

    def _tell_asks(self, event: RunEvent) -> list[dict[str, Any]]:
        request = self._request
        message = write_asks(request.run_id, request.conversation_id, self.asks)
        return self._write_state(INPUT_REQUIRED, event, message)

    def _end(self, event: RunEvent, run: Run | None) -> list[dict[str, Any]]:
        self._asks.clear()
        told: list[dict[str, Any]] = []
        if run is not None:
            parts = write_output(run, as_text=self._as_text)
            told = [self._write_chunk(parts, append=False, last=True)] if parts else []
        error: Mapping[str, Any] | None = event.data.get("error")
        request = self._request
        message = (
            None if error is None else write_error(request.run_id, request.conversation_id, error)
        )
        usage = event.data.get("usage")
        return told + self._write_state(
            _ENDS[event.type],
            event,
            message,
            metadata=None if usage is None else {AOS: {"usage": usage}},
        )

    def _change(self, state: str, event: RunEvent, says: str = "") -> list[dict[str, Any]]:
        """Return the update for a state; none where nothing changes and nothing is said."""
        if state == self.state and not says:
            return []
        request = self._request
        message = write_message(
            f"{request.run_id}:event-{event.id}",
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            parts=[{"text": says}],
        )
        return self._write_state(state, event, message if says else None)

    def _describe_retry(self, event: RunEvent) -> str:
        return str(event.data.get("reason") or "") if event.type == "run.retrying" else ""

    def _write_state(
        self,
        state: str,
        event: RunEvent,
        message: dict[str, Any] | None = None,
        *,
        metadata: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        self.state = state
        status: dict[str, Any] = {"state": state, "timestamp": write_time(event.time)}
        if message is not None:
            status["message"] = message
        update: dict[str, Any] = {**self._ids, "status": status}
        if metadata is not None:
            update["metadata"] = metadata
        return [{"statusUpdate": update}]

    def _write_chunk(
        self, parts: list[dict[str, Any]], *, append: bool, last: bool
    ) -> dict[str, Any]:
        update = {"artifact": write_artifact(parts), "append": append, "lastChunk": last}
        return {"artifactUpdate": {**self._ids, **update}}

    @property
    def _ids(self) -> dict[str, str]:
        return {"taskId": self._request.run_id, "contextId": self._request.conversation_id}
