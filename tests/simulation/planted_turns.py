"""Plants bugs in what a turn reads and writes. Entry point: `PLANTED_IN_TURNS`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryConversationStore, MemoryToolLedger
from aos.domain.envelope import CallTool, Outgoing, RealmCommand, RunEnded, ToolResult
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.tools.tool import ToolCallRow
from aos.ports.conversations import Loaded
from aos.services.execution.histories import Histories
from aos.services.execution.outbox import Outbox
from aos.services.execution.unit_of_work import UnitOfWork
from aos.services.execution.waiting_heads import WaitingHeads

Planted = Callable[[], contextlib.AbstractContextManager[Any]]


def row_of_a_new_run_overwritten() -> contextlib.AbstractContextManager[Any]:
    """The store writes the row of a run that realm takes for new, though there is one."""
    real = MemoryConversationStore._save

    def save(self: MemoryConversationStore, step: Step, etag: str | None, new: str | None) -> str:
        return real(self, step, etag, None)

    return patch.object(MemoryConversationStore, "_save", save)


def head_of_a_new_conversation_overwritten() -> contextlib.AbstractContextManager[Any]:
    """The store writes the head of a conversation that realm takes for new, though there is one."""
    real = MemoryConversationStore._save

    def save(self: MemoryConversationStore, step: Step, etag: str | None, new: str | None) -> str:
        rows = self._tables.conversations.get(step.conversation.conversation_id)
        if etag is None and rows is not None:
            return real(self, step, rows.etag, None)
        return real(self, step, etag, new)

    return patch.object(MemoryConversationStore, "_save", save)


def end_noted_before_it_is_sent() -> contextlib.AbstractContextManager[Any]:
    """Realm takes an end for sent when it begins to send it."""
    real = Outbox._send

    async def send(self: Outbox, outgoing: Outgoing) -> None:
        if isinstance(outgoing.command, RunEnded):
            self._sent[outgoing.command.command_id] = None
        await real(self, outgoing)

    return patch.object(Outbox, "_send", send)


def sent_outbox_stays() -> contextlib.AbstractContextManager[Any]:
    """Realm leaves every outbox in the head, whatever it holds and whoever has sent it, and knows
    of the ends of runs alone that they were delivered."""
    empty, is_known = UnitOfWork.empty_outbox, Outbox._is_delivered

    def empty_outbox(self: UnitOfWork, *, stays: bool) -> None:
        empty(self, stays=True)

    async def is_delivered(self: Outbox, outgoing: Outgoing, *given: Any, **more: Any) -> bool:
        return isinstance(outgoing.command, RunEnded) and await is_known(
            self, outgoing, *given, **more
        )

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Conversation, "may_keep_outbox", property(lambda self: True)))
    stack.enter_context(patch.object(UnitOfWork, "empty_outbox", empty_outbox))
    stack.enter_context(patch.object(Outbox, "_is_delivered", is_delivered))
    return stack


def outbox_of_another_is_sent() -> contextlib.AbstractContextManager[Any]:
    """Realm takes the outbox that it finds in a head for sent."""

    async def send_found(self: Outbox, unit: UnitOfWork, **more: Any) -> None:
        unit.empty_outbox(stays=True)

    return patch.object(Outbox, "send_found", send_found)


def calls_noted_before_they_are_sent() -> contextlib.AbstractContextManager[Any]:
    """Realm takes the calls of tools for sent when it begins to send them."""
    real = Outbox._send

    async def send(self: Outbox, outgoing: Outgoing) -> None:
        if isinstance(outgoing.command, CallTool):
            self._sent[outgoing.command.command_id] = None
        await real(self, outgoing)

    return patch.object(Outbox, "_send", send)


def remembered_head_judges_every_result() -> contextlib.AbstractContextManager[Any]:
    """Realm goes on from the head that it remembers, also where that does not wait for the
    result."""

    def take(self: WaitingHeads, command: RealmCommand, *, is_first: bool) -> Loaded | None:
        known = self._known.get(command.conversation_id)
        if known is None or not isinstance(command, ToolResult):
            return None
        return Loaded(conversation=known.head, etag=known.etag)

    return patch.object(WaitingHeads, "take", take)


def history_of_another_head() -> contextlib.AbstractContextManager[Any]:
    """Realm takes what it remembers of a history for the history, whatever the head's ETag is."""

    async def read(
        self: Histories, name: str, *, etag: str, before: int, limit: int
    ) -> Sequence[Message]:
        known = self._known.get(name)
        if known is not None:
            return known.messages
        return await real(self, name, etag=etag, before=before, limit=limit)

    real = Histories.read
    return patch.object(Histories, "read", read)


def unsaved_results_not_shown() -> contextlib.AbstractContextManager[Any]:
    """The model is asked before the results of its tools are saved, and is not shown them."""
    return patch.object(UnitOfWork, "unsaved_messages", property(lambda self: ()))


def row_of_a_new_call_overwritten() -> contextlib.AbstractContextManager[Any]:
    """The ledger writes the row of a call that mcp takes for new, though there is one."""
    real = MemoryToolLedger._write

    def write(self: MemoryToolLedger, row: ToolCallRow, operation: str) -> ToolCallRow:
        found = self._tables.tool_calls.get((row.run_id, row.tool_call_id))
        if row.etag is None and found is not None:
            row = replace(row, etag=found.etag)
        return real(self, row, operation)

    return patch.object(MemoryToolLedger, "_write", write)


PLANTED_IN_TURNS: dict[str, Planted] = {
    "row_of_a_new_run_overwritten": row_of_a_new_run_overwritten,
    "head_of_a_new_conversation_overwritten": head_of_a_new_conversation_overwritten,
    "end_noted_before_it_is_sent": end_noted_before_it_is_sent,
    "sent_outbox_stays": sent_outbox_stays,
    "outbox_of_another_is_sent": outbox_of_another_is_sent,
    "calls_noted_before_they_are_sent": calls_noted_before_they_are_sent,
    "remembered_head_judges_every_result": remembered_head_judges_every_result,
    "row_of_a_new_call_overwritten": row_of_a_new_call_overwritten,
    "history_of_another_head": history_of_another_head,
    "unsaved_results_not_shown": unsaved_results_not_shown,
}
"""These bugs by their names on the command line."""
