"""Takes the messages of A2A's clients: each begins a task, or answers what one asks. Entry point:
`TaskMessages.begin`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aos.domain.caller import Caller
from aos.domain.cards.agent_card import AgentCard
from aos.domain.conversation_ids import CONVERSATION_RULE, is_conversation_id
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.entrypoints.http.a2a.asks import Answered, Ask, Decided, Given, read_answers
from aos.entrypoints.http.a2a.card import JSON, TEXT, list_output_modes
from aos.entrypoints.http.a2a.errors import A2aRefused, name_field
from aos.entrypoints.http.a2a.push_configs import A2aPushConfigs, name_config
from aos.entrypoints.http.a2a.tasks import MESSAGE_ID
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.ids import parse_run_id
from aos.errors import Refused
from aos.ports.agents import LiveAgent
from aos.services.admission import RunRequest

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.a2a.requests import Configuration, Message, SendMessage

DOOR = "a2a"
MOST_GIVEN = 64
"""Answers of a run among which an answer that comes again is looked for."""


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
class Begun:
    """A message that was taken: the run that it began or answered, as it was then.

    `answered` are the ids that it answered. `created`: nothing has happened in the run yet.
    """

    request: AdmittedRequest
    run: Run
    created: bool = False
    answered: frozenset[str] = frozenset()


class TaskMessages:
    """The messages to an agent, within the caller's rights."""

    def __init__(self, *, callers: CallerRuns, pushes: A2aPushConfigs) -> None:
        self._callers = callers
        self._pushes = pushes

    async def find(self, asked: Asked, task_id: str) -> tuple[AdmittedRequest, Run]:
        """Return the run of a task of this agent. Raises Refused `run_not_found`."""
        run_id = parse_run_id(task_id)
        with contextlib.suppress(Refused):
            if run_id is not None:
                request, run = await self._callers.find(run_id, caller=asked.caller)
                if request.agent_id == asked.agent_id:
                    return request, run
        raise Refused(
            "run_not_found",
            f"there is no task {task_id[:80]!r} of yours with agent {asked.agent_id!r}; list them"
            " with ListTasks",
        )

    async def begin(self, asked: Asked, body: SendMessage, *, stream: bool) -> Begun:
        """Take a message, with the receiver of push notifications that it names."""
        message, config = body.message, body.configuration.task_push_notification_config
        if config is not None:
            self._pushes.check(config)
        if message.task_id:
            begun = await self._answer(asked, message, has_receiver=config is not None)
        else:
            begun = await self._start(asked, body, stream=stream)
        if config is not None:
            await self._pushes.put(
                begun.request,
                config,
                known=begun.run.status,
                usual_id=name_config(message.message_id),
            )
        return begun

    async def _start(self, asked: Asked, body: SendMessage, *, stream: bool) -> Begun:
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
        parts = read_content(message)
        try:
            content = self._callers.take_content(parts, metadata)
        except Refused as error:
            raise name_field(error) from error
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
        return Begun(request=admission.request, run=admission.run, created=admission.created)

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

    async def _answer(self, asked: Asked, message: Message, *, has_receiver: bool) -> Begun:
        """Take a message to a task that waits for a person."""
        request, run = await self.find(asked, message.task_id)
        if has_receiver:
            self._pushes.require_task(request)
        if message.context_id not in ("", request.conversation_id):
            raise A2aRefused(
                "INVALID_PARAMS",
                f"message.contextId is not that of task {run.run_id}; leave it out",
                field="message.contextId",
            )
        answer_id = f"{DOOR}:{message.message_id}"
        if await self._callers.has_answered(request, answer_id, most=MOST_GIVEN):
            return Begun(request=request, run=run)
        asks = await self.read_asks(request, run)
        if not asks:
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                f"task {run.run_id} is {run.status.value} and asks nothing; to go on with the"
                " conversation, send the message with its contextId and without taskId",
            )
        given = read_answers(message.parts, asks)
        for answer in given:
            await self._give(request, answer, answer_id, caller=asked.caller)
        return Begun(request=request, run=run, answered=frozenset(item.id for item in given))

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

    async def read_asks(
        self, request: AdmittedRequest, run: Run, *, without: Collection[str] = ()
    ) -> list[Ask]:
        """Return what a run asks people, without what was answered just now."""
        if run.status.has_ended or run.status in (RunStatus.QUEUED, RunStatus.IN_PROGRESS):
            return []
        asks = [Ask.of_request(item) for item in await self._callers.list_asks(request)]
        return [ask for ask in asks if ask.id not in without]


def make_watch(begun: Begun) -> Callable[[Run], bool]:
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


def choose_mode(card: AgentCard, configuration: Configuration) -> bool:
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
