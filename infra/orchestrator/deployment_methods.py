"""Builds the az commands that deploy a template. Entry points: `GroupDeployment`, `Stack`.

A group deployment never deletes a resource. A stack (--stack) keeps a list of its resources and
deletes those that the template no longer contains; its what-if shows them first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from infra.orchestrator.what_if import WhatIf, read_group_what_if, read_stack_what_if


class DeploymentMethod(Protocol):
    """One way to deploy. Each property holds the arguments of an az command."""

    @property
    def what_if(self) -> tuple[str, ...]:
        """Show what would change."""

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy the template."""

    @property
    def show(self) -> tuple[str, ...]:
        """Show the state of the deployment."""

    @property
    def operations(self) -> tuple[str, ...]:
        """List the operations of the deployment. Empty when az has no such command."""

    def read_what_if(self, document: Any) -> WhatIf:
        """Read what the command `what_if` printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDeployment:
    """Deploys with `az deployment group`, in incremental mode."""

    group: str
    name: str
    template: Path
    parameters: Path

    @property
    def _name_options(self) -> tuple[str, ...]:
        return ("--resource-group", self.group, "--name", self.name)

    @property
    def _deploy_options(self) -> tuple[str, ...]:
        files = ("--template-file", str(self.template), "--parameters", str(self.parameters))
        # Without --no-prompt az asks for a missing parameter and blocks a pipeline.
        return (*self._name_options, *files, "--mode", "Incremental", "--no-prompt", "true")

    @property
    def what_if(self) -> tuple[str, ...]:
        """Show what would change, as JSON. The pretty text mixes changes with its legend."""
        return (
            "deployment",
            "group",
            "what-if",
            *self._deploy_options,
            "--no-pretty-print",
            "-o",
            "json",
        )

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy the template."""
        return ("deployment", "group", "create", *self._deploy_options, "-o", "json")

    @property
    def show(self) -> tuple[str, ...]:
        """Show the state of the deployment."""
        return ("deployment", "group", "show", *self._name_options, "-o", "json")

    @property
    def operations(self) -> tuple[str, ...]:
        """List the operations of the deployment."""
        return ("deployment", "operation", "group", "list", *self._name_options, "-o", "json")

    def read_what_if(self, document: Any) -> WhatIf:
        """Read what the command `what_if` printed."""
        return read_group_what_if(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Deploys with `az stack group`: one stack for each environment and resource group."""

    group: str
    name: str
    template: Path
    parameters: Path
    subscription_id: str
    what_if_name: str

    @property
    def _deploy_options(self) -> tuple[str, ...]:
        files = ("--template-file", str(self.template), "--parameters", str(self.parameters))
        rules = ("--action-on-unmanage", "deleteResources", "--deny-settings-mode", "none")
        return ("--resource-group", self.group, *files, *rules)

    @property
    def what_if(self) -> tuple[str, ...]:
        """Show what would change."""
        stack = (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"
            f"/providers/Microsoft.Resources/deploymentStacks/{self.name}"
        )
        result = ("--name", self.what_if_name, "--stack-id", stack, "--retention-interval", "P1D")
        command = ("stack-whatif", "group", "create", *result, *self._deploy_options)
        return (*command, "--no-pretty-print", "-o", "json")

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy the template. --yes is given because the CONFIRM phase has asked already."""
        return (
            "stack",
            "group",
            "create",
            "--name",
            self.name,
            *self._deploy_options,
            "--yes",
            "-o",
            "json",
        )

    @property
    def show(self) -> tuple[str, ...]:
        """Show the state of the deployment."""
        named = ("--resource-group", self.group, "--name", self.name)
        return ("stack", "group", "show", *named, "-o", "json")

    @property
    def operations(self) -> tuple[str, ...]:
        """Empty: az cannot list the operations of a stack."""
        return ()

    def read_what_if(self, document: Any) -> WhatIf:
        """Read what the command `what_if` printed."""
        return read_stack_what_if(document)
