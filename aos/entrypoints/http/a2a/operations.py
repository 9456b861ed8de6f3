"""Does what the operations of A2A ask for. Entry point: `A2aOperations`.

Both bindings call these operations and write their answers: JSON objects, or a generator of objects
`StreamResponse` whose None means that nothing came for a while. A failure is an `AosError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard
from aos.domain.cards.identity import is_card_id
from aos.domain.conversation_ids import CONVERSATION_RULE, is_conversation_id
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.a2a.asks import Answered, Ask, Decided, Given, read_answers
from aos.entrypoints.http.a2a.card import JSON, TEXT, list_output_modes
from aos.entrypoints.http.a2a.errors import A2aRefused
from aos.entrypoints.http.a2a.tasks import (
    INPUT_REQUIRED,
    MESSAGE_ID,
    find_status_time,
    list_artifacts,
    list_statuses,
    write_history,
    write_task,
)
from aos.entrypoints.http.a2a.updates import TaskUpdates
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.ids import parse_run_id
from aos.errors import Refused
from aos.ports.agents import Agents, LiveAgent
from aos.services.admission import RunRequest

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.a2a.push_configs import A2aPushConfigs
    from aos.entrypoints.http.a2a.requests import (
        Configuration,
        GetTask,
        ListTasks,
        Message,
        OneTask,
        SendMessage,
    )

DOOR = "a2a"
CANCEL_SECONDS = 5.0
"""How long CancelTask waits for the end of the run."""
EVENTS_A_PAGE = 1000
MOST_GIVEN = 64
"""Answers of a run among which an answer that comes again is looked for."""
Stream: TypeAlias = AsyncGenerator[dict[str, Any] | None, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks which agent."""

    agent: LiveAgent
    caller: Caller
    traceparent: str | None = None

    @property
    def agent_id(self) -> str:
        """The agent of the address."""
        return self.agent.agent_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A message that was taken: the run that it began or answered, as it was then.

    `answered` are the ids that it answered. `created`: nothing has happened in the run yet.
    """

    request: AdmittedRequest
    run: Run
    created: bool = False
    answered: frozenset[str] = frozenset()


class A2aOperations:
    """The operations on the tasks of an agent, within the caller's rights."""

    def __init__(self, *, callers: CallerRuns, agents: Agents, pushes: A2aPushConfigs) -> None:
        self._callers = callers
        self._agents = agents
        self._pushes = pushes

    async def find_agent(
        self, agent_id: str, *, caller: Caller, traceparent: str | None = None
    ) -> Asked:
        """Return who asks which agent. Raises Refused `agent_not_found` or `agent_removed`."""
        if not is_card_id(agent_id):
            raise Refused(
                "agent_not_found", f"there is no agent {agent_id[:80]!r}; check GET /api/agents"
            )
        agent = await self._agents.find(agent_id)
        return Asked(agent=agent, caller=caller, traceparent=traceparent)

    async def send(self, asked: Asked, body: SendMessage) -> dict[str, Any]:
        """SendMessage: return the task when it has ended or waits for a person.

        With `returnImmediately`, and after the longest wait, it is returned as it is.
        """
        as_text = _choose_mode(asked.agent.card, body.configuration)
        begun = await self._begin(asked, body, stream=False)
        run = begun.run
        if not body.configuration.return_immediately:
            run = await self._callers.wait_until(
                begun.request, run, seconds=LONGEST_WAIT_SECONDS, until=_make_watch(begun)
            )
        asks = await self._read_asks(begun.request, run, without=begun.answered)
        task = await self._write_task(
            begun.request,
            run,
            asks=asks,
            length=body.configuration.history_length,
            whole_history=not begun.created,
            as_text=as_text,
        )
        return {"task": task}

    async def stream(self, asked: Asked, body: SendMessage) -> Stream:
        """SendStreamingMessage: return the task and what happens to it, until its end or until it
        waits for a person."""
        as_text = _choose_mode(asked.agent.card, body.configuration)
        begun = await self._begin(asked, body, stream=True)
        updates = _make_updates(begun.request, asked.agent.card, as_text=as_text)
        after, run = EventId(), begun.run
        if not begun.created:
            after, run = await self._replay(begun.request, updates)
            updates.forget(begun.answered)
        length = body.configuration.history_length
        history = None if length == 0 else write_history(begun.request, length=length)
        return self._follow(
            begun.request, run, updates, after, history=history, as_text=as_text, closes=True
        )

    async def get(self, asked: Asked, body: GetTask) -> dict[str, Any]:
        """GetTask."""
        request, run = await self.find(asked, body.id)
        asks = await self._read_asks(request, run)
        return await self._write_task(
            request, run, asks=asks, length=body.history_length, whole_history=True
        )

    async def list_tasks(self, asked: Asked, body: ListTasks) -> dict[str, Any]:
        """ListTasks: the caller's tasks with this agent, newest first, without their histories.

        `totalSize` is the number of tasks of this page, because the others are not counted.
        """
        statuses = list_statuses(body.status) or frozenset(RunStatus)
        since = body.status_timestamp_after

        def is_wanted(run: Run) -> bool:
            return (
                run.status in statuses
                and body.context_id in ("", run.conversation_id)
                and (since is None or find_status_time(run) >= since)
            )

        page = await self._callers.list_runs(
            caller=asked.caller,
            agent_id=asked.agent_id,
            is_wanted=is_wanted,
            after=body.page_token or None,
            limit=body.page_size,
        )
        tasks = [
            write_task(run, artifacts=list_artifacts(run) if body.include_artifacts else None)
            for run in page.items
        ]
        return {
            "tasks": tasks,
            "nextPageToken": page.next or "",
            "pageSize": len(tasks),
            "totalSize": len(tasks),
        }

    async def cancel(self, asked: Asked, body: OneTask) -> dict[str, Any]:
        """CancelTask: return the task when it has ended, or as it is after some seconds."""
        request, run = await self.find(asked, body.id)
        if run.status.has_ended:
            raise A2aRefused(
                "TASK_NOT_CANCELABLE", f"task {run.run_id} has ended: it is {run.status.value}"
            )
        run = await self._callers.cancel(request.run_id, caller=asked.caller)
        run = await self._callers.wait_until(
            request, run, seconds=CANCEL_SECONDS, until=lambda seen: seen.status.has_ended
        )
        return await self._write_task(request, run, asks=[], length=0)

    async def subscribe(self, asked: Asked, body: OneTask) -> Stream:
        """SubscribeToTask: return the task as it is and what happens to it, until its end."""
        request, run = await self.find(asked, body.id)
        updates = _make_updates(request, asked.agent.card)
        after, run = await self._replay(request, updates)
        if run.status.has_ended:
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                f"task {run.run_id} has ended: it is {run.status.value}; read it with GetTask",
            )
        return self._follow(request, run, updates, after, closes=False)

    async def find(self, asked: Asked, task_id: str) -> tuple[AdmittedRequest, Run]:
        """Return the run of a task of this agent. Raises Refused `run_not_found`."""
        run_id = parse_run_id(task_id)
        if run_id is not None:
            request, run = await self._callers.find(run_id, caller=asked.caller)
            if request.agent_id == asked.agent_id:
                return request, run
        raise Refused(
            "run_not_found",
            f"there is no task {task_id[:80]!r} of yours with agent {asked.agent_id!r}; list them"
            " with ListTasks",
        )

    async def _begin(self, asked: Asked, body: SendMessage, *, stream: bool) -> _Begun:
        message, config = body.message, body.configuration.task_push_notification_config
        if config is not None:
            self._pushes.check(config)
        if message.task_id:
            begun = await self._answer(asked, message)
        else:
            begun = await self._start(asked, body, stream=stream)
        if config is not None:
            await self._pushes.put(begun.request, config, known=begun.run.status)
        return begun

    async def _start(self, asked: Asked, body: SendMessage, *, stream: bool) -> _Begun:
        from aos.entrypoints.http.a2a.requests import read_content

        message = body.message
        if message.context_id and not is_conversation_id(message.context_id):
            raise A2aRefused(
                "INVALID_PARAMS",
                f"message.contextId is not valid; write {CONVERSATION_RULE}, or leave it out",
                field="message.contextId",
            )
        await self._check_references(asked, message)
        metadata = {**body.metadata, **message.metadata, MESSAGE_ID: message.message_id}
        content = self._callers.take_content(read_content(message), metadata)
        admission = await self._callers.start(
            RunRequest(
                agent_id=asked.agent_id,
                message=content.text,
                conversation_id=message.context_id or None,
                metadata=metadata,
                parts=content.parts,
                stream=stream,
                pushes=True,
            ),
            caller=asked.caller,
            key=message.message_id,
            door=f"{DOOR}:{asked.agent_id}",
            traceparent=asked.traceparent,
        )
        return _Begun(request=admission.request, run=admission.run, created=admission.created)

    async def _check_references(self, asked: Asked, message: Message) -> None:
        """Refuse references to tasks of other conversations: the agent does not see them."""
        for task_id in message.reference_task_ids:
            request, _ = await self.find(asked, task_id)
            if request.conversation_id != message.context_id:
                raise A2aRefused(
                    "UNSUPPORTED_OPERATION",
                    f"message.referenceTaskIds names task {task_id} of another context; the agent"
                    " sees its own context only: send contextId"
                    f" {request.conversation_id!r}, or the content of that task",
                    field="message.referenceTaskIds",
                )

    async def _answer(self, asked: Asked, message: Message) -> _Begun:
        """Take a message to a task that waits for a person."""
        request, run = await self.find(asked, message.task_id)
        if message.context_id not in ("", request.conversation_id):
            raise A2aRefused(
                "INVALID_PARAMS",
                f"message.contextId is not that of task {run.run_id}; leave it out",
                field="message.contextId",
            )
        answer_id = f"{DOOR}:{message.message_id}"
        if await self._callers.has_answered(request, answer_id, most=MOST_GIVEN):
            return _Begun(request=request, run=run)
        asks = await self._read_asks(request, run)
        if not asks:
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                f"task {run.run_id} is {run.status.value} and asks nothing; to go on with the"
                " conversation, send the message with its contextId and without taskId",
            )
        given = read_answers(message.parts, asks)
        for answer in given:
            await self._give(request, answer, answer_id, caller=asked.caller)
        return _Begun(request=request, run=run, answered=frozenset(item.id for item in given))

    async def _give(
        self, request: AdmittedRequest, given: Given, answer_id: str, *, caller: Caller
    ) -> None:
        match given:
            case Decided():
                await self._callers.decide(
                    request.run_id,
                    given.id,
                    given.verdict,
                    given.reason,
                    caller=caller,
                    decision_id=answer_id,
                )
            case Answered():
                await self._callers.answer(
                    request.run_id,
                    given.id,
                    given.action,
                    given.values,
                    caller=caller,
                    answer_id=answer_id,
                )

    async def _read_asks(
        self, request: AdmittedRequest, run: Run, *, without: Collection[str] = ()
    ) -> list[Ask]:
        if run.status.has_ended or run.status in (RunStatus.QUEUED, RunStatus.IN_PROGRESS):
            return []
        asks = [Ask.of_request(item) for item in await self._callers.list_asks(request)]
        return [ask for ask in asks if ask.id not in without]

    async def _write_task(
        self,
        request: AdmittedRequest,
        run: Run,
        *,
        asks: list[Ask],
        length: int | None,
        whole_history: bool = False,
        as_text: bool = False,
    ) -> dict[str, Any]:
        """Return a task with its history. Its messages are read where somebody may want them."""
        events: list[RunEvent] = []
        if length != 0 and (whole_history or length is not None):
            events = (
                await self._callers.list_events(request, after=EventId(), limit=EVENTS_A_PAGE)
            ).items
        return write_task(
            run,
            asks=asks,
            history=None if length == 0 else write_history(request, events, length=length),
            artifacts=list_artifacts(run, as_text=as_text),
        )

    async def _replay(self, request: AdmittedRequest, updates: TaskUpdates) -> tuple[EventId, Run]:
        """Let `updates` read what has happened; return where that ends, and the run."""
        after = EventId()
        while True:
            page = await self._callers.list_events(request, after=after, limit=EVENTS_A_PAGE)
            for event in page.items:
                updates.read(event)
                after = event.event_id
            if page.next is None or not page.items or len(page.items) < EVENTS_A_PAGE:
                return after, await self._callers.read(request)

    async def _follow(
        self,
        request: AdmittedRequest,
        run: Run,
        updates: TaskUpdates,
        after: EventId,
        *,
        closes: bool,
        history: list[dict[str, Any]] | None = None,
        as_text: bool = False,
    ) -> Stream:
        """Yield the task, then its updates. `closes`: end when the task waits for a person."""
        told = list_artifacts(run, as_text=as_text) or updates.told
        yield {"task": write_task(run, asks=updates.asks, history=history, artifacts=told)}
        if run.status.has_ended or (closes and updates.state == INPUT_REQUIRED):
            return
        async with aclosing(self._callers.follow(request, after=after)) as events:
            async for event in events:
                if event is None:
                    yield None
                    continue
                ended = await self._callers.read(request) if updates.needs_run(event) else None
                for update in updates.read(event, ended):
                    yield update
                if event.is_end or (closes and updates.state == INPUT_REQUIRED):
                    return


