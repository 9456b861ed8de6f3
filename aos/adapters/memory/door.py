"""Where can a test step between a service and the in-memory world?

Every method of every fake goes through its door: one await, then the act itself, which is
synchronous and happens wholly or not at all. A door of the simulation delays the act, loses it, or
lets it take effect though the caller sees an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Door(Protocol):
    """Lets one operation through: `operation` as `<port>.<method>`, `key` what it is about."""

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        """Do `act` once and return what it returns (or raise, before or after the act)."""
        ...


async def open_door(operation: str, key: str, act: Callable[[], T]) -> T:
    """The door that only gives others their turn."""
    await asyncio.sleep(0)
    return act()
