"""Says what a client asks where a run waits for a person. Entry point: `PeopleOperations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from aos.client.flows import Flow, Json, Listing, Operation
from aos.client.paths import make_run_path, quote_part
from aos.client.wire import MAX_ITEMS, Call, Sender
from aos.domain.json_writer import write_json


class PeopleOperations:
    """Approvals of tool calls, and answers to questions of tools."""

    _sender: Sender

    @Listing
    def approvals(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List the tool calls that wait for the caller's decision, oldest first."""
        return self._sender.read_pages("/api/approvals", limit)

    @Operation
    def decide(
        self, run_id: str, tool_call_id: str, decision: Literal["approve", "deny"], reason: str = ""
    ) -> Flow[Json]:
        """Decide about a tool call, once.

        Raises AosClientError `already_decided`. A call whose answer was lost is not repeated:
        `approvals` tells whether the tool call still waits.
        """
        return self._decide(run_id, tool_call_id, decision, reason)

    @Operation
    def approve(self, run_id: str, tool_call_id: str) -> Flow[Json]:
        """Let a tool call be made; see `decide`."""
        return self._decide(run_id, tool_call_id, "approve", "")

    @Operation
    def deny(self, run_id: str, tool_call_id: str, reason: str = "") -> Flow[Json]:
        """Refuse a tool call; the model reads `reason`. See `decide`."""
        return self._decide(run_id, tool_call_id, "deny", reason)

    @Listing
    def questions(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List the questions of tools that wait for the caller's answer, oldest first."""
        return self._sender.read_pages("/api/questions", limit)

    @Operation
    def answer(
        self,
        run_id: str,
        question_id: str,
        content: Mapping[str, Any] | None = None,
        *,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Flow[Json]:
        """Answer a tool's question, once; `content` is the form, filled in.

        Raises AosClientError `already_answered`, or `invalid_request` for content that does not fit
        the form. A call whose answer was lost is not repeated: `questions` tells whether the
        question still waits.
        """
        body = {"action": action} if content is None else {"action": action, "content": content}
        call = Call(
            method="POST",
            path=f"{make_run_path(run_id)}/questions/{quote_part(question_id)}",
            body=write_json(body).encode(),
            headers={"Content-Type": "application/json"},
            repeatable=False,
        )
        return self._sender.ask(call)

    def _decide(self, run_id: str, tool_call_id: str, decision: str, reason: str) -> Flow[Json]:
        call = Call(
            method="POST",
            path=f"{make_run_path(run_id)}/approvals/{quote_part(tool_call_id)}",
            body=write_json({"decision": decision, "reason": reason}).encode(),
            headers={"Content-Type": "application/json"},
            repeatable=False,
        )
        return self._sender.ask(call)
