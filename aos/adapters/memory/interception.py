"""Lets a test control each operation of the fakes. Entry point: `Interceptor`.

Each method of a fake awaits its interceptor, which runs the operation itself. That is synchronous
and happens completely or not at all. The interceptor of the simulation delays the operation, loses
it, or lets it take effect although the caller gets an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Interceptor(Protocol):
    """Runs one operation. `operation` is `<port>.<method>`; `key` is the id that it is about."""

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        """Run `act` once and return its result. It may raise before or after that."""
        ...


async def pass_through(operation: str, key: str, act: Callable[[], T]) -> T:
    """Run the operation after letting other tasks run."""
    await asyncio.sleep(0)
    return act()
