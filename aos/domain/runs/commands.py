"""Defines the commands that start, watch, continue, cancel and end a run, tell of it, or delete a
conversation. Entry points: `StartRun`, `RunEnded`, `DeliverNotification`, `DeleteConversation`.

The fields of a class are the fields of its JSON object, in their order. `aos.domain.command_fields`
adds those that all commands have; `aos.domain.envelope` reads and addresses commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aos.domain.codec import OMITTED
from aos.domain.command_fields import CommandFields, RequestFields
from aos.domain.notify import Notify
from aos.domain.runs.run import AdmittedRequest, ParentRun, ReplyAddress, Run
from aos.domain.wire_time import to_wire_time


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun(RequestFields):
    """Main to realm: start this admitted run. If realm knows the run, it continues it."""

    type: Literal["StartRun"] = "StartRun"
    request: AdmittedRequest
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:start"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun(RequestFields):
    """Main to realm: end this run as `cancelled`; holds the whole StartRun, so may come first.

    `reason` is None when a caller cancelled the run, else the code of the error of its end.
    """

    type: Literal["CancelRun"] = "CancelRun"
    request: AdmittedRequest
    reason: str | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueRun(CommandFields):
    """Realm to itself: continue this conversation; `due` is the time it was scheduled for."""

    type: Literal["ContinueRun"] = "ContinueRun"
    run_id: str
    conversation_id: str
    due: datetime | None = None
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it for the same time has."""
        return f"{self.run_id}:continue:{to_wire_time(self.due) or 'now'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRun(CommandFields):
    """Main to realm: somebody reads the events of this run; stream the model's text until `until`.

    It changes nothing if the run is not of this conversation, or has ended.
    """

    type: Literal["WatchRun"] = "WatchRun"
    run_id: str
    conversation_id: str
    until: datetime
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it for the same time has."""
        return f"{self.run_id}:watch:{to_wire_time(self.until)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDeltas(CommandFields):
    """Realm to itself, some minutes after the end of a watched run: remove its provisional
    events."""

    type: Literal["RemoveDeltas"] = "RemoveDeltas"
    run_id: str
    conversation_id: str
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run_id}:remove-deltas"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteConversation(CommandFields):
    """Main to realm: delete this conversation, as it was at `deleted_at`.

    With `unused`, only if nothing happened in it after `deleted_at`. It is about no run: its
    `run_id` is the conversation's id. `first_run_id` is the run that begins the conversation, if
    realm had not seen it: this command may come before its StartRun. `again`: an hour later, look
    for rows that were written while the conversation was deleted.
    """

    type: Literal["DeleteConversation"] = "DeleteConversation"
    conversation_id: str
    deleted_at: datetime
    unused: bool = field(default=False, metadata=OMITTED)
    first_run_id: str | None = field(default=None, metadata=OMITTED)
    again: bool = field(default=False, metadata=OMITTED)
    attempt: int = 0

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it for the same time has."""
        again = ":again" if self.again else ""
        return f"{self.conversation_id}:delete:{to_wire_time(self.deleted_at)}{again}"

    @property
    def run_id(self) -> str:
        """The conversation: the command is about no run."""
        return self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(CommandFields):
    """Realm to main: this run has ended. It holds all that main needs for the reply."""

    type: Literal["RunEnded"] = "RunEnded"
    run: Run
    owner: str
    reply: ReplyAddress | None = None
    parent: ParentRun | None = None
    traceparent: str | None = None
    attempt: int = 0
    notify: Notify | None = field(default=None, metadata=OMITTED)

    @classmethod
    def of(cls, request: AdmittedRequest, run: Run) -> RunEnded:
        """The end of a run, with the reply address and the parent of its request."""
        return cls(
            run=run,
            owner=request.owner,
            reply=request.reply,
            parent=request.parent,
            traceparent=request.traceparent,
            notify=request.notify,
        )

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of it has."""
        return f"{self.run.run_id}:ended"

    @property
    def run_id(self) -> str:
        """The run that the command is about."""
        return self.run.run_id

    @property
    def conversation_id(self) -> str:
        """The conversation of the run."""
        return self.run.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverNotification(CommandFields):
    """Main or realm to main: send this event of a run to the receiver that the run names.

    `data` None: the data is the ended run, which main reads when it sends, so that a message that
    waits for a day holds no text of the run. `failures` counts failed tries, `since` is the time of
    the first. `given_up` says why AOS does not try any more: the message becomes a dead letter, and
    its replay begins anew. With `push_id` it is a push notification of A2A to this receiver of the
    task; the payload is made when it is sent.
    """

    type: Literal["DeliverNotification"] = "DeliverNotification"
    run_id: str
    conversation_id: str
    agent_id: str
    event_id: str
    event_type: str
    time: datetime
    notify: Notify
    data: dict[str, Any] | None = field(default=None, metadata=OMITTED)
    failures: int = 0
    since: datetime | None = None
    traceparent: str | None = None
    attempt: int = 0
    given_up: str = field(default="", metadata=OMITTED)
    push_id: str = field(default="", metadata=OMITTED)

    @property
    def delivery_id(self) -> str:
        """The id that the receiver gets with every try, by which it knows a repeat."""
        return f"{self.event_id}:{self.push_id}" if self.push_id else self.event_id

    @property
    def command_id(self) -> str:
        """The id of the command, which every copy of the same try has."""
        number = "given-up" if self.given_up else self.failures
        return f"{self.delivery_id}:notify:{number}"
