"""Deploys the template, shows the progress and retries. Entry point: `deploy`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from infra.orchestrator.azure_cli import Answer
from infra.orchestrator.azure_errors import classify_text
from infra.orchestrator.deployment_methods import DeploymentMethod
from infra.orchestrator.exit_codes import REFUSED, Halt
from infra.orchestrator.retries import ask_with_retries
from infra.orchestrator.run_context import Request, RunContext, Target
from infra.orchestrator.sources import digest_sources

_ENDED = frozenset({"succeeded", "failed", "canceled"})


def deploy(
    context: RunContext, request: Request, target: Target, method: DeploymentMethod
) -> dict[str, Any]:
    """Deploy and return the outputs. Environmental failures are retried. Raises Halt."""
    if digest_sources(request.template, target.parameters) != target.digest:
        raise Halt(REFUSED, "the templates changed after WHAT-IF", "run deploy.py again")
    deadline = context.clock.seconds() + request.deploy_seconds
    answer = ask_with_retries(
        context,
        lambda: context.az.run_with_progress(
            method.create,
            seconds=request.deploy_seconds,
            tick_seconds=context.waits.progress_seconds,
            tick=_make_progress_printer(context, method),
        ),
        find_result=lambda: _find_result(context, method, deadline),
    )
    properties = _read_properties(answer.parse_json())
    state = str(properties.get("provisioningState"))
    if state.lower() != "succeeded":
        raise Halt(REFUSED, f"az exited with 0, but the deployment is {state}")
    outputs = {name: it.get("value") for name, it in (properties.get("outputs") or {}).items()}
    context.journal.set(outputs=outputs)
    context.console.write_item("deployed")
    return outputs


def _find_result(context: RunContext, method: DeploymentMethod, deadline: float) -> Answer | None:
    """Find how a deployment ended whose az command failed. Wait for it while it is still running.

    None means that it must be created again. Azure refuses that while the deployment is running.
    """
    while True:
        answer = context.az.run(*method.show)
        if not answer.succeeded:
            return None
        properties = _read_properties(answer.parse_json())
        state = str(properties.get("provisioningState")).lower()
        if state == "succeeded":
            context.console.write_item("Azure had continued the deployment, and it succeeded")
            return answer
        if state in _ENDED:
            return _make_failed_answer(answer, properties)
        if context.clock.seconds() > deadline:
            return None
        context.console.write_item(f"the deployment is {state}; waiting for it")
        context.clock.sleep(context.waits.progress_seconds)


def _make_failed_answer(answer: Answer, properties: dict[str, Any]) -> Answer | None:
    error = json.dumps({"error": properties.get("error") or {}})
    if classify_text(error, operation="the deployment").environmental or error == '{"error": {}}':
        return None
    return Answer(command=answer.command, code=1, out="", err=error)


def _read_properties(document: Any) -> dict[str, Any]:
    found = document.get("properties") if isinstance(document, dict) else None
    # A stack has its properties at the top level.
    return dict(found or document or {})


def _make_progress_printer(context: RunContext, method: DeploymentMethod) -> Callable[[], None]:
    shown: set[str] = set()
    started = context.clock.seconds()

    def show() -> None:
        fresh = [line for line in _describe_operations(context, method) if line not in shown]
        shown.update(fresh)
        minutes = int(context.clock.seconds() - started) // 60
        context.console.write_items(fresh or [f"still deploying, {minutes} min"])

    return show


def _describe_operations(context: RunContext, method: DeploymentMethod) -> list[str]:
    """One line for each operation; none when the operations cannot be listed."""
    answer = context.az.run(*method.operations) if method.operations else None
    if answer is None or not answer.succeeded:
        return []
    try:
        return [_describe_operation(it["properties"]) for it in json.loads(answer.out)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _describe_operation(properties: dict[str, Any]) -> str:
    what = properties.get("targetResource") or {}
    name = f"{what.get('resourceType', '')} {what.get('resourceName', '')}".strip()
    return f"{properties.get('provisioningState')}: {name or 'the deployment itself'}"
