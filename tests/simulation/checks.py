"""What must hold in every simulated world, and when is it looked at?

After every write and every settlement the invariants of the road: while a conversation owes
anything, a command for its session is unsettled or scheduled; a run's pending row stands until its
end is fully delivered; nothing is sent that is not saved, and nothing leaves an outbox unsent; what
has ended changes no more. `tests.simulation.verdict` looks at the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import log2
from typing import TYPE_CHECKING, Any

from aos.adapters.memory import Kept
from aos.domain.codec import encode
from aos.domain.envelope import MCP_QUEUE, REALM_QUEUE, REQUESTS_QUEUE, CallTool, read_command
from aos.domain.retries import GIVE_UP_AT_DELIVERY
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import ParentRun, Run, run_id_for
from aos.domain.tools.commands import delegation_scope
from aos.domain.tools.tool import MessageCall, ToolCallRow, make_round_id
from tests.simulation.deletions import Deletions
from tests.simulation.tools import NO_ANSWER
from tests.simulation.versions import find_dropped

if TYPE_CHECKING:
    from tests.simulation.world import World

HANDFUL = 8
NUDGES = 3
"""So many StartRuns of one run may wait behind a handler that is slow, or dies again and again; one
more each time that the minutes since the session's first command have doubled, because the mender
waits twice as long each time."""
RESULTS = 16
"""So many results and decisions of one turn may wait, each as often as its call was repeated."""
WATCHES = 30
"""So many readers of a run may have said that they watch it, while its turn takes long."""
HELD_FOR = 10.0
"""What waits for the end of a pause comes again within this time. Where a copy was sent and its
original could not be completed, both come, and each starts the run."""
REPEAT_WINDOW = 600.0
SKEW = timedelta(seconds=21)


class Checks:
    """Watches every write and every message of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.failure: str | None = None
        self.replies: dict[str, list[bytes]] = defaultdict(list)
        self.first_reply: dict[str, float] = {}
        self.seen_at: dict[str, float] = {}
        self.published: set[str] = set()
        self.refused: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, Run] = {}
        self.asked_again: dict[str, float] = {}
        self._heads: dict[str, Conversation] = {}
        self._first_sent: dict[str, float] = {}
        self._unsent: dict[str, set[str]] = defaultdict(set)
        self._held: list[float] = []
        self._noted: set[str] = set()
        self._ever_saved: set[str] = set()
        self.results_sent: dict[str, float] = {}
        self._history: dict[str, list[Message]] = defaultdict(list)
        self.worn_out: set[str] = set()
        self.calls: dict[tuple[str, str], MessageCall] = {}
        self.deletions = Deletions(world)
        self._cancels_moved: dict[str, float] = {}

    def fail(self, text: str) -> None:
        """Keep the first thing that does not hold, and stop the world."""
        if self.failure is None:
            self.failure = text
            self._world.story.events.append((self._world.loop.seconds, "CHECK", "✗✗✗", text))
        self._world.loop.stopped = True

    def is_refused(self, run_id: str) -> bool:
        """Whether the row stands for a delegation that was turned down."""
        return self._world.admitted[run_id].refusal is not None

    def is_scrubbed(self, run_id: str) -> bool:
        """Whether the run was deleted with its conversation, and its rows scrubbed."""
        return run_id in self.deletions.scrubbed

    def tell_watchers(self, operation: str, key: str) -> None:
        """A row was written."""
        tables = self._world.tables
        match operation:
            case "conversations.save":
                self._saved(key)
            case "requests.insert":
                if key not in tables.pending and not self.is_refused(key):
                    self.fail(f"request row {key} was inserted and has no pending row")
            case "pending.drop":
                owed = key in tables.requests and not self.is_refused(key)
                if owed and not self._delivered(key):
                    self.fail(f"pending row of {key} was dropped before its end was delivered")
            case "pending.move":
                self._cancels_moved[key] = self._world.loop.seconds
            case "ledger.record":
                self.seen_at[key] = self._world.loop.seconds
                self._noted.add(key)
            case "ledger.note_sent":  # what is missing is mended: the pending row stands
                self._noted.add(key)

    def message(self, what: str, kept: Kept) -> None:
        """A message was sent or settled."""
        if what == "send":
            self._sent(kept)
        elif what == "dead_letter" and not self._world.letters.is_planned(kept):
            self.fail(f"{kept.message_id} was dead-lettered: {kept.reason}")
        elif what == "complete" and kept.entity == REALM_QUEUE:
            assert kept.session_id is not None
            self._owes_and_is_woken(kept.session_id)
        elif what == "complete" and kept.entity == MCP_QUEUE:
            self._call_completed(kept)
        elif what == "complete" and kept.entity == REQUESTS_QUEUE:
            self._request_completed(kept)

    def taken(self, kept: Kept) -> None:
        """A handler takes a message on."""
        if kept.session_id is not None and kept.deliveries >= GIVE_UP_AT_DELIVERY:
            self.worn_out.add(kept.session_id)
        if kept.entity == REQUESTS_QUEUE:
            self.asked_again[self._world.parse_run_id(kept)] = self._world.loop.seconds

    def cancel_accepted(self, run_id: str, *, since: float) -> None:
        """A caller was told that the cancellation is under way: then it must be."""
        world = self._world
        run, pending = self.ended.get(run_id), world.tables.pending.get(run_id)
        due = pending is not None and pending.next_check <= world.clock.now() + SKEW
        moved = self._cancels_moved.get(run_id, -1.0) >= since
        if run is None and not due and not moved and not world.cancel_commands.get(run_id):
            self.fail(f"cancel of {run_id} was accepted, but is neither sent nor due")

    def _delivered(self, run_id: str) -> bool:
        request, run = self._world.admitted[run_id], self.ended.get(run_id)
        return (
            run is not None
            and run_id in self.seen_at
            and run_id in self._world.tables.index
            and f"{run_id}:{run.status.value}" in self.published
            and (request.reply is None or bool(self.replies[run_id]))
            and self._parent_told(request.parent)
        )

    def _parent_told(self, parent: ParentRun | None) -> bool:
        return parent is None or f"{parent.run_id}:{parent.tool_call_id}" in self.results_sent

    def _saved(self, key: str) -> None:
        rows = self._world.tables.conversations[key]
        head, before = rows.head, self._heads.get(key)
        self._heads[key] = head
        dropped = find_dropped(before, head)
        if dropped is not None and not self.deletions.has_begun(key, head):
            self.fail(f"what a newer version wrote into {dropped} of {key} was dropped")
        self._outbox(key, head, before)
        self._history_grows(key, head)
        for run_id, run in rows.runs.items():
            known = self.ended.get(run_id)
            if known is None:
                if run.status.has_ended:
                    self.ended[run_id] = run
            elif known != run and not (self.is_scrubbed(run_id) and run == known.scrub()):
                self.fail(f"{run_id} had ended as {known.status} and is now {run.status}")
        self._owes_and_is_woken(key)

    def _outbox(self, key: str, head: Conversation, before: Conversation | None) -> None:
        unsent = self._unsent[key]
        now = {item.command.command_id for item in head.outbox}
        then = {item.command.command_id for item in before.outbox} if before else set()
        for command_id in then - now:
            if command_id in unsent and not self._is_told(command_id):
                self.fail(f"{command_id} left the outbox of {key} and was never sent")
        unsent |= now - then
        self._ever_saved |= now

    def _is_told(self, command_id: str) -> bool:
        """Whether main has noted the end of a run, which the mender has told it."""
        run_id, _, what = command_id.partition(":")
        return what == "ended" and run_id in self._noted

    def _history_grows(self, key: str, head: Conversation) -> None:
        messages, known = self._world.tables.conversations[key].messages, self._history[key]
        left = 0 if head.cleaning is None else head.cleaning.messages
        if self.deletions.has_begun(key, head):
            self._note_calls(key)
            known.clear()
        if len(messages) != head.next_sequence + left:
            self.fail(f"{key} has {len(messages)} messages, its head counts {head.next_sequence}")
        for sequence, message in enumerate(known):
            if messages[sequence] != message:
                self.fail(f"message {sequence} of {key} was overwritten")
        known.extend(
            messages[sequence]
            for sequence in range(len(known), head.next_sequence)
            if sequence in messages
        )

    def _note_calls(self, key: str) -> None:
        """Remember the tool calls of messages that are deleted."""
        for message in self._world.tables.conversations[key].messages.values():
            for call in message.tool_calls:
                self.calls[message.run_id, call.tool_call_id] = call

    def _owes_and_is_woken(self, key: str) -> None:
        rows = self._world.tables.conversations.get(key)
        if rows is None or not self._owes(rows.head):
            return
        for kept in self._world.broker.messages(REALM_QUEUE):
            if kept.session_id == key:
                return
        self.fail(f"conversation {key} owes something and no command will wake it")

    def _owes(self, head: Conversation) -> bool:
        """What was sent may stand in the head until the next save."""
        unsent = self._unsent[head.conversation_id]
        owed = {item.command.command_id for item in head.outbox} & unsent
        is_owed = any(not self._is_told(command_id) for command_id in owed)
        is_unclean = head.cleaning is not None and not self._is_looked_at_later(head)
        return bool(is_owed or head.active or head.queued or is_unclean)

    def _is_looked_at_later(self, head: Conversation) -> bool:
        """Whether a handler that has lost its lock may have found more to clean, after another one
        was done: it goes on, and if it dies, main looks at the deletion again."""
        deletion = ("deletion", head.conversation_id, head.deleted_at)
        noted = self._world.tables.due.values()
        return self._world.watching.locks_lost and any(
            (due.kind, due.name, due.about) == deletion for due in noted
        )

    def _sent(self, kept: Kept) -> None:
        assert kept.message_id is not None
        match kept.entity:
            case "aos-main":
                self._main_told(kept)
            case "aos-mcp":
                body = json.loads(kept.body)
                if "task_id" not in body:  # else mcp sends it to itself
                    self._was_saved(kept, body["conversation_id"])
            case "aos-realm":
                self._command_sent(kept)
            case "businessinfinity-responses":
                self._replied(kept)
            case "agent-events":
                self.published.add(kept.message_id)
            case "aos-requests" if self._world.pausing.holds_now and "aos_key" in kept.properties:
                self._held.append(self._world.loop.seconds)

    def _command_sent(self, kept: Kept) -> None:
        assert kept.session_id is not None
        assert kept.message_id is not None
        self._unsent[kept.session_id].discard(kept.message_id)
        run_id, _, what = kept.message_id.partition(":")
        if what.endswith(":result"):
            self._result_sent(kept)
        if what == "cancel":
            self._world.cancel_commands[run_id] = True
        waiting = [k for k in self._world.broker.messages(REALM_QUEUE) if not _copy(k)]
        mine = sum(k.session_id == kept.session_id for k in waiting)
        now = self._world.loop.seconds
        minutes = (now - self._first_sent.setdefault(kept.session_id, now)) / 60
        nudges = NUDGES + int(log2(1 + minutes))
        bound = HANDFUL + nudges * self._world.requests_in(kept.session_id)
        bound += RESULTS * self._world.scenario.has("tools", "delete", "watch", "tasks")
        bound += WATCHES * self._world.scenario.has("watch")
        bound += sum(now - at < HELD_FOR for at in self._held)
        bound += self._world.weather.copied[kept.message_id]
        if mine > bound:
            self.fail(f"a storm: {mine} commands wait in the session {kept.session_id}")

    def _main_told(self, kept: Kept) -> None:
        """A run's end, or something about a delegated run: saved before it was sent."""
        if "aos_postponed_from" in kept.properties:
            return  # an event that has to wait
        assert kept.message_id is not None
        body = json.loads(kept.body)
        if body["type"] == "DeliverNotification":
            self._world.letters.delivery_sent(kept, body)
            if body["run_id"] not in self.ended and body["event_type"].startswith("run."):
                self.fail(f"the end of {body['run_id']} is told before it was saved")
            return
        if body["type"] != "RunEnded":
            parent = body.get("parent", body)
            self._was_saved(kept, parent["conversation_id"])
            return
        run = body["run"]
        self._unsent[run["conversation_id"]].discard(kept.message_id)
        saved = self.ended.get(run["run_id"])
        if saved is None:
            self.fail(f"RunEnded of {run['run_id']} was sent before its end was saved")
        elif encode(saved) != run and not self._is_of_a_scrubbed_row(saved, run):
            self.fail(f"RunEnded of {run['run_id']} does not say what was saved")

    def _is_of_a_scrubbed_row(self, saved: Run, sent: object) -> bool:
        """The newer version of the simulation takes its fields from the run's row, which has lost
        them when the row was scrubbed."""
        return self.is_scrubbed(saved.run_id) and sent == encode(replace(saved, unknown={}))

    def _was_saved(self, kept: Kept, conversation_id: str) -> None:
        assert kept.message_id is not None
        self._unsent[conversation_id].discard(kept.message_id)
        if kept.message_id not in self._ever_saved:
            self.fail(f"{kept.message_id} was sent before it was saved")

    def _result_sent(self, kept: Kept) -> None:
        """A tool's result stands in its row, or is what the tool has answered and is being saved; a
        delegated run's is how it ended, or a refusal."""
        body = json.loads(kept.body)
        run_id, call_id = body["run_id"], body["tool_call_id"]
        self.results_sent.setdefault(f"{run_id}:{call_id}", self._world.loop.seconds)
        round_id = make_round_id(call_id, body.get("round_number", 0))
        row = self._world.tables.tool_calls.get((run_id, round_id))
        if row is not None:
            stands = None if row.result is None else encode(row.result)
            said = {n: body[n] for n in ("outcome", "content", "parts", "pause") if n in body}
            is_rest = self.is_scrubbed(run_id) and row == row.scrub()
            if stands != said and not is_rest and not self._has_answered(row, said):
                self.fail(f"the result of {call_id} was sent as {said}, what stands is {stands}")
            return
        owner = self._world.admitted[run_id].owner
        child = run_id_for(scope=delegation_scope(owner), key=f"{run_id}:{call_id}")
        if child not in self.ended and "the run was refused" not in body["content"]:
            self.fail(f"{call_id} of {run_id} got a result, and neither a tool nor a run says so")

    def _has_answered(self, row: ToolCallRow, said: Mapping[str, Any]) -> bool:
        """Whether the tool has answered this. The row may have no result yet, say that none is
        known, where its handler took too long, or have another answer to the same call, where that
        was made again."""
        if "pause" in said:
            return False
        answers = [it for it in self._world.box.results.values() if said["content"] in it]
        unanswered = row.result is None or row.result.outcome == "outcome_unknown"
        if unanswered or (row.result is not None and row.result.content == NO_ANSWER):
            return bool(answers)
        return any(row.result.content in contents for contents in answers)

    def _call_completed(self, kept: Kept) -> None:
        """The result of a call stands, or another message goes on with it."""
        command = read_command(kept.body)
        if not isinstance(command, CallTool) or self.is_scrubbed(command.run_id):
            return
        row = self._world.tables.tool_calls.get((command.run_id, command.row_id))
        if row is None or row.result is not None or row.task is not None:
            return
        waiting = (read_command(other.body) for other in self._world.broker.messages(MCP_QUEUE))
        if not any(other.command_id == command.command_id for other in waiting):
            self.fail(f"{command.command_id} was completed, and what it came to does not stand")

    def _replied(self, kept: Kept) -> None:
        assert kept.message_id is not None
        run_id, _, kind = kept.message_id.partition(":")
        now = self._world.loop.seconds
        if kind.startswith("refused"):
            self.refused[run_id] = json.loads(kept.body)
            return
        self.replies[run_id].append(kept.body)
        self.first_reply.setdefault(run_id, now)
        seen, again = self.seen_at.get(run_id), self.asked_again.get(run_id, -REPEAT_WINDOW)
        if seen is not None and now - seen > REPEAT_WINDOW / 2 and now - again > 2 * REPEAT_WINDOW:
            self.fail(f"{run_id} was answered again though its reply was recorded long ago")

    def _request_completed(self, kept: Kept) -> None:
        run_id = self._world.parse_run_id(kept)
        key = kept.build_received().key
        answered = run_id in self._world.tables.requests or run_id in self.refused
        if not answered and not any(
            other.build_received().key == key
            for other in self._world.broker.messages(REQUESTS_QUEUE)
        ):
            self.fail(f"queue request {key} was completed, but neither admitted nor refused")


def _copy(kept: Kept) -> bool:
    """Is it a duplicate that the simulation made?"""
    return kept.properties.get("sim_copy") is True
