"""Writes what a run asks a person as AG-UI interrupts, and reads the answers. Entry points:
`make_interrupts`, `read_answers`.

AG-UI ends a run that asks, and the next one brings the answers. A run of AOS goes on instead. The
id of an interrupt names the run, what is asked, and the event up to which the client was told; so
nothing has to be remembered between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.tools.questions import AnswerAction
from aos.domain.tools.tool import Verdict
from aos.entrypoints.http.ag_ui.inputs import ResumeEntry
from aos.entrypoints.ids import parse_run_id
from aos.errors import Refused

Kind: TypeAlias = Literal["approval", "question"]
_APPROVAL_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person is asked: a decision about a tool call, or a tool's question."""

    kind: Kind
    ask_id: str
    """The id of the tool call, or of the question."""
    data: Mapping[str, Any]
    """The event's data."""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in its run."""
        return self.kind, self.ask_id

    @property
    def is_of_client(self) -> bool:
        """Whether it is a call of a tool of the application, and no person is asked."""
        return bool(self.data.get("client_tool"))


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to one interrupt."""

    kind: Kind
    run_id: str
    ask_id: str
    told: EventId
    entry: ResumeEntry

    @property
    def key(self) -> tuple[str, str]:
        """What it answers in its run."""
        return self.kind, self.ask_id

    @property
    def verdict(self) -> tuple[Verdict, str]:
        """The decision about a tool call, and its reason. Raises Refused `invalid_request`."""
        if self.entry.status == "cancelled":
            return "deny", ""
        payload = self.entry.payload
        approved = payload.get("approved") if isinstance(payload, dict) else payload
        if not isinstance(approved, bool):
            raise _refuse(self.entry, 'payload has no decision; write {"approved": true} or false')
        reason = payload.get("reason", "") if isinstance(payload, dict) else ""
        if not isinstance(reason, str) or len(reason) > 1024:
            raise _refuse(self.entry, "payload.reason is not a text of at most 1,024 characters")
        return ("approve" if approved else "deny"), reason

    @property
    def reply(self) -> tuple[AnswerAction, Mapping[str, Any] | None]:
        """The answer to a tool's question. Raises Refused `invalid_request`."""
        if self.entry.status == "cancelled":
            return "cancel", None
        if (self.entry.metadata or {}).get("action") == "decline":
            return "decline", None
        payload = self.entry.payload
        if payload is not None and not isinstance(payload, dict):
            return "accept", {}  # the question's own rules say what is missing
        return "accept", payload


def read_ask(event: RunEvent) -> Ask | None:
    """Return what the event asks a person; None for another event."""
    if event.type == "approval.requested":
        return Ask("approval", str(event.data["tool_call_id"]), event.data)
    if event.type == "input.requested":
        return Ask("question", str(event.data["question_id"]), event.data)
    return None


def read_closed(event: RunEvent) -> tuple[str, str] | None:
    """Return the key of what is not asked any more after this event; None for another event."""
    if event.type == "approval.decided":
        return "approval", str(event.data["tool_call_id"])
    if event.type == "input.answered":
        return "question", str(event.data["question_id"])
    return None


def make_interrupts(asks: Iterable[Ask], *, run_id: str, told: str) -> list[dict[str, Any]]:
    """Return the interrupts of what is asked. `told`: the id of the last event that was told."""
    return [_make_interrupt(ask, f"{ask.kind}:{run_id}:{ask.ask_id}:{told}") for ask in asks]


def read_answers(entries: Sequence[ResumeEntry]) -> list[Answered]:
    """Return the answers, all of one run. Raises Refused `invalid_request`."""
    answers = [_read_answer(entry) for entry in entries]
    if len({answer.run_id for answer in answers}) > 1:
        raise Refused(
            "invalid_request",
            "resume answers interrupts of different runs; answer those of the thread's last run",
            field="resume",
        )
    return answers


def _make_interrupt(ask: Ask, interrupt_id: str) -> dict[str, Any]:
    name = str(ask.data["name"])
    made: dict[str, Any] = {
        "id": interrupt_id,
        "toolCallId": ask.data["tool_call_id"],
        "expiresAt": ask.data["expires_at"],
    }
    if ask.kind == "approval":
        return {
            **made,
            "reason": "tool_call",
            "message": f"May the agent call {name}?",
            "responseSchema": dict(_APPROVAL_SCHEMA),
            "metadata": {"name": name, "arguments": ask.data["arguments"]},
        }
    schema = ask.data.get("requested_schema")
    url = ask.data.get("url")
    return {
        **made,
        "reason": "input_required",
        "message": ask.data["message"],
        **({} if schema is None else {"responseSchema": schema}),
        "metadata": {"name": name, **({} if url is None else {"url": url})},
    }


def _read_answer(entry: ResumeEntry) -> Answered:
    kind, _, rest = entry.interruptId.partition(":")
    given_run, _, rest = rest.partition(":")
    ask_id, _, told = rest.rpartition(":")
    run_id, position = parse_run_id(given_run), EventId.parse(told)
    if kind not in ("approval", "question") or run_id is None or not ask_id or position is None:
        raise _refuse(entry, "is not the id of an interrupt of AOS; write the id that it has")
    return Answered(
        "approval" if kind == "approval" else "question", run_id, ask_id, position, entry
    )


def _refuse(entry: ResumeEntry, says: str) -> Refused:
    return Refused(
        "invalid_request",
        f"resume, interruptId {entry.interruptId[:120]!r}: {says}",
        field="resume",
    )
