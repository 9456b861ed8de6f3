"""What do the apps say to each other about runs?

The commands that begin, continue, cancel and end a run; `aos.domain.envelope` reads and addresses
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from aos.domain.command_fields import CommandFields, RequestFields
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run
from aos.domain.wire_time import to_wire_time


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun(RequestFields):
    """Main to realm: begin this admitted run (or, to a run that is known, do what is owed)."""

    type: Literal["StartRun"] = "StartRun"
    request: AdmittedRequest
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic: the same command has the same id however often it is sent."""
        return f"{self.request.run_id}:start"

    @property
    def run_id(self) -> str:
        """The run it is about."""
        return self.request.run_id

    @property
    def conversation_id(self) -> str:
        """The session it belongs to."""
        return self.request.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun(RequestFields):
    """Main to realm: end this run as `cancelled`; holds the whole StartRun, so may come first.

    `reason` is None when a caller asked for it, else the code of the error that the run ends with.
    """

    type: Literal["CancelRun"] = "CancelRun"
    request: AdmittedRequest
    reason: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.request.run_id}:cancel"

    @property
    def run_id(self) -> str:
        """The run it is about."""
        return self.request.run_id

    @property
    def conversation_id(self) -> str:
        """The session it belongs to."""
        return self.request.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueRun(CommandFields):
    """Realm to itself: do what this conversation still owes; `due` is when it was wanted for."""

    type: Literal["ContinueRun"] = "ContinueRun"
    run_id: str
    conversation_id: str
    due: datetime | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """Deterministic for a run and a moment."""
        return f"{self.run_id}:continue:{to_wire_time(self.due) or 'now'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(CommandFields):
    """Realm to main: this run has ended; holds all that main needs to answer."""

    type: Literal["RunEnded"] = "RunEnded"
    run: Run
    owner: str
    reply: ReplyAddress | None = None
    parent: ParentRun | None = None
    traceparent: str | None = None
    attempt: int = 0

    @classmethod
    def of(cls, request: AdmittedRequest, run: Run) -> RunEnded:
        """The end of a run, with what its request says about who is told."""
        return cls(
            run=run,
            owner=request.owner,
            reply=request.reply,
            parent=request.parent,
            traceparent=request.traceparent,
        )

    @property
    def command_id(self) -> str:
        """Deterministic."""
        return f"{self.run.run_id}:ended"

    @property
    def run_id(self) -> str:
        """The run it is about."""
        return self.run.run_id

    @property
    def conversation_id(self) -> str:
        """The conversation the run belongs to."""
        return self.run.conversation_id
