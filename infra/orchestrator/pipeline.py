"""In which order does a deployment pass its gates, and what is recorded however it ends?"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from typing import Any

from orchestrator import names, references, upload
from orchestrator.audit import Journal
from orchestrator.az import Az
from orchestrator.clock import Clock
from orchestrator.confirm import confirm
from orchestrator.deploying import deploy
from orchestrator.engines import Engine, GroupDeployment, Stack
from orchestrator.exits import (
    CANCELLED,
    CRASHED,
    DONE,
    UNCONFIRMED,
    UNRECORDED,
    Halt,
    Interrupted,
)
from orchestrator.kit import Kit, Patience
from orchestrator.lint import lint
from orchestrator.plan import Plan, plan_of
from orchestrator.preflight import preflight
from orchestrator.request import Request, Target
from orchestrator.retry import insist
from orchestrator.signals import interrupting
from orchestrator.summary import summary_of
from orchestrator.terminal import Terminal
from orchestrator.verify import verify
from orchestrator.voice import Voice

PHASES = {
    "VALIDATING_PARAMETERS": "PREFLIGHT: files, tools, login, rights, region",
    "LINTING": "LINT: az bicep build",
    "PLANNING": "WHAT-IF: az deployment group what-if",
    "AWAITING_CONFIRMATION": "CONFIRM: destructive changes",
    "DEPLOYING": "DEPLOY: az deployment group create",
    "VERIFYING_HEALTH": "VERIFY: resources and apps",
}
_STATES = {
    DONE: "COMPLETED",
    UNCONFIRMED: "AWAITING_CONFIRMATION",
    CANCELLED: "CANCELLED",
    129: "INTERRUPTED",
    130: "INTERRUPTED",
    143: "INTERRUPTED",
}


class Crash(SystemExit):
    """A fault of the orchestrator, recorded; what went wrong is its cause."""


def run(
    request: Request,
    *,
    voice: Voice | None = None,
    clock: Clock | None = None,
    terminal: Terminal | None = None,
    patience: Patience | None = None,
) -> int:
    """Deploy, and return the exit code; after every ending there is an audit record.

    Raises Crash, with the record written, at a fault of our own.
    """
    voice, clock = voice or Voice(), clock or Clock()
    with interrupting() as ignore_signals:
        try:
            journal = Journal(request.audit_dir, clock, _facts(request, clock))
        except Halt as halt:
            voice.say(f"nothing was done: {halt.reason}")
            voice.say(f"next: {halt.advice}")
            return halt.code
        kit = None
        try:
            kit = Kit(
                az=Az.found(),
                journal=journal,
                voice=voice,
                clock=clock,
                terminal=terminal or Terminal(),
                patience=patience or Patience(),
            )
            ending = _phases(kit, request)
            ignore_signals()
        except Halt as halt:
            ignore_signals()
            ending = halt
        except Interrupted as interrupted:
            ignore_signals()
            ending = Halt(interrupted.code, *_goes_on(journal))
        except BaseException as error:
            ignore_signals()
            _close(journal, voice, Halt(CRASHED, "".join(traceback.format_exception(error))))
            raise Crash(CRASHED) from error
        code = _close(journal, voice, ending)
        if request.audit_upload and kit is not None:
            upload.upload(kit, journal.record.get("outputs") or {})
        return code


def _phases(kit: Kit, request: Request) -> Halt:
    """The gates in their order. Each raises Halt to stop; the end is a Halt that says done."""
    target = _phase(kit, "VALIDATING_PARAMETERS", lambda: preflight(kit, request))
    engine = _engine(request, target)
    _phase(kit, "LINTING", lambda: lint(kit, request, target))
    plan, vaults = _phase(kit, "PLANNING", lambda: _foresee(kit, request, engine))
    if request.dry_run:
        kit.journal.skipped("DEPLOYING", "--dry-run")
        return Halt(DONE, f"planned only: {len(plan.losses)} destructive changes", "")
    if plan.losses:
        _phase(kit, "AWAITING_CONFIRMATION", lambda: confirm(kit, request, plan))
    else:
        kit.journal.skipped("AWAITING_CONFIRMATION", "nothing destructive")
    outputs = _phase(kit, "DEPLOYING", lambda: _apply(kit, request, target, engine, vaults))
    made = plan.created("Microsoft.Web/sites")
    _phase(kit, "VERIFYING_HEALTH", lambda: verify(kit, request, outputs, made=made))
    return Halt(DONE, "deployed and healthy")


def _phase(kit: Kit, name: str, work: Callable[[], Any]) -> Any:
    kit.voice.heading(f"{name}  {PHASES[name]}")
    with kit.journal.phase(name):
        return work()


def _engine(request: Request, target: Target) -> Engine:
    if request.stack:
        return Stack(
            group=request.resource_group,
            name=f"aos-{target.environment}",
            template=request.template,
            parameters=target.parameters,
            subscription_id=target.subscription_id,
            what_if_name=target.deployment_name,
        )
    return GroupDeployment(
        group=request.resource_group,
        name=target.deployment_name,
        template=request.template,
        parameters=target.parameters,
    )


def _foresee(kit: Kit, request: Request, engine: Engine) -> tuple[Plan, tuple[str, ...]]:
    answer = insist(kit, lambda: kit.az.ask(*engine.what_if, seconds=request.deploy_seconds))
    plan = plan_of(engine.read(answer.value()))
    kit.journal.set(plan=plan.facts())
    saved = kit.journal.keep("plan.json", plan.as_file())
    kit.voice.items(plan.lines())
    kit.voice.item(f"saved as {saved}")
    return plan, names.check(kit, request, plan)


def _apply(
    kit: Kit, request: Request, target: Target, engine: Engine, vaults: tuple[str, ...]
) -> dict[str, Any]:
    names.recover(kit, vaults)
    outputs = deploy(kit, request, target, engine)
    references.settle(kit, request, outputs)
    return outputs


def _goes_on(journal: Journal) -> tuple[str, str]:
    """What an interruption left: before DEPLOYING nothing, within it Azure works on."""
    phases = journal.record["phases"]
    if not phases or phases[-1]["phase"] != "DEPLOYING":
        return "interrupted", ""
    where = f"-g {journal.record['resource_group']} -n {journal.record.get('deployment_name')}"
    return (
        "interrupted while deploying: what Azure has begun goes on there",
        f"az deployment group show {where}; to stop it: az deployment group cancel {where}",
    )


def _close(journal: Journal, voice: Voice, ending: Halt) -> int:
    state = _STATES.get(ending.code, "FAILED")
    if journal.record.get("dry_run") and ending.code == DONE:
        state = "PLANNED"
    voice.heading(f"AUDIT  {state} (exit code {ending.code})")
    voice.items(ending.reason.splitlines() if ending.code != CRASHED else ["a fault of ours"])
    if ending.advice:
        voice.item(f"next: {ending.advice}")
    try:
        journal.end(state, exit_code=ending.code, reason=ending.reason)
        page = journal.keep("summary.md", summary_of(journal.record))
    except (Halt, OSError) as error:
        voice.say(f"the audit record could not be written: {error}; it was: {journal.record}")
        return ending.code or UNRECORDED
    voice.item(f"recorded in {journal.folder / 'audit.db'}; summary: {page}")
    return ending.code


def _facts(request: Request, clock: Clock) -> dict[str, Any]:
    now = clock.now()
    moment = now.replace("-", "").replace(":", "").lower()
    return {
        "version": 1,
        "deployment_id": f"{moment}-{uuid.uuid4().hex[:8]}",
        "action": "rollback" if request.rollback_of else "deploy",
        "rollback_of": request.rollback_of,
        "dry_run": request.dry_run,
        "stack": request.stack,
        "started_at": now,
        "resource_group": request.resource_group,
        "location": request.location,
        "template": str(request.template),
        "parameters": str(request.parameters),
        "git_sha": request.git_sha or "",
        "allow_warnings": request.allow_warnings,
    }
