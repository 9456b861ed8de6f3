"""How is the template deployed, watched, and tried again without being applied twice at once?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from orchestrator.az import Answer
from orchestrator.engines import Engine
from orchestrator.exits import REFUSED, Halt
from orchestrator.failures import failure_in
from orchestrator.kit import Kit
from orchestrator.request import Request, Target
from orchestrator.retry import insist
from orchestrator.sources import digest_of

_ENDED = frozenset({"succeeded", "failed", "canceled"})


def deploy(kit: Kit, request: Request, target: Target, engine: Engine) -> dict[str, Any]:
    """Deploy and return the outputs. Raises Halt; environmental failures are tried again."""
    if digest_of(request.template, target.parameters) != target.digest:
        raise Halt(REFUSED, "the templates changed after they were planned", "run it again")
    deadline = kit.clock.seconds() + request.deploy_seconds
    answer = insist(
        kit,
        lambda: kit.az.watch(
            engine.create,
            seconds=request.deploy_seconds,
            tick_seconds=kit.patience.progress_seconds,
            tick=_progress(kit, engine),
        ),
        seen=lambda: _ended_without_us(kit, engine, deadline),
    )
    properties = _properties(answer.value())
    state = str(properties.get("provisioningState"))
    if state.lower() != "succeeded":
        raise Halt(REFUSED, f"az ended well, but the deployment is {state}")
    outputs = {name: it.get("value") for name, it in (properties.get("outputs") or {}).items()}
    kit.journal.set(outputs=outputs)
    kit.voice.item("deployed")
    return outputs


def _ended_without_us(kit: Kit, engine: Engine, deadline: float) -> Answer | None:
    """What became of a deployment whose az failed: it may run on, or have ended.

    None means that it has to be made again. Creating it anew while it runs would be refused.
    """
    while True:
        answer = kit.az.ask(*engine.show)
        if not answer.ok:
            return None
        properties = _properties(answer.value())
        state = str(properties.get("provisioningState")).lower()
        if state == "succeeded":
            kit.voice.item("Azure had gone on without us and is done")
            return answer
        if state in _ENDED:
            return _failed(answer, properties)
        if kit.clock.seconds() > deadline:
            return None
        kit.voice.item(f"the deployment is {state}; waiting for it")
        kit.clock.sleep(kit.patience.progress_seconds)


def _failed(answer: Answer, properties: dict[str, Any]) -> Answer | None:
    error = json.dumps({"error": properties.get("error") or {}})
    if failure_in(error, of="the deployment").environmental or error == '{"error": {}}':
        return None
    return Answer(command=answer.command, code=1, out="", err=error)


def _properties(document: Any) -> dict[str, Any]:
    found = document.get("properties") if isinstance(document, dict) else None
    # A stack has its properties at the top.
    return dict(found or document or {})


def _progress(kit: Kit, engine: Engine) -> Callable[[], None]:
    shown: set[str] = set()
    started = kit.clock.seconds()

    def show() -> None:
        fresh = [line for line in _operations(kit, engine) if line not in shown]
        shown.update(fresh)
        minutes = int(kit.clock.seconds() - started) // 60
        kit.voice.items(fresh or [f"still deploying, {minutes} min"])

    return show


def _operations(kit: Kit, engine: Engine) -> list[str]:
    """One line for each operation; a failure to list them is no failure to deploy."""
    answer = kit.az.ask(*engine.operations) if engine.operations else None
    if answer is None or not answer.ok:
        return []
    try:
        return [_operation(it["properties"]) for it in json.loads(answer.out)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _operation(properties: dict[str, Any]) -> str:
    what = properties.get("targetResource") or {}
    name = f"{what.get('resourceType', '')} {what.get('resourceName', '')}".strip()
    return f"{properties.get('provisioningState')}: {name or 'the deployment itself'}"
