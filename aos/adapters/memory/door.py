"""Lets a test control each operation of the fakes. Entry point: `Door`.

Each method of a fake calls its door: one await, then the operation itself, which is synchronous and
happens completely or not at all. A door of the simulation delays the operation, loses it, or lets
it take effect although the caller gets an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Door(Protocol):
    """Runs one operation. `operation` is `<port>.<method>`; `key` is the id that it is about."""

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        """Run `act` once and return its result. A door may raise before or after it."""
        ...


async def open_door(operation: str, key: str, act: Callable[[], T]) -> T:
    """Run the operation after letting other tasks run."""
    await asyncio.sleep(0)
    return act()
