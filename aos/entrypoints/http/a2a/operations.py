"""Does what the operations of A2A ask for. Entry point: `A2aOperations`.

Both bindings call these operations and write their answers: JSON objects, or a generator of objects
`StreamResponse` whose None means that nothing came for a while. A failure is an `AosError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard
from aos.domain.cards.identity import is_card_id
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.runs.run_events import EventId, RunEvent
from aos.domain.waits import LONGEST_WAIT_SECONDS
from aos.entrypoints.http.a2a.asks import Ask
from aos.entrypoints.http.a2a.errors import A2aRefused
from aos.entrypoints.http.a2a.messages import Asked, TaskMessages, choose_mode, make_watch
from aos.entrypoints.http.a2a.tasks import (
    INPUT_REQUIRED,
    find_status_time,
    list_artifacts,
    list_statuses,
    write_history,
    write_task,
)
from aos.entrypoints.http.a2a.updates import TaskUpdates
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.queries import open_token, seal_token
from aos.errors import Refused
from aos.ports.agents import Agents

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.a2a.requests import (
        GetTask,
        ListTasks,
        OneTask,
        SendMessage,
    )

CANCEL_SECONDS = 5.0
"""How long CancelTask waits for the end of the run."""
Stream: TypeAlias = AsyncGenerator[dict[str, Any] | None, None]


class A2aOperations:
    """The operations on the tasks of an agent, within the caller's rights."""

    def __init__(self, *, callers: CallerRuns, agents: Agents, messages: TaskMessages) -> None:
        self._callers = callers
        self._agents = agents
        self._messages = messages

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
        as_text = choose_mode(asked.agent.card, body.configuration)
        begun = await self._messages.begin(asked, body, stream=False)
        run = begun.run
        if not body.configuration.return_immediately:
            run = await self._callers.wait_until(
                begun.request, run, seconds=LONGEST_WAIT_SECONDS, until=make_watch(begun)
            )
        asks = await self._messages.read_asks(begun.request, run, without=begun.answered)
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
        as_text = choose_mode(asked.agent.card, body.configuration)
        begun = await self._messages.begin(asked, body, stream=True)
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
        request, run = await self._messages.find(asked, body.id)
        asks = await self._messages.read_asks(request, run)
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
            after=open_token(body.page_token, field="pageToken") if body.page_token else None,
            limit=body.page_size,
        )
        tasks = [
            write_task(run, artifacts=list_artifacts(run) if body.include_artifacts else None)
            for run in page.items
        ]
        return {
            "tasks": tasks,
            "nextPageToken": seal_token(page.next) if page.next else "",
            "pageSize": len(tasks),
            "totalSize": len(tasks),
        }

    async def cancel(self, asked: Asked, body: OneTask) -> dict[str, Any]:
        """CancelTask: return the task when it has ended, or as it is after some seconds."""
        request, run = await self._messages.find(asked, body.id)
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
        request, run = await self._messages.find(asked, body.id)
        updates = _make_updates(request, asked.agent.card)
        after, run = await self._replay(request, updates)
        if run.status.has_ended:
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                f"task {run.run_id} has ended: it is {run.status.value}; read it with GetTask",
            )
        return self._follow(request, run, updates, after, closes=False)

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
            events = [e async for page in self._callers.list_all_events(request) for e in page]
        return write_task(
            run,
            asks=asks,
            history=None if length == 0 else write_history(request, events, length=length),
            artifacts=list_artifacts(run, as_text=as_text),
        )

    async def _replay(self, request: AdmittedRequest, updates: TaskUpdates) -> tuple[EventId, Run]:
        """Let `updates` read what has happened; return where that ends, and the run."""
        after = EventId()
        async for events in self._callers.list_all_events(request):
            for event in events:
                updates.read(event)
                after = event.event_id
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
