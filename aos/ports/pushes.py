"""Keeps where the push notifications of A2A tasks go. Entry point: `PushConfigStore`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.pushes import PushConfig


class PushConfigStore(Protocol):
    """The receivers of tasks, beside the request row of their run, table `aosruns`."""

    async def put(self, config: PushConfig) -> None:
        """Write a receiver, whether or not it exists."""
        ...

    async def list_all(self, run_id: str) -> list[PushConfig]:
        """Return the receivers of a run, by their ids."""
        ...

    async def find(self, run_id: str, config_id: str) -> PushConfig | None:
        """Return a receiver, or None."""
        ...

    async def drop(self, run_id: str, config_id: str) -> None:
        """Remove a receiver if it exists."""
        ...
