"""Runs the phases of a deployment in order and records the end. Entry point: `run`."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable
from typing import Any

from infra.orchestrator.audit import Journal
from infra.orchestrator.audit_upload import upload_audit
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.bicep_lint import lint
from infra.orchestrator.clock import Clock
from infra.orchestrator.console import Console, Terminal
from infra.orchestrator.deployment import deploy
from infra.orchestrator.deployment_methods import DeploymentMethod, use_group_deployment, use_stack
from infra.orchestrator.exit_codes import CANCELLED, CRASHED, DONE, UNCONFIRMED, Halt, Interrupted
from infra.orchestrator.plan import Plan, make_plan
from infra.orchestrator.preflight import run_preflight
from infra.orchestrator.resource_names import check_names, recover_vaults
from infra.orchestrator.retries import ask_with_retries
from infra.orchestrator.run_context import Request, RunContext, Target, WaitTimes
from infra.orchestrator.run_end import describe_interruption, end_run
from infra.orchestrator.signals import raise_interrupts
from infra.orchestrator.vault_references import refresh_references
from infra.orchestrator.verification import verify_deployment

PHASES = {
    "VALIDATING_PARAMETERS": "PREFLIGHT: files, tools, login, rights, region",
    "LINTING": "LINT: az bicep build",
    "PLANNING": "WHAT-IF: az deployment group what-if",
    "AWAITING_CONFIRMATION": "CONFIRM: destructive changes",
    "DEPLOYING": "DEPLOY: az deployment group create",
    "VERIFYING_HEALTH": "VERIFY: resources and apps",
}


class Crash(SystemExit):
    """A bug in deploy.py ended the run. The record is written; the bug is the `__cause__`."""


def run(
    request: Request,
    *,
    console: Console | None = None,
    clock: Clock | None = None,
    terminal: Terminal | None = None,
    waits: WaitTimes | None = None,
) -> int:
    """Deploy and return the exit code. Every end, also an interruption, is in the audit record.

    Raises Crash after a bug in deploy.py, when the record is written.
    """
    console, clock = console or Console(), clock or Clock()
    with raise_interrupts() as ignore_signals:
        try:
            journal = Journal(request.audit_dir, clock, _make_record(request, clock))
        except Halt as halt:
            console.write(f"nothing was deployed: {halt.reason}")
            console.write(f"next: {halt.advice}")
            return halt.code
        context = None
        try:
            context = RunContext(
                az=Az.find(),
                journal=journal,
                console=console,
                clock=clock,
                terminal=terminal or Terminal(),
                waits=waits or WaitTimes(),
            )
            end = _run_phases(context, request)
            ignore_signals()
        except Halt as halt:
            ignore_signals()
            end = halt
        except Interrupted as interrupted:
            ignore_signals()
            end = Halt(interrupted.code, *describe_interruption(journal))
        except BaseException as error:
            ignore_signals()
            end = Halt(CRASHED, "".join(traceback.format_exception(error)))
            end_run(journal, console, end)
            raise Crash(CRASHED) from error
        code = end_run(journal, console, end)
        if request.audit_upload and context is not None:
            upload_audit(context, journal.record.get("outputs") or {})
        return code


def _run_phases(context: RunContext, request: Request) -> Halt:
    """Run the phases in order. A phase raises Halt to stop the run; the last Halt says done."""
    target = _run_phase(context, "VALIDATING_PARAMETERS", lambda: run_preflight(context, request))
    method = (use_stack if request.stack else use_group_deployment)(request, target)
    _run_phase(context, "LINTING", lambda: lint(context, request, target))
    plan, vaults = _run_phase(context, "PLANNING", lambda: _plan(context, request, method))
    if request.dry_run:
        context.journal.record_skipped("DEPLOYING", "--dry-run")
        return Halt(DONE, f"planned only: {len(plan.losses)} destructive changes", "")
    if plan.losses:
        _run_phase(context, "AWAITING_CONFIRMATION", lambda: _confirm(context, request, plan))
    else:
        context.journal.record_skipped("AWAITING_CONFIRMATION", "nothing destructive")
    outputs = _run_phase(
        context, "DEPLOYING", lambda: _apply(context, request, target, method, vaults)
    )
    new_sites = plan.find_created("Microsoft.Web/sites")
    _run_phase(
        context,
        "VERIFYING_HEALTH",
        lambda: verify_deployment(context, request, outputs, new_sites=new_sites),
    )
    return Halt(DONE, "deployed and healthy")


def _run_phase(context: RunContext, name: str, work: Callable[[], Any]) -> Any:
    context.console.write_heading(f"{name}  {PHASES[name]}")
    with context.journal.record_phase(name):
        return work()


def _plan(
    context: RunContext, request: Request, method: DeploymentMethod
) -> tuple[Plan, tuple[str, ...]]:
    """Ask what-if for the changes, save the plan, and find the deleted vaults to recover."""
    answer = ask_with_retries(
        context, lambda: context.az.run(*method.what_if, seconds=request.deploy_seconds)
    )
    plan = make_plan(method.read_what_if(answer.parse_json()))
    context.journal.set(plan=plan.to_record())
    saved = context.journal.write_file("plan.json", plan.format_file())
    context.console.write_items(plan.format_lines())
    context.console.write_item(f"saved as {saved}")
    return plan, check_names(context, request, plan)


def _confirm(context: RunContext, request: Request, plan: Plan) -> None:
    """Raise Halt unless a person or --yes confirms. Without a terminal nobody is asked."""
    count = len(plan.losses)
    if request.yes:
        context.console.write_item(f"{count} destructive changes confirmed by --yes")
        context.journal.set(confirmed_by="--yes")
        return
    if not context.terminal.is_interactive():
        raise Halt(
            UNCONFIRMED,
            f"{count} destructive changes need a confirmation, and there is no terminal",
            "review the saved plan, then run again with --yes",
        )
    answer = context.terminal.ask(f"   Apply {count} destructive changes? [y/N] ")
    if answer not in {"y", "yes"}:
        raise Halt(CANCELLED, "not confirmed", "nothing was changed")
    context.journal.set(confirmed_by="terminal")


def _apply(
    context: RunContext,
    request: Request,
    target: Target,
    method: DeploymentMethod,
    vaults: tuple[str, ...],
) -> dict[str, Any]:
    recover_vaults(context, vaults)
    outputs = deploy(context, request, target, method)
    refresh_references(context, request, outputs)
    return outputs


def _make_record(request: Request, clock: Clock) -> dict[str, Any]:
    """The first entry of the audit record: what was asked for."""
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
