"""Connects programs and people to AOS. Entry points: `http.AosClient`, `async_http.AsyncAosClient`,
`queue.QueueClient`, `async_queue.AsyncQueueClient`, `cli.main`.

The clients need only the standard library, and `azure-servicebus` if a queue is used, and httpx2 in
asyncio. A name of this package is loaded where it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aos.client.async_http import AsyncAosClient
    from aos.client.async_queue import AsyncQueueClient
    from aos.client.errors import AosClientError, AosUnreachable
    from aos.client.http import AosClient
    from aos.client.queue import QueueClient

__all__ = [
    "AosClient",
    "AosClientError",
    "AosUnreachable",
    "AsyncAosClient",
    "AsyncQueueClient",
    "QueueClient",
]

_MODULES = {
    "AosClient": "http",
    "AosClientError": "errors",
    "AosUnreachable": "errors",
    "AsyncAosClient": "async_http",
    "AsyncQueueClient": "async_queue",
    "QueueClient": "queue",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