def _make_updates(
    request: AdmittedRequest, card: AgentCard, *, as_text: bool = False
) -> TaskUpdates:
    whole = card.output_schema is not None and not as_text
    return TaskUpdates(request, whole_output=whole, as_text=as_text)


def _make_watch(begun: _Begun) -> Any:
    """Make the test whether a run has come far enough to be answered: it has ended, or asks
    something that the message has not answered."""
    before = begun.run.waiting
    call_ids = {item.partition(".")[0] for item in begun.answered}

    def is_enough(run: Run) -> bool:
        if run.status.has_ended:
            return True
        if run.status not in (RunStatus.WAITING_APPROVAL, RunStatus.WAITING_INPUT):
            return False
        waiting = run.waiting
        if not call_ids or before is None or waiting is None:
            return True
        has_changed = waiting.tool_call_ids != before.tool_call_ids
        rest = set(waiting.tool_call_ids) - call_ids
        return waiting.since > before.since or (has_changed and bool(rest))

    return is_enough


def _choose_mode(card: AgentCard, configuration: Configuration) -> bool:
    """Return whether the output is to come as text although it is data. Raises A2aRefused if the
    client accepts nothing that the agent writes."""
    accepted = [
        mode.partition(";")[0].strip().lower() for mode in configuration.accepted_output_modes
    ]
    modes = list_output_modes(card)
    if not accepted:
        return False
    if JSON in modes and _is_accepted(JSON, accepted):
        return False
    if _is_accepted(TEXT, accepted):
        return JSON in modes
    raise A2aRefused(
        "CONTENT_TYPE_NOT_SUPPORTED",
        f"the agent answers with {' or '.join(modes)}, and acceptedOutputModes has neither",
        field="configuration.acceptedOutputModes",
    )


def _is_accepted(mode: str, accepted: Collection[str]) -> bool:
    family = mode.partition("/")[0]
    return any(item in (mode, f"{family}/*", "*/*", "*") for item in accepted)
