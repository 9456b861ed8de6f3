"""Builds the az commands of a deployment. Entry points: `use_group_deployment`, `use_stack`.

A group deployment never deletes a resource. A stack (--stack) keeps a list of its resources and
deletes those that the template no longer contains; its what-if shows them first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.orchestrator.run_context import Request, Target
from infra.orchestrator.what_if import WhatIf, read_group_what_if, read_stack_what_if

_JSON = ("-o", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentMethod:
    """The arguments of the az commands of one way to deploy."""

    what_if: tuple[str, ...]
    read_what_if: Callable[[Any], WhatIf]
    """Reads what the command `what_if` printed."""
    create: tuple[str, ...]
    show: tuple[str, ...]
    operations: tuple[str, ...]
    """Lists the operations of the deployment. Empty when az has no such command."""


def use_group_deployment(request: Request, target: Target) -> DeploymentMethod:
    """Deploy with `az deployment group`, in incremental mode."""
    named = ("--resource-group", request.resource_group, "--name", target.deployment_name)
    # Without --no-prompt az asks for a missing parameter and blocks a pipeline.
    given = (*named, *_name_files(request, target), "--mode", "Incremental", "--no-prompt", "true")
    return DeploymentMethod(
        # The pretty text mixes changes with its legend, so it is switched off.
        what_if=("deployment", "group", "what-if", *given, "--no-pretty-print", *_JSON),
        read_what_if=read_group_what_if,
        create=("deployment", "group", "create", *given, *_JSON),
        show=("deployment", "group", "show", *named, *_JSON),
        operations=("deployment", "operation", "group", "list", *named, *_JSON),
    )


def use_stack(request: Request, target: Target) -> DeploymentMethod:
    """Deploy with `az stack group`: one stack for each environment and resource group."""
    group, name = request.resource_group, f"aos-{target.environment}"
    rules = ("--action-on-unmanage", "deleteResources", "--deny-settings-mode", "none")
    given = ("--resource-group", group, *_name_files(request, target), *rules)
    stack_id = (
        f"/subscriptions/{target.subscription_id}/resourceGroups/{group}"
        f"/providers/Microsoft.Resources/deploymentStacks/{name}"
    )
    result = ("--name", target.deployment_name, "--stack-id", stack_id)
    return DeploymentMethod(
        what_if=(
            *("stack-whatif", "group", "create", *result, "--retention-interval", "P1D"),
            *(*given, "--no-pretty-print", *_JSON),
        ),
        read_what_if=read_stack_what_if,
        # --yes: the CONFIRM phase has asked already.
        create=("stack", "group", "create", "--name", name, *given, "--yes", *_JSON),
        show=("stack", "group", "show", "--resource-group", group, "--name", name, *_JSON),
        operations=(),
    )


def _name_files(request: Request, target: Target) -> tuple[str, ...]:
    return ("--template-file", str(request.template), "--parameters", str(target.parameters))
