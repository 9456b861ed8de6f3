"""Records what clients of A2A read: cards, tasks, updates of streams, pushes and errors. Entry
point: `A2A`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aos.domain.cards.agent_card import agent_card_from_dict
from aos.domain.json_writer import write_json
from aos.domain.runs.run import Run, RunStatus
from aos.domain.runs.run_events import RunEvent
from aos.domain.vision import Vision
from aos.entrypoints.http.a2a.asks import Ask
from aos.entrypoints.http.a2a.card import CardFacts, build_card
from aos.entrypoints.http.a2a.errors import A2aRefused, write_rest_error, write_rpc_error
from aos.entrypoints.http.a2a.push_configs import write_config
from aos.entrypoints.http.a2a.tasks import (
    describe_push,
    list_artifacts,
    write_history,
    write_task,
)
from aos.entrypoints.http.a2a.updates import TaskUpdates
from aos.errors import ErrorInfo, Refused, TransientError
from aos.ports.agents import LiveAgent
from tests.golden.kinds import Kind
from tests.golden.questions import QUESTIONS
from tests.golden.tool_values import APPROVALS
from tests.golden.values import (
    AT,
    CALL_ID,
    DIGEST,
    FULL_REQUEST,
    FULL_RUN,
    MINIMAL_RUN,
    PUSH_CONFIGS,
)

_WAITING = replace(MINIMAL_RUN, status=RunStatus.WAITING_APPROVAL, ended_at=None)
_ASKED = [APPROVALS["full"], QUESTIONS["form"]]
_FAILED = replace(
    MINIMAL_RUN,
    status=RunStatus.FAILED,
    error=ErrorInfo(code="max_turns", message="the run took 2 turns", details={"turns": 2}),
)
_DATA = replace(FULL_RUN, output_parts=({"type": "data", "data": {"größe": 4}},))


def _card(**more: Any) -> dict[str, Any]:
    card = agent_card_from_dict({"agent_id": "ceo", "purpose": "Führt.", **more})
    agent = LiveAgent(agent_id="ceo", state="active", digest=DIGEST, card=card)
    facts = CardFacts(
        public_url="https://aos.example",
        auth="keys",
        streams=True,
        pushes=True,
        vision=Vision(models=frozenset({"*"})),
    )
    return build_card(agent, facts)


def _event(number: str, name: Any, /, **data: Any) -> RunEvent:
    return RunEvent(id=number, type=name, time=AT, turn=1, data=data)


def _updates() -> list[dict[str, Any]]:
    updates = TaskUpdates(FULL_REQUEST)
    asks = {"tool_call_id": CALL_ID, "name": "github/create_issue", "expires_at": "2030-02-01"}
    events = (
        _event("2", "run.started"),
        _event("2.1.1", "attempt.started", attempt=1),
        _event("2.1.2", "message.delta", text="Soll"),
        _event("3", "message.completed", content="Soll ich?", tool_calls=[{"name": "x"}]),
        _event("4", "approval.requested", arguments='{"title": "Größe"}', **asks),
        _event("5", "run.waiting", kind="approval"),
        _event("6", "approval.decided", decision="approve", **asks),
        replace(_event("6.1.1", "message.delta", text="Fer"), turn=2),
        replace(_event("6.2.1", "attempt.started", attempt=2), turn=2),
        replace(_event("6.2.2", "message.delta", text="Getan"), turn=2),
        replace(_event("7", "message.completed", content="Getan."), turn=2),
        _event("8", "run.completed", usage={"output_tokens": 1}),
    )
    return [update for event in events for update in updates.read(event)]


def _task(run: Run, **more: Any) -> dict[str, Any]:
    return write_task(run, artifacts=list_artifacts(run), **more)


_EXAMPLES: Mapping[str, Any] = {
    "card": _card(labels={"team": "board"}, output_schema={"type": "object"}),
    "task-completed": _task(FULL_RUN, history=write_history(FULL_REQUEST)),
    "task-data": _task(_DATA),
    "task-waiting": _task(_WAITING, asks=[Ask.of_request(item) for item in _ASKED]),
    "task-failed": _task(_FAILED),
    "task-cancelled": _task(MINIMAL_RUN),
    "updates": _updates(),
    "push-ended": describe_push(FULL_RUN, ()),
    "push-waiting": describe_push(_WAITING, _ASKED),
    "config": write_config(PUSH_CONFIGS["full"]),
    "error-rpc": write_rpc_error(A2aRefused("TASK_NOT_CANCELABLE", "it has ended"), "r-1"),
    "error-field": write_rpc_error(Refused("invalid_request", "bad", field="message"), None),
    "error-rest": write_rest_error(Refused("run_not_found", "there is no task")),
    "error-retry": write_rest_error(TransientError("storage is away")),
}


async def _write(value: Any) -> Any:
    return json.loads(write_json(value, ensure_ascii=False))


A2A = (Kind(name="answers/a2a", examples=_EXAMPLES, write=_write),)
"""The JSON of A2A."""
