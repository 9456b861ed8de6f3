"""Which commands of az deploy a template: as a group deployment, or as a deployment stack?

A group deployment never deletes a resource. A stack (--stack) remembers what it made, so what
the template no longer holds is deleted; its what-if says so beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.changes import WhatIf, read_group, read_stack


class Engine(Protocol):
    """One way to deploy. Each property but the last is the arguments of az."""

    @property
    def what_if(self) -> tuple[str, ...]:
        """Foresee."""

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy."""

    @property
    def show(self) -> tuple[str, ...]:
        """How far is it?"""

    @property
    def operations(self) -> tuple[str, ...]:
        """What is it doing? Empty where az cannot tell."""

    def read(self, document: Any) -> WhatIf:
        """The changes in what `what_if` prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDeployment:
    """`az deployment group`, always incremental."""

    group: str
    name: str
    template: Path
    parameters: Path

    @property
    def _named(self) -> tuple[str, ...]:
        return ("--resource-group", self.group, "--name", self.name)

    @property
    def _given(self) -> tuple[str, ...]:
        files = ("--template-file", str(self.template), "--parameters", str(self.parameters))
        # Without --no-prompt az asks for a missing parameter, and a pipeline would hang.
        return (*self._named, *files, "--mode", "Incremental", "--no-prompt", "true")

    @property
    def what_if(self) -> tuple[str, ...]:
        """Foresee, as JSON: the pretty text cannot be told apart from its legend."""
        return ("deployment", "group", "what-if", *self._given, "--no-pretty-print", "-o", "json")

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy."""
        return ("deployment", "group", "create", *self._given, "-o", "json")

    @property
    def show(self) -> tuple[str, ...]:
        """How far is it?"""
        return ("deployment", "group", "show", *self._named, "-o", "json")

    @property
    def operations(self) -> tuple[str, ...]:
        """What is it doing?"""
        return ("deployment", "operation", "group", "list", *self._named, "-o", "json")

    def read(self, document: Any) -> WhatIf:
        """The changes."""
        return read_group(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """`az stack group`: one stack for each environment and group."""

    group: str
    name: str
    template: Path
    parameters: Path
    subscription_id: str
    what_if_name: str

    @property
    def _given(self) -> tuple[str, ...]:
        files = ("--template-file", str(self.template), "--parameters", str(self.parameters))
        rules = ("--action-on-unmanage", "deleteResources", "--deny-settings-mode", "none")
        return ("--resource-group", self.group, *files, *rules)

    @property
    def what_if(self) -> tuple[str, ...]:
        """Foresee."""
        stack = (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"
            f"/providers/Microsoft.Resources/deploymentStacks/{self.name}"
        )
        result = ("--name", self.what_if_name, "--stack-id", stack, "--retention-interval", "P1D")
        command = ("stack-whatif", "group", "create", *result, *self._given)
        return (*command, "--no-pretty-print", "-o", "json")

    @property
    def create(self) -> tuple[str, ...]:
        """Deploy; --yes because we have asked already."""
        return (
            "stack",
            "group",
            "create",
            "--name",
            self.name,
            *self._given,
            "--yes",
            "-o",
            "json",
        )

    @property
    def show(self) -> tuple[str, ...]:
        """How far is it?"""
        named = ("--resource-group", self.group, "--name", self.name)
        return ("stack", "group", "show", *named, "-o", "json")

    @property
    def operations(self) -> tuple[str, ...]:
        """A stack does not list them."""
        return ()

    def read(self, document: Any) -> WhatIf:
        """The changes."""
        return read_stack(document)
