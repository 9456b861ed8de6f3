"""Who asks, repeats, cancels and edits cards, in the simulation?

Clients live outside of the apps: a call to an instance that dies is a cut connection, and is tried
again with the same key, as an answer 503 is.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aos.domain.cards.identity import CardKind
from aos.domain.envelope import REQUESTS_QUEUE
from aos.domain.runs.run import run_id_for
from aos.domain.tools.questions import AnswerAction, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Verdict
from aos.entrypoints.bus.senders import OWNERS
from aos.errors import Refused, StaleWrite, TransientError
from aos.services.admission import Caller
from tests.simulation import waking
from tests.simulation.apps import MainApp
from tests.simulation.asks import Ask, over_http
from tests.simulation.budgets import CAP
from tests.simulation.deletions import Deleted
from tests.simulation.receivers import NOTIFY
from tests.simulation.requests import Kind, Planned
from tests.simulation.scenario import Deletion, Edit
from tests.simulation.tools import SERVER

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
CARDS = {
    "ceo": {"agent_id": "ceo", "purpose": "Lead."},
    "hasty": {"agent_id": "hasty", "purpose": "Be quick.", "limits": {"run_timeout_seconds": 90}},
    "tuned": {"agent_id": "tuned", "purpose": "Be special.", "adapter_name": "not-served"},
}
WITH_TOOLS: dict[str, dict[str, Any]] = {
    "tooled": {
        "agent_id": "tooled",
        "purpose": "Use tools.",
        "mcp_tools": [
            "box/look",
            "box/put",
            {"server": "box", "tools": ["guarded"], "approval": "always"},
            "box/asks",
        ],
        "limits": {"approval_timeout_seconds": 600},
    },
    "lead": {
        "agent_id": "lead",
        "agent_type": "LeadershipAgent",
        "purpose": "Lead.",
        "team": ["ceo", "tooled", "gone"],
    },
}
WITH_TASKS: dict[str, dict[str, Any]] = {
    "tasked": {
        "agent_id": "tasked",
        "purpose": "Begin tasks.",
        "mcp_tools": ["box/long", "box/look"],
        "limits": {"run_timeout_seconds": 600},
    },
}
BY_KIND: dict[Kind, dict[str, dict[str, Any]]] = {
    "wake": waking.CARDS,
    "tools": WITH_TOOLS,
    "budget": {
        "thrifty": {
            "agent_id": "thrifty",
            "purpose": "Spend little.",
            "limits": {"max_tokens_per_day": CAP},
        }
    },
    "delete": WITH_TOOLS,
    "watch": WITH_TOOLS,
    "tasks": WITH_TASKS,
    "age": waking.AGING,
    "reject": {"single": {"agent_id": "single", "purpose": "One by one.", "on_busy": "reject"}},
}
"""Cards that only worlds of a kind have."""
TASKS = ("1", "4", "6", "7", "9")
"""Ends of the names of requests that are tasks of A2A, with a receiver of push notifications."""
TRIES = 6
DELETED_MEANWHILE = 0.4


class CutConnection(Exception):
    """The instance died while it worked for the caller."""


class Clients:
    """Everybody outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        self._cards: dict[str, dict[str, Any]] = dict(CARDS)
        for kind, cards in BY_KIND.items():
            if world.scenario.has(kind):
                self._cards |= cards
        self.came: dict[str, float] = {}
        self.keyless: dict[str, Ask] = {}
        """Requests without a key, whose run ids are known when they are admitted."""
        self.decided: dict[tuple[str, str], int] = {}
        self.answered: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Publish the first cards, then let the clients come."""
        world = self._world
        self._publish_first()
        for planned in world.scenario.requests:
            world.loop.call_later(planned.at, self._come, planned)
        for deletion in world.scenario.deletions:
            delete = partial(self._delete, deletion)
            world.loop.call_later(deletion.at, self._later, delete)
        for edit in world.scenario.edits:
            world.loop.call_later(edit.at, self._later, partial(self._edit, edit))

    def _publish_first(self) -> None:
        world = self._world
        app = world.living(MainApp)[0]

        async def publish() -> None:
            for agent_id, card in self._cards.items():
                await app.ports.config.write(f"agents/{agent_id}.json", json.dumps(card).encode())
            await app.ports.config.write("mcp-servers/box.json", json.dumps(SERVER).encode())
            await app.services.publish()

        task = world.loop.create_task(publish())
        world.loop.run_to(60.0)
        task.result()

    def _come(self, planned: Planned) -> None:
        ask = self._ask(planned)
        if ask.keyless:
            self.keyless[ask.key] = ask
            self._later(partial(self._call_once, ask))
            return
        run_id = run_id_for(scope=ask.scope, key=ask.key)
        self._world.asks[run_id] = ask
        for _ in range(1 + planned.twins):
            self._send(ask, run_id)
        self._world.watching.read(run_id, owner=ask.owner, readers=planned.readers)
        if planned.cancel_after is not None:
            cancel = partial(self._cancel, run_id, ask)
            self._world.loop.call_later(planned.cancel_after, self._later, cancel)
        if planned.repeat_after is not None:
            self._world.loop.call_later(planned.repeat_after, self._send, ask, run_id)

    def _ask(self, planned: Planned) -> Ask:
        return Ask(
            key=planned.name,
            owner=f"{OWNERS}{planned.owner}",
            agent_id=planned.agent_id,
            question=f"{planned.name}? {planned.mood}",
            conversation_id=planned.conversation_id,
            metadata={"n": planned.name},
            over_queue=planned.over_queue,
            wait_seconds=planned.wait_seconds,
            wants_reply=planned.wait_seconds == 5.0,
            notify=NOTIFY if planned.twins == 0 and planned.name.endswith(("0", "3")) else None,
            pushes=not planned.over_queue and planned.name.endswith(TASKS),
            stream=planned.stream,
            keyless=planned.keyless,
        )

    def _send(self, ask: Ask, run_id: str) -> None:
        self.came.setdefault(run_id, self._world.loop.seconds)
        self._tell("asks", f"{ask.key} {run_id} in {ask.conversation_id or 'its own'}")
        if not ask.over_queue:
            self._later(partial(self._call, ask, run_id))
            return
        self._world.broker.send(
            REQUESTS_QUEUE,
            ask.body,
            message_id=ask.key,
            correlation_id=f"c-{ask.key}",
            properties={"aos_owner": ask.owner.removeprefix(OWNERS)},
        )

    async def _call_once(self, ask: Ask) -> None:
        """Over HTTP, without a key: what fails is not sent again."""
        try:
            admission, _ = await self.at_main(lambda app: over_http(app, ask))
        except (Refused, TransientError, CutConnection) as error:
            self._tell("gives up", f"{ask.key}: {error}")
        else:
            self._world.accepted.add(admission.request.run_id)

    async def _call(self, ask: Ask, run_id: str) -> None:
        """Over HTTP, patiently."""
        number = 0
        while number < TRIES:
            scrubbed = self._world.checks.is_scrubbed(run_id)
            try:
                admission, run = await self.at_main(lambda app: over_http(app, ask))
            except Refused as refusal:
                if refusal.code == "paused":
                    await self._world.loop.pause(60 * self._rng.random())
                    continue
                self._refused(run_id, refusal)
                return
            except (TransientError, CutConnection) as error:
                self._tell("tries again", f"{run_id}: {error}")
                await self._world.loop.pause(2.0**number * self._rng.random())
                number += 1
                continue
            self._world.accepted.add(run_id)
            if ask.pushes and not admission.run.status.has_ended:
                self._world.pushed.add(run_id)
            if scrubbed:
                self._world.checks.fail(f"{run_id} was deleted, and came again")
            if admission.request.run_id != run_id:
                self._world.checks.fail(f"{run_id} was admitted as {admission.request.run_id}")
            ended = self._world.checks.ended.get(run_id)
            if ended is not None and self._world.checks.is_scrubbed(run_id):
                ended = ended if run == ended else ended.scrub()
            if run.status.has_ended and run != ended:
                self._world.checks.fail(f"the caller of {run_id} got {run}, not what was saved")
            return

    def _refused(self, run_id: str, refusal: Refused) -> None:
        self._tell("is refused", f"{run_id}: {refusal.code}")
        if run_id in self._world.accepted and refusal.code != "conversation_deleted":
            self._world.checks.fail(f"{run_id} was accepted and then refused: {refusal.code}")
        self._world.refused_codes.setdefault(run_id, refusal.code)
        self._world.refused(run_id, refusal.code)

    async def _cancel(self, run_id: str, ask: Ask) -> None:
        caller = Caller(owner=ask.owner)
        for number in range(TRIES):
            since = self._world.loop.seconds
            try:
                await self.at_main(lambda app: app.cancel(run_id, caller))
            except Refused:
                if run_id in self._world.tables.requests:
                    self._tell("cancel refused", run_id)
                return
            except (TransientError, CutConnection):
                await self._world.loop.pause(2.0**number * self._rng.random())
                continue
            self._tell("cancel accepted", run_id)
            self._world.checks.cancel_accepted(run_id, since=since)
            return

    async def _delete(self, deletion: Deletion) -> None:
        """Delete a conversation, patiently."""
        name, caller = deletion.conversation_id, Caller(owner=f"{OWNERS}ann")
        for number in range(TRIES):
            try:
                await self.at_main(lambda app: app.delete(name, caller))
            except Refused as refusal:
                self._tell("delete refused", f"{name}: {refusal.code}")
                return
            except (TransientError, CutConnection):
                await self._world.loop.pause(2.0**number * self._rng.random())
                continue
            self._tell("delete accepted", name)
            noted = self._world.tables.due.values()
            times = [due.about for due in noted if (due.kind, due.name) == ("deletion", name)]
            if times:
                self._world.deletions.append(Deleted(name, max(times)))
            return

    def asked(self, run_id: str) -> None:
        """Somebody is asked about a tool call: nobody, one or two people decide, some too late."""
        for key, approval in list(self._world.tables.approvals.items()):
            if key[0] != run_id or key in self.decided:
                continue
            self.decided[key] = 0
            for _ in range(self._rng.choice((0, 1, 2, 2))):
                verdict: Verdict = self._rng.choice(("approve", "approve", "deny"))
                decide = partial(self._decide, approval, verdict)
                delay = self._rng.choice((0.0, 0.5, 30.0, 595.0, 600.0, 5000.0))
                self._world.loop.call_later(delay, self._later, decide)
                self._delete_meanwhile(approval.conversation_id, delay)

    def questioned(self, run_id: str) -> None:
        """A tool asks: nobody, one or two people answer, some too late."""
        for key, question in list(self._world.tables.questions.items()):
            if key[0] != run_id or key in self.answered:
                continue
            self.answered[key] = 0
            for n in range(self._rng.choice((0, 1, 2, 2))):
                action: AnswerAction = self._rng.choice(("accept", "accept", "decline", "cancel"))
                answer = partial(self._answer, question, action, n)
                delay = self._rng.choice((0.0, 0.5, 30.0, 5000.0, 86_395.0, 86_400.0))
                self._world.loop.call_later(delay, self._later, answer)
                self._delete_meanwhile(question.conversation_id, delay)

    def _delete_meanwhile(self, conversation_id: str, delay: float) -> None:
        """Delete the conversation while a person decides, so that the decision comes late."""
        if not self._world.scenario.deletions or self._rng.random() > DELETED_MEANWHILE:
            return
        deletion = Deletion(at=0.0, conversation_id=conversation_id)
        moment = delay + 0.1 * self._rng.random()
        self._world.loop.call_later(moment, self._later, partial(self._delete, deletion))

    async def _answer(self, question: QuestionRequest, action: AnswerAction, n: int) -> None:
        caller, key = Caller(owner=question.owner), (question.run_id, question.question_id)
        for number in range(_count_tries(question.run_id)):
            try:
                given = await self.at_main(lambda app: app.answer(question, action, n, caller))
            except Refused as refusal:
                self._tell("answer refused", f"{key}: {refusal.code}")
                return
            except (TransientError, CutConnection):
                await self._world.loop.pause(2.0**number * self._rng.random())
                continue
            self._tell("answered", f"{key}: {action}")
            self.answered[key] += 1
            self._world.repeat_result(question.conversation_id)
            stands = self._world.tables.answers.get(key) == given
            if not self._went(key[0]) and (not stands or self.answered[key] > 1):
                self._world.checks.fail(f"an answer to {key} was heard, but does not stand")
            return

    async def _decide(self, approval: ApprovalRequest, verdict: Verdict) -> None:
        caller, key = Caller(owner=approval.owner), (approval.run_id, approval.tool_call_id)
        for number in range(_count_tries(approval.run_id)):
            try:
                decision = await self.at_main(lambda app: app.decide(approval, verdict, caller))
            except Refused as refusal:
                self._tell("decision refused", f"{key}: {refusal.code}")
                return
            except (TransientError, CutConnection):
                await self._world.loop.pause(2.0**number * self._rng.random())
                continue
            self._tell("decided", f"{key}: {verdict}")
            self.decided[key] += 1
            stands = self._world.tables.decisions.get(key) == decision
            if not self._went(key[0]) and (not stands or self.decided[key] > 1):
                self._world.checks.fail(f"a decision about {key} was heard, but does not stand")
            return

    def _went(self, run_id: str) -> bool:
        """Whether the run's rows went with its conversation before its caller heard the answer."""
        return self._world.checks.is_scrubbed(run_id)

    async def _edit(self, edit: Edit) -> None:
        """Change a card, publish, and for a new agent ask it something at once."""
        card = dict(self._cards.get(edit.agent_id) or {"agent_id": edit.agent_id, "purpose": "?"})
        card["purpose"] = f"{edit.what} at {edit.at:.3f}"
        card["enabled"] = edit.what != "disable"
        name = CardKind.AGENT.blob_name(edit.agent_id)

        async def work(app: MainApp) -> None:
            if edit.what == "remove":
                await app.ports.config.delete(name)
            else:
                await app.ports.config.write(name, json.dumps(card).encode())
            await app.services.publish()

        self._cards[edit.agent_id] = card
        for number in range(TRIES):
            try:
                await self.at_main(work)
                break
            except (TransientError, StaleWrite, CutConnection):
                await self._world.loop.pause(2.0**number * self._rng.random())
        self._tell("edited", f"{edit.what} {edit.agent_id}")
        if edit.what in ("edit", "new", "enable"):
            self._ask_after(edit)

    def _ask_after(self, edit: Edit) -> None:
        """Main may know the new card before realm does, and the other way round."""
        first = self._world.scenario.requests[0]
        for delay in (0.0, 0.6, 1.2):
            planned = replace(
                first,
                name=f"{edit.what}-{edit.agent_id}-{edit.at:.3f}-{delay}",
                owner="ann",
                agent_id=edit.agent_id,
                conversation_id=None,
                mood="",
                cancel_after=None,
                repeat_after=None,
            )
            self._world.loop.call_later(delay, self._come, planned)

    async def at_main(self, call: Callable[[MainApp], Awaitable[T]]) -> T:
        """Call some living main; CutConnection when it dies meanwhile or none is there."""
        apps = self._world.living(MainApp)
        if not apps:
            raise CutConnection("nobody is there")
        app = self._rng.choice(apps)

        async def serve() -> T:
            return await call(app)

        task = app.spawn(serve())
        await asyncio.wait({task})
        if task.cancelled():
            raise CutConnection(f"{app.name} died")
        return task.result()

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._world.spawn_client(work())

    def _tell(self, what: str, about: str) -> None:
        self._world.story.events.append((self._world.loop.seconds, "client", what, about))


def _count_tries(run_id: str) -> int:
    """How often a person says something about this run when AOS does not answer: every second one
    gives up at once."""
    return 1 if zlib.crc32(run_id.encode()) % 2 else TRIES
